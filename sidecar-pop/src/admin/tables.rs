//! Answers for people.

use std::fmt::Write as _;

use serde_json::Value;

/// Columns as wide as what stands in them.
#[must_use]
pub fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|head| head.len())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut head.iter().copied());
    rows.iter().for_each(|row| text.push_str(&line(&mut row.iter().map(String::as_str))));
    text
}

fn cell(value: &Value, key: &str) -> String {
    match value.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => {
            let texts: Vec<_> = list.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect();
            if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
        }
        Some(other) => other.to_string(),
    }
}

fn rows(value: &Value, keys: &[&str]) -> Vec<Vec<String>> {
    value.as_array().into_iter().flatten().map(|row| keys.iter().map(|key| cell(row, key)).collect()).collect()
}

/// Rows of sources.
#[must_use]
pub fn sources(value: &Value) -> String {
    let keys = ["name", "state", "entries", "rejected", "updatedAt", "error"];
    columns(&["SOURCE", "STATE", "NAMES", "REFUSED", "CHANGED", "REASON"], &rows(value, &keys))
}

/// The zone, and what is wrong.
#[must_use]
pub fn status(value: &Value) -> String {
    let empty = Value::Null;
    let (pop, core) = (value.get("pop").unwrap_or(&empty), value.get("core").unwrap_or(&empty));
    let mut lines = vec![
        ("version", cell(value, "version")),
        ("zone", cell(pop, "zone")),
        ("serial", cell(pop, "serial")),
        ("records", cell(pop, "records")),
        ("core", cell(core, "state")),
        ("last loop test", cell(pop, "lastLooptest")),
    ];
    let wrong = [
        ("configuration", value.pointer("/config/error")),
        ("identity", value.get("identityError")),
        ("core", core.get("error")),
    ];
    for (what, error) in wrong {
        lines.extend(error.and_then(Value::as_str).map(|error| (what, error.to_owned())));
    }
    let errors = pop.get("errors").and_then(Value::as_array).into_iter().flatten();
    lines.extend(errors.filter_map(Value::as_str).map(|error| ("error", error.to_owned())));
    lines.iter().fold(String::new(), |mut text, (what, said)| {
        // A String takes everything.
        let _ = writeln!(text, "{what:<15} {said}");
        text
    }) + "\n"
        + &sources(pop.get("sources").unwrap_or(&empty))
}

/// The table of upstream's tool, column for column: checks of connectivity look for names of loop tests in it.
#[must_use]
pub fn filter_lists(value: &Value) -> String {
    let line = |cells: [&str; 5]| {
        let [name, source, format, filter, flags] = cells;
        format!("{name:<75}|{source:<20}|{format:<20}|{filter:<10}|{flags:<10}\n")
    };
    let mut text = line(["Domain", "Source", "Src Fmt", "Filter", "Flags"]);
    text.push_str(&"-".repeat(135));
    text.push('\n');
    let entries = value.get("entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for list in ["Allow", "Deny", "Doubt"] {
        for row in entries.iter().filter(|row| row.get("list").and_then(Value::as_str) == Some(list)) {
            // Only observations have tags; they are what upstream calls by the name of the message.
            let observed = row.get("tagMask").is_some();
            let format = if observed { "tapir-msg-v1" } else { "-" };
            let flags = if list == "Doubt" && !observed { "0".to_owned() } else { cell(row, "tagMask") };
            text.push_str(&line([&cell(row, "name"), &cell(row, "source"), format, &list.to_lowercase(), &flags]));
        }
    }
    text
}

/// An explanation.
#[must_use]
pub fn explanation(value: &Value) -> String {
    let mut lines = String::new();
    let mut say = |text: String| {
        lines.push_str(&text);
        lines.push('\n');
    };
    let foreign = value.get("inForce") == Some(&Value::Bool(false));
    let by = cell(value, "decidedBy");
    let by = if by == "-" { String::new() } else { format!(" by {by}") };
    say(format!("{}: {} ({} stage){by}", cell(value, "name"), cell(value, "action"), cell(value, "stage").to_lowercase()));
    say(format!("published: {}", cell(value, "published")));
    if value.get("redirect").is_some() {
        say(format!("redirect:  {}", cell(value, "redirect")));
    }
    if let Some(served) = value.get("served").filter(|served| !served.is_null()) {
        say(format!("served:    {} in serial {}", cell(served, "record"), cell(served, "serial")));
    }
    if value.get("until").is_some() {
        say(format!("until:     {}", cell(value, "until")));
    }
    if foreign {
        say("this is the outcome of another policy than the one in force".to_owned());
    }
    for (key, text) in [("missingSources", "not known here"), ("unusedSources", "not used by this policy")] {
        if cell(value, key) != "-" {
            say(format!("sources {text}: {}", cell(value, key)));
        }
    }
    let mut entries = Vec::new();
    for source in value.get("sources").and_then(Value::as_array).into_iter().flatten() {
        for entry in source.get("entries").and_then(Value::as_array).into_iter().flatten() {
            let counts = if entry.get("covers") == Some(&Value::Bool(true)) { cell(source, "countsAs") } else { "-".to_owned() };
            let rest = ["entry", "record", "tags", "expires"].map(|key| cell(entry, key));
            entries.push([cell(source, "source"), cell(source, "match"), counts].into_iter().chain(rest).collect());
        }
    }
    let mut conditions = Vec::new();
    for rule in value.get("rules").and_then(Value::as_array).into_iter().flatten() {
        let verdict = match (rule.get("decides"), rule.get("holds")) {
            (Some(Value::Bool(true)), _) => "decides",
            (_, Some(Value::Bool(true))) => "holds",
            _ => "-",
        };
        for condition in rule.get("conditions").and_then(Value::as_array).into_iter().flatten() {
            let rest = ["condition", "wanted", "found", "holds"].map(|key| cell(condition, key));
            conditions.push([cell(rule, "rule"), cell(rule, "action"), verdict.to_owned()].into_iter().chain(rest).collect());
        }
    }
    if !entries.is_empty() {
        say(format!(
            "\n{}",
            columns(&["SOURCE", "MATCH", "COUNTS AS", "ENTRY", "RECORD", "TAGS", "EXPIRES"], &entries).trim_end()
        ));
    }
    if !conditions.is_empty() {
        let head = ["RULE", "ACTION", "VERDICT", "CONDITION", "WANTED", "FOUND", "HOLDS"];
        say(format!("\n{}", columns(&head, &conditions).trim_end()));
    }
    lines
}

/// Some members of an answer, one a line.
#[must_use]
pub fn fields(value: &Value, keys: &[&str]) -> String {
    keys.iter().fold(String::new(), |mut text, key| {
        // A String takes everything.
        let _ = writeln!(text, "{key:<10} {}", cell(value, key));
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_of_names_is_that_of_upstreams_tool() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tapir-wire/vectors/pop/api/cli-filterlists.txt");
        let expected = std::fs::read_to_string(path).unwrap();
        let entries = json!({"entries": [
            {"name": "epoch-1761739157.ticker.looptest.dnstapir.se.", "source": "dns-tapir", "list": "Doubt", "tagMask": 1024},
            {"name": "evil.example.", "source": "feed1", "list": "Deny"},
            {"name": "good.example.", "source": "local-allow", "list": "Allow"},
        ]});
        assert_eq!(filter_lists(&entries), expected);
    }

    #[test]
    fn columns_are_as_wide_as_their_content() {
        let rows = [["a", "long"], ["longer", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(&["ONE", "TWO"], &rows), "ONE     TWO\na       long\nlonger\n");
    }
}
