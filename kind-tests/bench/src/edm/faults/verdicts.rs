//! Whether what is promised held.

use std::fmt::Display;

use anyhow::{Result, bail};

use crate::say;

/// Of one part.
#[derive(Debug)]
pub(super) struct Verdicts {
    part: &'static str,
    broken: Vec<String>,
}

impl Verdicts {
    pub(super) const fn of(part: &'static str) -> Self {
        Self { part, broken: Vec::new() }
    }

    /// One promise, and what was seen of it.
    pub(super) fn promise(&mut self, what: &str, holds: bool, seen: impl Display) {
        say(&format!("    {} {what}: {seen}", if holds { "held:  " } else { "BROKEN:" }));
        if !holds {
            self.broken.push(format!("{what}: {seen}"));
        }
    }

    /// An error where one was broken.
    pub(super) fn end(self) -> Result<()> {
        if self.broken.is_empty() {
            say(&format!("verdict {}: held", self.part));
            return Ok(());
        }
        say(&format!("verdict {}: BROKEN", self.part));
        bail!("{}: {}", self.part, self.broken.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_promise_breaks_the_part() {
        let mut verdicts = Verdicts::of("test");
        verdicts.promise("nothing is lost", true, 0);
        let mut broken = Verdicts { part: "test", broken: verdicts.broken.clone() };
        verdicts.end().unwrap();
        broken.promise("nothing comes twice", false, 3);
        assert_eq!(broken.end().unwrap_err().to_string(), "test: nothing comes twice: 3");
    }
}
