//! How long until what changed is served: an observation, all lists, a start after kill -9.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::sender::packets;
use super::stage::Stage;
use super::witness::Witness;
use crate::say;
use crate::values::{median, quantile, spread};

const SAMPLES: usize = 400;
/// Longer than versions are apart while changes stream in, so each is a first change.
const APART: Duration = Duration::from_millis(250);
const RUNS: usize = 5;
const REBUILDS: usize = 3;
/// No version for so long, and as many records as there should be: that was the last.
const QUIET: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// From the write to the broker until the datagram came; and until the message came to a subscriber that does nothing: less is not possible
/// with this broker on this machine at this moment.
pub(super) fn notify(stage: &mut Stage) -> Result<()> {
    stage.fill(stage.size.of(100_000))?;
    let witness = Witness::start(stage.broker.open)?;
    let names: Vec<_> = stage.observations(stage.size.of(SAMPLES)).into_iter().map(|(name, _)| (name, 1)).collect();
    let (mut waits, mut floor) = (Vec::new(), Vec::new());
    for packet in packets(&stage.key, &names) {
        std::thread::sleep(APART);
        let serial = stage.pop.serial()?;
        stage.notified.drain();
        witness.drain();
        let began = Instant::now();
        stage.sender.send(&packet)?;
        let (at, _) = stage.notified.after(serial, PATIENCE).context("no NOTIFY came")?;
        waits.push(1000.0 * at.duration_since(began).as_secs_f64());
        floor.push(1000.0 * witness.next(PATIENCE)?.duration_since(began).as_secs_f64());
    }
    stage.observed(&names);
    stage.size.figure("notify_ms_p99", quantile(&mut waits, 0.99), "ms");
    stage.size.figure("notify_ms_p50", median(&mut waits), "ms");
    stage.size.figure("notify_ms_max", quantile(&mut waits, 1.0), "ms");
    stage.size.figure("notify_broker_ms_p99", quantile(&mut floor, 0.99), "ms");
    stage.size.figure("notify_broker_ms_p50", median(&mut floor), "ms");
    Ok(())
}

/// From the first list that is replaced until a version is served that is made of all of them.
pub(super) fn rebuild(stage: &mut Stage) -> Result<()> {
    let (mut waits, mut answers, mut versions) = (Vec::new(), Vec::new(), 0);
    for _ in 0..REBUILDS {
        stage.pop.settle()?;
        let mut serial = stage.pop.serial()?;
        let began = stage.change_lists()?;
        let (mut last, mut count) = (None, 0);
        // The zone is served meanwhile, so nothing keeps an answer from coming.
        while began.elapsed() < PATIENCE && (last.is_none_or(|last: Instant| last.elapsed() < QUIET) || !is_complete(stage)?) {
            let asked = Instant::now();
            let now = stage.pop.serial().context("while lists changed")?;
            answers.push(1000.0 * asked.elapsed().as_secs_f64());
            if now != serial {
                (serial, last, count) = (now, Some(Instant::now()), count + 1);
            }
            std::thread::sleep(POLL);
        }
        let Some(last) = last else { bail!("no version came after all lists changed") };
        waits.push(last.duration_since(began).as_secs_f64());
        versions = versions.max(count);
        stage.check().context("after all lists changed")?;
    }
    say(&format!("    lists changed, seconds: {}", spread(&waits)));
    stage.size.figure("rebuild_s_1m", median(&mut waits), "s");
    stage.size.figure("rebuild_versions", f64::from(versions), "versions");
    stage.size.figure("rebuild_soa_ms_p99", quantile(&mut answers, 0.99), "ms");
    Ok(())
}

fn is_complete(stage: &Stage) -> Result<bool> {
    Ok(stage.pop.metric("zone_records", &[])? == (stage.listed.len() + stage.blocked.len()) as f64)
}

/// From kill -9 until the version of before is served.
pub(super) fn restart(stage: &mut Stage) -> Result<()> {
    stage.fill(stage.size.of(100_000))?;
    let mut waits = Vec::new();
    for _ in 0..RUNS {
        let serial = stage.pop.serial()?;
        let began = Instant::now();
        stage.pop.kill()?;
        stage.pop.start()?;
        let first = loop {
            if let Ok(serial) = stage.pop.serial() {
                break serial;
            }
            if began.elapsed() > PATIENCE {
                bail!("nothing is served after a restart");
            }
            std::thread::sleep(POLL);
        };
        waits.push(1000.0 * began.elapsed().as_secs_f64());
        if first != serial {
            bail!("version {first} is served after a restart, {serial} was before");
        }
        stage.check().context("right after a restart")?;
        stage.pop.reaches("mqtt_connected", &[], 1.0)?;
        stage.pop.settle()?;
        stage.check().context("some time after a restart")?;
    }
    say(&format!("    restarts, ms: {}", spread(&waits)));
    stage.size.figure("restart_ms_1m", median(&mut waits), "ms");
    Ok(())
}
