//! Memory while a whole minute is counted at full speed, and while it is taken to disk.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use super::load;
use super::rates::FRAMES;
use super::stage::{FEW, MANY, Stage};
use crate::say;

/// Containers in which these lists should do, in MiB: three quarters of them are the goals.
const OF_MANY: u64 = 171;
const OF_FEW: u64 = 64;
/// A minute that begins a little later than the load, and one that ends with it.
const MINUTES: u64 = 2;

pub(super) fn of_many(stage: &mut Stage) -> Result<()> {
    memory(stage, MANY, OF_MANY, "1m")
}

pub(super) fn of_few(stage: &mut Stage) -> Result<()> {
    memory(stage, FEW, OF_FEW, "100k")
}

fn memory(stage: &mut Stage, names: usize, limit: u64, suffix: &str) -> Result<()> {
    stage.list(names)?;
    stage.has_seen = false;
    stage.edm.configure("")?;
    stage.edm.start(Some(limit), stage.listed)?;
    let stream = stage.traffic.frames(stage.size.of(FRAMES), None);
    let before = stage.edm.resident()?.1;
    stage.edm.forget()?;
    let (edm, minutes) = (&stage.edm, if stage.size.0 == 1 { MINUTES } else { 1 });
    let (frames, used) = edm.group.peak(edm.pid()?, || {
        let (end, mut frames) = (minute() + minutes, 0);
        while minute() < end {
            frames += load::send(edm, &[&stream])?.frames;
        }
        // The file of the last minute.
        std::thread::sleep(Duration::from_secs(10));
        Ok(frames)
    })?;
    let (most, now) = edm.resident()?;
    say(&format!("    a container of {limit} MiB, {} names, {frames} frames in up to {minutes} minutes", stage.listed));
    say(&format!("    resident: {before:.1} MiB at the start, {most:.1} at most, {now:.1} at the end"));
    say(&format!("    control group in MiB: {}", edm.group.parts()));
    let lost = edm.metric("sketches_lost_total")?;
    stage.size.figure(&format!("rss_mib_{suffix}"), most, "MiB");
    stage.size.figure(&format!("cgroup_mib_{suffix}"), used, "MiB");
    stage.size.figure(&format!("sketches_lost_{suffix}"), lost, "sketches");
    edm.group.limit(None)
}

fn minute() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() / 60)
}
