//! The steps of a run, what each found, and the closing summary.

use std::time::{Duration, Instant};

use anyhow::Result;
use tapir_harness::progress::{say, seconds};

/// What one step counted. A step without tests of its own counts as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Counts {
    pub(crate) const ONE: Self = Self { passed: 1, failed: 0, ignored: 0 };

    /// `test result: ok. 3 passed; 0 failed; 1 ignored; …`, as libtest closes each of its programs.
    pub(crate) fn add_line(&mut self, line: &str) {
        let Some((_, rest)) = line.trim_start().strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for part in rest.split("; ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[derive(Debug)]
struct Line {
    name: String,
    outcome: Outcome,
    elapsed: Duration,
}

#[derive(Debug)]
enum Outcome {
    Done(Counts),
    Failed(Counts, String),
    /// Said, but not counted: a failure elsewhere or this machine prevents it.
    NotRun(String),
}

/// Collects steps.
#[derive(Debug)]
pub(crate) struct Report {
    started: Instant,
    lines: Vec<Line>,
}

impl Report {
    pub(crate) fn begin() -> Self {
        Self { started: Instant::now(), lines: Vec::new() }
    }

    /// Runs a step; says whether it went well. What was counted before a failure still counts.
    pub(crate) fn step(&mut self, name: &str, run: impl FnOnce(&mut Counts) -> Result<()>) -> bool {
        let started = Instant::now();
        let mut counts = Counts::default();
        let result = run(&mut counts);
        let well = result.is_ok() && counts.failed == 0;
        let outcome = match result {
            Ok(()) if counts == Counts::default() => Outcome::Done(Counts::ONE),
            Ok(()) => Outcome::Done(counts),
            Err(error) => {
                say(&format!("error: {name}: {error:#}"));
                // A step that broke without a failed test is itself the failure.
                counts.failed = counts.failed.max(1);
                Outcome::Failed(counts, error.to_string().lines().next().unwrap_or_default().to_owned())
            }
        };
        self.lines.push(Line { name: name.to_owned(), outcome, elapsed: started.elapsed() });
        well
    }

    pub(crate) fn not_run(&mut self, name: &str, why: &str) {
        self.lines.push(Line { name: name.to_owned(), outcome: Outcome::NotRun(why.to_owned()), elapsed: Duration::ZERO });
    }

    /// Prints the summary; the last line is for programs. Says whether all went well.
    pub(crate) fn close(self) -> bool {
        say(&format!("\n{:<34} {:>7} {:>7} {:>8}  time", "step", "passed", "failed", "ignored"));
        let mut total = Counts::default();
        for line in &self.lines {
            let (counts, remark) = match &line.outcome {
                Outcome::Done(counts) => (*counts, String::new()),
                Outcome::Failed(counts, error) => (*counts, format!("  {error}")),
                Outcome::NotRun(why) => {
                    say(&format!("{:<34} not checked: {why}", line.name));
                    continue;
                }
            };
            total.passed += counts.passed;
            total.failed += counts.failed;
            total.ignored += counts.ignored;
            let Counts { passed, failed, ignored } = counts;
            say(&format!("{:<34} {passed:>7} {failed:>7} {ignored:>8}  {}{remark}", line.name, seconds(line.elapsed)));
        }
        say(&format!("\neach check without tests counts as one; {} in all", seconds(self.started.elapsed())));
        say(&format!("{} passed, {} failed", total.passed, total.failed));
        total.failed == 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Counts, Report};

    #[test]
    fn adds_up_what_libtest_prints() {
        let mut counts = Counts::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            counts.add_line(line);
        }
        assert_eq!(counts, Counts { passed: 4, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_broken_step_is_a_failure_and_an_unchecked_one_is_not() {
        let mut report = Report::begin();
        assert!(report.step("good", |_| Ok(())));
        report.not_run("elsewhere", "no network");
        assert!(!report.step("bad", |_| anyhow::bail!("broken")));
        assert!(!report.close());
    }
}
