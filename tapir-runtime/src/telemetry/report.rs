//! What Core is told: upstream's members, and beside them the events and the counters.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Row, State, Teller, Watch};

/// What upstream writes for never.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What Core is told now.
pub fn report(teller: &impl Teller, watched: &Watch, function_id: &str) -> Value {
    let components: Map<_, _> = watched.rows.iter().map(|(name, row)| ((*name).to_owned(), component(name, row))).collect();
    let events: Vec<_> = teller
        .events()
        .into_iter()
        .map(|event| json!({"Id": event.id, "Time": event.time, "Component": event.component, "Msg": event.message}))
        .collect();
    json!({
        "Function": teller.function(),
        "FunctionID": function_id,
        "ComponentStatus": components,
        "NumFailures": watched.failures,
        "LastFailure": time(watched.last_failure),
        "Events": events,
        "Counters": teller.counters(),
    })
}

fn component(name: &str, row: &Row) -> Value {
    let said = |state: State| if row.state == state { row.message.as_str() } else { "" };
    json!({
        "Component": name,
        "Status": match row.state { State::Fail => 0, State::Warn => 1, State::Ok => 2 },
        "ErrorMsg": said(State::Fail),
        "WarningMsg": said(State::Warn),
        "Msg": said(State::Ok),
        "NumFails": row.failures,
        "NumWarnings": row.warnings,
        "LastFail": time(row.last_failure),
        "LastWarn": time(row.last_warning),
        "LastSuccess": time(row.last_success),
    })
}

fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| NEVER.to_owned(), |time| time.to_string())
}

/// Which of the metrics are told.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Those that begin so; it is left off.
    pub prefix: &'static str,
    /// But not those that go on so.
    pub left_out: &'static [&'static str],
    /// Labels with values that the configuration made up: what they tell apart is told as one.
    pub own_labels: &'static [&'static str],
}

/// The metrics: what is there to be scraped may be told, and nothing else, and of that neither a name nor an address. Whole numbers only.
#[must_use]
pub fn counters(exposition: &str, shown: &Shown) -> Map<String, Value> {
    let mut figures = BTreeMap::<String, i64>::new();
    for line in exposition.lines().filter(|line| !line.contains("_bucket{")) {
        let Some((name, figure)) = line.strip_prefix(shown.prefix).and_then(|line| line.rsplit_once(' ')) else { continue };
        let Ok(figure) = figure.parse::<i64>() else { continue };
        if shown.left_out.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let sum = figures.entry(shared(name, shown.own_labels)).or_default();
        *sum = sum.saturating_add(figure);
    }
    figures.into_iter().map(|(name, figure)| (name, figure.into())).collect()
}

/// A figure's name with the labels that all edges have.
fn shared(name: &str, own_labels: &[&str]) -> String {
    let Some((name, labels)) = name.strip_suffix('}').and_then(|name| name.split_once('{')) else { return name.to_owned() };
    let kept: Vec<_> =
        pairs(labels).filter(|(key, _)| !own_labels.contains(key)).map(|(key, value)| format!("{key}={value}")).collect();
    if kept.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", kept.join(",")) }
}

/// Labels and values; a quotation mark within a value has a backslash before it.
fn pairs(mut labels: &str) -> impl Iterator<Item = (&str, &str)> {
    std::iter::from_fn(move || {
        let (key, rest) = labels.split_once("=\"")?;
        let mut escaped = false;
        let end = rest.find(|character| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        })?;
        let (value, rest) = rest.split_at_checked(end)?;
        labels = rest.strip_prefix('"').map_or("", |rest| rest.trim_start_matches(','));
        Some((key, value))
    })
}
