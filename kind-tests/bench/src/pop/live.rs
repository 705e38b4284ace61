//! A million live observations: what they take, and how many more come through.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::sender::packets;
use super::stage::Stage;
use crate::say;

const MIB: f64 = 1024.0 * 1024.0;
/// Single-name messages a second, tried one after the other until some are lost.
const RATES: [usize; 6] = [2_500, 5_000, 10_000, 12_500, 15_000, 20_000];
/// How long each is tried.
const SECONDS: usize = 10;
/// What came has to be in force soon after.
const LAG: Duration = Duration::from_secs(1);
const TABLES: Duration = Duration::from_secs(5);

pub(super) fn observations(stage: &mut Stage) -> Result<()> {
    let (before, had) = (at_rest(stage)?, stage.live);
    stage.fill(stage.size.of(1_000_000))?;
    let after = at_rest(stage)?;
    say(&format!("    {before:.1} MiB with {had} live, {after:.1} MiB with {}", stage.live));
    stage.size.figure("bytes_per_live_observation", (after - before) * MIB / (stage.live - had) as f64, "B");
    say(&format!("    of it in MiB: {}", stage.pop.group.parts()));
    stage.check()?;
    ladder(stage)
}

/// Memory, when everything that is to be written is written, without what the kernel keeps of files.
fn at_rest(stage: &Stage) -> Result<f64> {
    stage.pop.settle()?;
    std::thread::sleep(TABLES);
    stage.pop.settle()?;
    stage.pop.forget_files()?;
    stage.pop.usage()
}

fn ladder(stage: &mut Stage) -> Result<()> {
    let mut best = 0.0_f64;
    for rate in RATES {
        let names = stage.observations(rate * stage.size.of(SECONDS * 100) / 100);
        let packets = packets(&stage.key, &names);
        let (before, dropped) = (stage.added()?, stage.pop.metric("mqtt_dropped_total", &[])?);
        let began = Instant::now();
        stage.sender.pace(&packets, rate as f64, || true)?;
        let sending = began.elapsed();
        let taken = taken_in_time(stage, before, names.len())?;
        let dropped = stage.pop.metric("mqtt_dropped_total", &[])? - dropped;
        let reached = names.len() as f64 / sending.as_secs_f64();
        say(&format!(
            "    {rate} a second: sent {reached:.0} a second, {taken} of {} in force in time, {dropped} dropped",
            names.len()
        ));
        if taken < names.len() {
            break;
        }
        stage.observed(&names);
        stage.pop.settle()?;
        stage.check()?;
        best = best.max(reached);
    }
    stage.size.figure("observations_per_s", best.round(), "messages/s");
    Ok(())
}

fn taken_in_time(stage: &Stage, before: f64, count: usize) -> Result<usize> {
    let end = Instant::now() + LAG;
    loop {
        let taken = (stage.added()? - before) as usize;
        if taken >= count || Instant::now() > end {
            return Ok(taken);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
