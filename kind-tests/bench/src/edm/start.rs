//! From nothing to ready.

use anyhow::Result;

use super::stage::{MANY, Stage};
use crate::say;
use crate::values::{median, spread};

/// Median of some starts, the list in the page cache.
pub(super) fn ready(stage: &mut Stage) -> Result<()> {
    stage.list(MANY)?;
    stage.edm.configure("")?;
    stage.edm.start(None, stage.listed)?;
    let mut times = Vec::new();
    for _ in 0..stage.rounds {
        times.push(stage.edm.start(None, stage.listed)?.as_secs_f64() * 1000.0);
    }
    stage.has_seen = false;
    say(&format!("    starts, ms: {}", spread(&times)));
    stage.size.figure("start_ms_1m", median(&mut times), "ms");
    Ok(())
}
