//! Frames through EDM's socket: how long it takes, and what it costs.

use std::time::Instant;

use anyhow::{Result, bail};

use super::resolver::Resolver;
use super::server::{Edm, PATIENCE, metric};
use super::traffic::Stream;
use crate::operator::exposition;

/// Frames that were looked at, and those that were read and dropped.
const DONE: &str = "frames_total";
const DROPPED: &str = "input_frames_dropped_total";

/// What one connection's frames cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    pub(super) frames: u64,
    /// From the first octet until EDM has taken leave, in seconds.
    pub(super) wall: f64,
    /// Of the whole process.
    pub(super) processor: f64,
}

impl Cost {
    pub(super) fn rate(self) -> f64 {
        self.frames as f64 / self.wall
    }

    pub(super) fn per_million(self) -> f64 {
        self.processor / self.frames as f64 * 1e6
    }
}

/// Sends some streams one after the other over one connection. An error if any frame was not read and worked on.
pub(super) fn send(edm: &Edm, streams: &[&Stream]) -> Result<Cost> {
    let frames: u64 = streams.iter().map(|stream| stream.frames).sum();
    let before = counts(edm)?;
    let processor = edm.processor()?;
    let mut resolver = Resolver::connect(&edm.socket())?;
    let began = Instant::now();
    for stream in streams {
        resolver.send(&stream.octets)?;
    }
    resolver.finish()?;
    let wall = began.elapsed().as_secs_f64();
    edm.reaches(DONE, before.0 + frames as f64)?;
    let processor = edm.processor()? - processor;
    let after = counts(edm)?;
    let (done, dropped, good) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    if (done, dropped, good) != (frames as f64, 0.0, frames as f64) {
        bail!("{frames} frames were sent; done {done}, of them good {good}, dropped {dropped}");
    }
    Ok(Cost { frames, wall, processor })
}

/// Done, dropped, and those of the first that were understood.
fn counts(edm: &Edm) -> Result<(f64, f64, f64)> {
    let text = edm.metrics()?;
    let outcome =
        |outcome: &str| exposition::sum(&text, &format!("tapir_edm_{DONE}"), &[&format!("outcome=\"{outcome}\"")]).unwrap_or(0.0);
    Ok((metric(&text, DONE), metric(&text, DROPPED), outcome("well_known") + outcome("other_name")))
}

/// Waits for something that takes a moment; an error if it does not come.
pub(super) fn wait(edm: &Edm, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !holds()? {
        edm.still_runs()?;
        if Instant::now() > end {
            bail!("waited in vain for {what}");
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Ok(())
}
