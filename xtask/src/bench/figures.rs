//! Figures as a bench prints them, `figure NAME VALUE UNIT`, and their goals.

use std::fmt::{self, Display};

use serde_json::json;

use Goal::{AtLeast, AtMost};

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// Figures that are only reported stand in no row.
const GOALS: [(&str, Goal); 28] = [
    ("operator.rss_mib_1000_edges", AtMost(40.0)),
    ("operator.cold_reconcile_s_1000_edges", AtMost(60.0)),
    ("operator.noop_reconcile_ms_p99", AtMost(5.0)),
    ("operator.admission_policy_ms_p50", AtMost(2.0)),
    ("operator.admission_webhook_ms_p50", AtMost(5.0)),
    ("operator.quiet_writes", AtMost(0.0)),
    ("operator.idle_cpu_percent", AtMost(1.0)),
    ("operator.policy_in_force_s_p99", AtMost(2.0)),
    ("pop.rss_mib_1m", AtMost(64.0)),
    ("pop.axfr_rr_per_s_1m", AtLeast(15_000_000.0)),
    ("pop.axfr_of_bare_socket", AtLeast(0.3)),
    ("pop.axfr8_growth_mib", AtMost(8.0)),
    ("pop.axfr_rr_per_s_8", AtLeast(20_000_000.0)),
    ("pop.observations_per_s", AtLeast(10_000.0)),
    ("pop.bytes_per_live_observation", AtMost(64.0)),
    ("pop.notify_ms_p99", AtMost(2.0)),
    ("pop.restart_ms_1m", AtMost(150.0)),
    ("pop.rebuild_s_1m", AtMost(1.0)),
    ("edm.frames_per_s", AtLeast(3_000_000.0)),
    ("edm.cpu_s_per_million", AtMost(0.33)),
    ("edm.times_bare_read", AtMost(20.0)),
    ("edm.frames_per_s_events", AtLeast(1_500_000.0)),
    ("edm.frames_per_s_sessions", AtLeast(2_000_000.0)),
    ("edm.events_dropped", AtMost(0.0)),
    ("edm.rss_mib_100k", AtMost(48.0)),
    ("edm.rss_mib_1m", AtMost(128.0)),
    ("edm.rss_mib_sessions", AtMost(32.0)),
    ("edm.start_ms_1m", AtMost(150.0)),
];

impl Goal {
    const fn value(self) -> f64 {
        match self {
            AtMost(value) | AtLeast(value) => value,
        }
    }

    fn is_met(self, value: f64) -> bool {
        match self {
            AtMost(most) => value <= most,
            AtLeast(least) => value >= least,
        }
    }
}

impl Display for Goal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AtMost(value) => value.fmt(formatter),
            AtLeast(value) => write!(formatter, "≥ {value}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Figure {
    name: String,
    value: f64,
    unit: String,
}

/// What a bench measured.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Figure>);

impl Figures {
    /// Takes a line of the bench's output, if it is a figure.
    pub(crate) fn read(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        if words.next() != Some("figure") {
            return;
        }
        if let (Some(name), Some(Ok(value)), Some(unit), None) =
            (words.next(), words.next().map(str::parse), words.next(), words.next())
        {
            self.0.push(Figure { name: name.to_owned(), value, unit: unit.to_owned() });
        }
    }

    /// For people and for docs/performance.md: a table in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table = "| figure | measured | goal | |\n| --- | ---: | ---: | --- |\n".to_owned();
        for figure in &self.0 {
            let (goal, verdict) = match goal(&figure.name) {
                Some(goal) if goal.is_met(figure.value) => (goal.to_string(), "met"),
                Some(goal) => (goal.to_string(), "missed"),
                None => ("–".to_owned(), "reported"),
            };
            table.push_str(&format!("| `{}` | {} {} | {goal} | {verdict} |\n", figure.name, figure.value, figure.unit));
        }
        table
    }

    pub(crate) fn json(&self, version: &str) -> String {
        let figures: Vec<_> = self
            .0
            .iter()
            .map(|figure| json!({"name": figure.name, "value": figure.value, "unit": figure.unit, "goal": goal(&figure.name).map(Goal::value)}))
            .collect();
        format!("{:#}\n", json!({"version": version, "figures": figures}))
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.iter().map(|figure| format!("figure {} {} {}", figure.name, figure.value, figure.unit)).collect()
    }
}

fn goal(name: &str) -> Option<Goal> {
    GOALS.iter().find(|(known, _)| *known == name).map(|(_, goal)| *goal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_judged_and_said_again() {
        let mut figures = Figures::default();
        for line in
            ["making 1000 edges", "figure operator.quiet_writes 3 writes", "figure operator.requests_per_change 4.5 requests"]
        {
            figures.read(line);
        }
        let table = figures.table();
        assert!(table.contains("| `operator.quiet_writes` | 3 writes | 0 | missed |"), "{table}");
        assert!(table.contains("| `operator.requests_per_change` | 4.5 requests | – | reported |"), "{table}");
        assert_eq!(
            figures.lines(),
            ["figure operator.quiet_writes 3 writes", "figure operator.requests_per_change 4.5 requests"]
        );
        assert!(figures.json("1").contains("\"goal\": 0.0"));
    }

    #[test]
    fn of_rates_more_is_better() {
        let mut figures = Figures::default();
        figures.read("figure pop.axfr_of_bare_socket 0.31 of-bare");
        figures.read("figure pop.observations_per_s 9999 messages/s");
        let table = figures.table();
        assert!(table.contains("| `pop.axfr_of_bare_socket` | 0.31 of-bare | ≥ 0.3 | met |"), "{table}");
        assert!(table.contains("| `pop.observations_per_s` | 9999 messages/s | ≥ 10000 | missed |"), "{table}");
    }

    #[test]
    fn what_is_no_figure_is_left_alone() {
        let mut figures = Figures::default();
        for line in ["figure a", "figure a b c", "figure a 1 s more", "the figure a 1 s"] {
            figures.read(line);
        }
        assert!(figures.lines().is_empty());
    }
}
