//! Figures as a bench prints them, `figure NAME VALUE UNIT`, and their goals.

use serde_json::json;

/// The most that each figure may be; figures that are only reported stand in no row.
const GOALS: [(&str, f64); 8] = [
    ("operator.rss_mib_1000_edges", 40.0),
    ("operator.cold_reconcile_s_1000_edges", 60.0),
    ("operator.noop_reconcile_ms_p99", 5.0),
    ("operator.admission_policy_ms_p50", 2.0),
    ("operator.admission_webhook_ms_p50", 5.0),
    ("operator.quiet_writes", 0.0),
    ("operator.idle_cpu_percent", 1.0),
    ("operator.policy_in_force_s_p99", 2.0),
];

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
                Some(goal) if figure.value <= goal => (goal.to_string(), "met"),
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
            .map(|figure| json!({"name": figure.name, "value": figure.value, "unit": figure.unit, "goal": goal(&figure.name)}))
            .collect();
        format!("{:#}\n", json!({"version": version, "figures": figures}))
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.iter().map(|figure| format!("figure {} {} {}", figure.name, figure.value, figure.unit)).collect()
    }
}

fn goal(name: &str) -> Option<f64> {
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
    fn what_is_no_figure_is_left_alone() {
        let mut figures = Figures::default();
        for line in ["figure a", "figure a b c", "figure a 1 s more", "the figure a 1 s"] {
            figures.read(line);
        }
        assert!(figures.lines().is_empty());
    }
}
