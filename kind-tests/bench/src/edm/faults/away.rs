//! The broker is away while new names keep coming: nothing is lost up to the bound, memory stays as it is, and what waited comes in order.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::super::stage::Stage;
use super::arrived::Arrived;
use super::load::{Load, Rates};
use super::verdicts::Verdicts;
use super::{Counted, Scene, UNLIMITED, USABLE, for_seconds, resident};
use crate::say;

/// New names a second: what the default allows at most.
const RATES: Rates = Rates { new: 1000, known: 1000 };
const BEFORE: u64 = 10;
const SECOND: Duration = Duration::from_secs(1);
/// Memory may grow so much, in MiB: the table of names that were seen is filled meanwhile.
const FLAT: f64 = 8.0;
/// Beyond the bound: the least that can be configured keeps 8 MiB of events; so many come in a second, for so long.
const SMALL: &str = "storage-mib = 64\nnewqname-sent-per-second = 1000000\n";
const MANY: Rates = Rates { new: 10_000, known: 0 };
const LONG: u64 = 25;

#[derive(Debug, Clone, Copy)]
struct Sample {
    resident: f64,
    group: f64,
    waiting: u64,
    octets: u64,
}

fn sample(stage: &Stage) -> Result<Sample> {
    let counted = Counted::now(stage)?;
    let (waiting, octets) = (counted.of("events_queued"), counted.of("events_queued_octets"));
    let pid = stage.edm.pid()?;
    Ok(Sample { resident: resident(stage)?, group: stage.edm.group.usage(pid)?, waiting, octets })
}

pub(in super::super) fn broker_away(stage: &mut Stage) -> Result<()> {
    let mut verdicts = Verdicts::of("broker-away");
    up_to_the_bound(stage, &mut verdicts)?;
    beyond_the_bound(stage, &mut verdicts)?;
    verdicts.end()
}

fn up_to_the_bound(stage: &mut Stage, verdicts: &mut Verdicts) -> Result<()> {
    let mut scene = Scene::start(stage, UNLIMITED)?;
    let away = stage.lasting.away_seconds;
    let load = Load::start(stage.edm.socket(), RATES, 0);
    let mut arrived = Arrived::default();
    for_seconds(BEFORE, SECOND, || arrived.take(stage))?;
    scene.gate.close();
    let mut samples = Vec::new();
    let ((), most) = stage.edm.group.peak(stage.edm.pid()?, || {
        for_seconds(away, SECOND, || {
            samples.push(sample(stage)?);
            Ok(())
        })
    })?;
    let written = load.stop()?;
    // What was sent before the gate closed.
    arrived.take(stage)?;
    let before = arrived.numbers.len();
    scene.gate.open_again()?;
    let drained = arrived.drain(stage)?;
    let counted = Counted::now(stage)?;
    for (name, at) in [("begins", 0), ("is half over", samples.len() / 2), ("ends", samples.len().saturating_sub(1))] {
        let Sample { resident, group, waiting, octets } = *samples.get(at).context("no sample")?;
        say(&format!(
            "    the outage {name}: {resident:.1} MiB resident, {group:.1} MiB in the group, {waiting} events wait in {octets} octets"
        ));
    }
    let [first, last] = [samples.first(), samples.last()].map(|sample| sample.copied());
    let (first, last) = (first.context("no sample")?, last.context("no sample")?);
    let lost = arrived.missing(written.new).len();
    let size = stage.size;
    size.figure("away_seconds", away as f64, "s");
    size.figure("away_events", (arrived.numbers.len() - before) as f64, "events");
    size.figure("away_rss_mib_begin", first.resident, "MiB");
    size.figure("away_rss_mib_end", last.resident, "MiB");
    size.figure("away_cgroup_mib_most", most, "MiB");
    size.figure("away_octets_an_event", last.octets as f64 / last.waiting.max(1) as f64, "octets");
    size.figure("away_drained_per_s", drained.round(), "events/s");
    size.figure("away_lost", lost as f64, "events");
    size.figure("away_twice", arrived.twice as f64, "events");
    verdicts.promise("nothing is lost up to the bound", lost == 0, format!("{lost} of {} events", written.new));
    verdicts.promise(
        "what waited comes in order",
        arrived.late == 0,
        format!("{} events came late, {} twice", arrived.late, arrived.twice),
    );
    verdicts.promise(
        "memory stays as it is",
        last.resident - first.resident <= FLAT,
        format!("{:+.1} MiB", last.resident - first.resident),
    );
    verdicts.promise("the container has room", most <= USABLE, format!("{most:.1} MiB at most, {USABLE} are allowed"));
    let dropped = counted.of("input_frames_dropped_total");
    verdicts.promise("no frame is dropped", dropped == 0, dropped);
    stage.edm.stop()
}

fn beyond_the_bound(stage: &mut Stage, verdicts: &mut Verdicts) -> Result<()> {
    let mut scene = Scene::start(stage, &format!("{UNLIMITED}{SMALL}"))?;
    scene.gate.close();
    let load = Load::start(stage.edm.socket(), MANY, 0);
    for_seconds(LONG, SECOND, || stage.edm.still_runs())?;
    let written = load.stop()?;
    let full = sample(stage)?;
    scene.gate.open_again()?;
    let mut arrived = Arrived::default();
    let drained = arrived.drain(stage)?;
    let counted = Counted::now(stage)?;
    let (queued, dropped) = (counted.outcome("event_candidates_total", "queued"), counted.of("events_displaced_total"));
    let missing = arrived.missing(written.new);
    say(&format!(
        "    {} new names, {queued} events, {dropped} dropped, {} came, {} octets at most",
        written.new,
        arrived.numbers.len(),
        full.octets
    ));
    let size = stage.size;
    size.figure("away_bound_events", full.waiting as f64, "events");
    size.figure("away_bound_dropped", dropped as f64, "events");
    size.figure("away_bound_drained_per_s", drained.round(), "events/s");
    verdicts.promise("every new name made an event", queued == written.new, format!("{queued} of {}", written.new));
    verdicts.promise("beyond the bound some are dropped", dropped > 0, dropped);
    verdicts.promise(
        "what is dropped is counted, one by one",
        missing.len() as u64 == dropped,
        format!("{} are missing, {dropped} were counted", missing.len()),
    );
    let oldest = missing.last().is_none_or(|last| last + 1 == dropped);
    verdicts.promise("the oldest are dropped", oldest, format!("the newest that is missing is number {:?}", missing.last()));
    stage.edm.stop()
}
