//! New names whose events have come to Core.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::super::stage::Stage;
use super::Counted;
use super::load::number;

const LOOK: Duration = Duration::from_millis(200);
/// So long nothing came although events wait.
const STUCK: Duration = Duration::from_mins(2);

/// Which, and how.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    pub(super) numbers: HashSet<u64>,
    /// Events for names that had one before.
    pub(super) twice: u64,
    /// Events that came first after events of names that were asked for later.
    pub(super) late: u64,
    latest: u64,
    /// Other names.
    pub(super) others: u64,
}

impl Arrived {
    /// Takes what has come since the last time.
    pub(super) fn take(&mut self, stage: &Stage) -> Result<()> {
        for name in stage.core.names()? {
            match number(&name) {
                Some(number) => self.add(number),
                None => self.others += 1,
            }
        }
        Ok(())
    }

    fn add(&mut self, number: u64) {
        if !self.numbers.insert(number) {
            self.twice += 1;
            return;
        }
        self.late += u64::from(number < self.latest);
        self.latest = self.latest.max(number);
    }

    /// Waits until no event waits any more; gives events a second.
    pub(super) fn drain(&mut self, stage: &Stage) -> Result<f64> {
        let (before, begun) = (self.numbers.len(), Instant::now());
        let (mut waiting, mut moved) = (u64::MAX, Instant::now());
        loop {
            std::thread::sleep(LOOK);
            stage.edm.still_runs()?;
            self.take(stage)?;
            let now = Counted::now(stage)?.of("events_queued");
            if now != waiting {
                (waiting, moved) = (now, Instant::now());
            }
            if waiting == 0 && moved.elapsed() > 5 * LOOK {
                self.take(stage)?;
                let took = begun.elapsed().saturating_sub(moved.elapsed()).as_secs_f64();
                return Ok((self.numbers.len() - before) as f64 / took.max(LOOK.as_secs_f64()));
            }
            if moved.elapsed() > STUCK {
                bail!("{waiting} events wait, and none goes");
            }
        }
    }

    /// How many below this number have not come.
    pub(super) fn missing(&self, below: u64) -> Vec<u64> {
        (0..below).filter(|number| !self.numbers.contains(number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_copies_are_seen() {
        let mut arrived = Arrived::default();
        for number in [0, 1, 3, 2, 3, 5] {
            arrived.add(number);
        }
        assert_eq!((arrived.twice, arrived.late, arrived.missing(6)), (1, 1, vec![4]));
    }
}
