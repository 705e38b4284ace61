//! Waiting for a condition, with a bound and a reason when it does not come.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

/// Polls `attempt` until it gives a value. `Ok(None)` and errors mean "not yet"; the last error is told when time is up.
///
/// # Errors
/// When nothing came within `limit`.
pub fn until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    let mut last = None;
    loop {
        match attempt() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => {}
            Err(error) => last = Some(error),
        }
        if start.elapsed() > limit {
            let seen = last.map_or_else(String::new, |error| format!("; last error: {error:#}"));
            return Err(anyhow!("waited {} s for: {what}{seen}", limit.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Fails as soon as something that has to hold for a while does not, or cannot be looked at.
///
/// # Errors
/// With what it was.
pub fn holds(what: &str, time: Duration, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        ensure!(look()?, "after {:?} no longer: {what}", start.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Like [`until`] for a plain condition.
///
/// # Errors
/// When it did not hold within `limit`.
pub fn until_true(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<bool>) -> Result<()> {
    until(what, limit, || Ok(attempt()?.then_some(())))
}
