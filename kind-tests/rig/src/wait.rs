//! Waiting for a condition, with a bound and a reason when it does not come.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Polls until there is a value. `Ok(None)` and errors mean "not yet"; the last error is told when time is up.
pub fn until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        let seen = match attempt() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => String::new(),
            Err(error) => format!("; last error: {error:#}"),
        };
        if start.elapsed() > limit {
            return Err(anyhow!("waited {:.1} s for {what}{seen}", limit.as_secs_f64()));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Like [`until`] for a plain condition.
pub fn until_true(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<bool>) -> Result<()> {
    until(what, limit, || Ok(attempt()?.then_some(())))
}

/// Looks again and again for this long, to see that something holds all the time. For what must *not* happen, where no condition tells
/// that it would have happened by now.
pub fn holds(what: &str, time: Duration, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    loop {
        if !look()? {
            return Err(anyhow!("after {:.1} s no longer: {what}", start.elapsed().as_secs_f64()));
        }
        if start.elapsed() > time {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
}
