//! The disk is full while the broker is away: frames are read on, what cannot be kept is counted, and all goes well again when there is room.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::load::wait;
use super::super::stage::Stage;
use super::arrived::Arrived;
use super::load::{Load, Rates, send_again};
use super::tmpfs::Tmpfs;
use super::verdicts::Verdicts;
use super::{Counted, LIMIT, Scene, UNLIMITED, for_seconds, resident, seconds, status};
use crate::say;

const DISK: u32 = 16;
const RATES: Rates = Rates { new: 2000, known: 2000 };
const BEFORE: u64 = 5;
/// Longer than what memory takes of events lasts, and than minutes wait for the disk.
const FULL: u64 = 30;
const AFTER: u64 = 5;
const SECOND: Duration = Duration::from_secs(1);
/// Between ends of a minute, by hand.
const MINUTE: Duration = Duration::from_secs(2);
/// The events look at the disk again after five seconds.
const RECOVERS_WITHIN: f64 = 10.0;
/// A resolver whose write takes longer has lost some of its own frames.
const NOT_WAITED: Duration = Duration::from_secs(1);
const FLAT: f64 = 8.0;

pub(in super::super) fn disk_full(stage: &mut Stage) -> Result<()> {
    let mut scene = Scene::set(stage, &format!("{UNLIMITED}newqname-sent-per-second = 20000\n"))?;
    let disk = Tmpfs::mount(&stage.edm.empty_state()?, DISK)?;
    stage.edm.start_again(Some(LIMIT), stage.listed)?;
    super::connected(stage)?;
    let done = fill_and_free(stage, &mut scene, &disk);
    // Before its disk goes.
    stage.edm.stop().and(done)
}

fn fill_and_free(stage: &Stage, scene: &mut Scene, disk: &Tmpfs) -> Result<()> {
    let mut verdicts = Verdicts::of("disk-full");
    let load = Load::start(stage.edm.socket(), RATES, 0);
    let mut arrived = Arrived::default();
    for_seconds(BEFORE, SECOND, || arrived.take(stage))?;
    let before = Counted::now(stage)?;
    scene.gate.close();
    disk.fill()?;
    let began = resident(stage)?;
    for_seconds(FULL, MINUTE, || stage.edm.rotate())?;
    let (full, ended) = (Counted::now(stage)?, resident(stage)?);
    let told = (status(stage, "/edm/eventsDropped")?, status(stage, "/edm/aggregates/lost")?);
    say(&format!("    at the end of {FULL} s: status says {} events dropped, {} aggregates lost", told.0, told.1));

    disk.free()?;
    let freed = Instant::now();
    let on_disk = full.of("events_queued_octets");
    wait(&stage.edm, "events on the disk", || Ok(Counted::now(stage)?.of("events_queued_octets") > on_disk))?;
    let recovered = seconds(freed);
    for_seconds(AFTER, SECOND, || stage.edm.still_runs())?;
    let written = load.stop()?;
    stage.edm.rotate()?;
    scene.gate.open_again()?;
    arrived.drain(stage)?;
    let after = Counted::now(stage)?;

    let refused = after.outcome("event_candidates_total", "full");
    let (queued, lost) = (
        after.outcome("event_candidates_total", "queued"),
        after.of("events_displaced_total") + after.of("events_unreadable_total"),
    );
    let unaccounted = written.new.abs_diff(queued + refused) + (arrived.numbers.len() as u64).abs_diff(queued - lost);
    let missing = arrived.missing(written.new);
    say(&format!(
        "    {} new names, {queued} events, {refused} found no room, {lost} were dropped, {} came",
        written.new,
        arrived.numbers.len()
    ));
    // As many at once as a second had: of a burst of all of them some would find no room, which says nothing of the disk.
    for some in missing.chunks(RATES.new as usize) {
        send_again(&stage.edm.socket(), some.iter().copied())?;
        arrived.drain(stage)?;
    }
    let never = arrived.missing(written.new).len();
    wait(&stage.edm, "an aggregate at Core", || {
        Ok(Counted::now(stage)?.of("aggregates_sent_total") > before.of("aggregates_sent_total"))
    })?;

    let size = stage.size;
    size.figure("full_events_held_back", refused as f64, "events");
    size.figure("full_events_unaccounted", unaccounted as f64, "events");
    size.figure("full_minutes_lost", after.of("aggregate_minutes_lost_total") as f64, "minutes");
    size.figure("full_longest_write_ms", written.longest.as_secs_f64() * 1000.0, "ms");
    size.figure("full_recovers_s", recovered, "s");
    size.figure("full_rss_mib_growth", ended - began, "MiB");
    verdicts.promise(
        "the resolver never waits",
        written.longest < NOT_WAITED,
        format!("{} ms at most", written.longest.as_millis()),
    );
    let sent = written.new + written.known;
    let (read, dropped) = (after.of("input_frames_total"), after.of("input_frames_dropped_total"));
    verdicts.promise(
        "every frame is read, and none dropped",
        read >= sent && dropped == 0,
        format!("{sent} sent, {read} read, {dropped} dropped"),
    );
    verdicts.promise(
        "what found no room is counted",
        refused > 0 && unaccounted == 0,
        format!("{refused}, {unaccounted} are not accounted for"),
    );
    verdicts.promise("the status says so", told.0 > 0 && told.1 > 0, format!("{} events, {} aggregates", told.0, told.1));
    verdicts.promise("memory stays as it is", ended - began <= FLAT, format!("{:+.1} MiB", ended - began));
    verdicts.promise("it goes on when there is room", recovered <= RECOVERS_WITHIN, format!("{recovered:.1} s later"));
    verdicts.promise(
        "a name that found no room is reported when it is asked for again",
        never == 0,
        format!("{never} of {} never came", missing.len()),
    );
    let torn = scene.receiver.take().torn;
    verdicts.promise("no torn file reaches Core", torn == 0, torn);
    verdicts.end()
}
