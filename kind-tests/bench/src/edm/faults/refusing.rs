//! Core refuses aggregates: for a while, too many, one for good, or says nothing at all. The outbox stays within its bound, the oldest go and are
//! counted, requests become rare, and everything that is left is delivered afterwards.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::load::wait;
use super::super::stage::Stage;
use super::load::{Load, Rates};
use super::receiver::Mood;
use super::verdicts::Verdicts;
use super::{Counted, Scene, for_seconds, resident, seconds};
use crate::say;

/// The least that can be configured: 8 MiB of aggregates.
const SMALL: &str = "storage-mib = 64\n";
const BOUND: u64 = 8 << 20;
/// As many rows as the list has names, often.
const RATES: Rates = Rates { new: 0, known: 50_000 };
/// Between ends of a minute, by hand.
const MINUTE: Duration = Duration::from_millis(40);
const FAILS: u64 = 30;
const BUSY: u64 = 10;
const SILENT: u64 = 10;
/// Pauses double from half a second on: 0.5 + 1 + 2 + 4 + 8 + 16 s, where each is as short as it may be.
const REQUESTS: usize = 7;
const FLAT: f64 = 16.0;

pub(in super::super) fn refusing(stage: &mut Stage) -> Result<()> {
    let mut verdicts = Verdicts::of("refusing");
    let scene = Scene::start(stage, SMALL)?;
    let load = Load::start(stage.edm.socket(), RATES, 0);
    let rotate = |seconds| for_seconds(seconds, MINUTE, || stage.edm.rotate());
    rotate(2)?;
    let began = resident(stage)?;
    let refused_for_good = refuse_one(stage, &scene)?;

    scene.receiver.take();
    scene.receiver.is_now(Mood::Answers(500));
    rotate(FAILS)?;
    let failing = scene.receiver.take().requests.len();
    scene.receiver.is_now(Mood::Answers(429));
    rotate(BUSY)?;
    scene.receiver.is_now(Mood::Silent);
    rotate(SILENT)?;
    let full = Counted::now(stage)?;
    let waiting = full.of("aggregates_waiting_bytes");
    let grown = resident(stage)? - began;
    let written = load.stop()?;

    scene.receiver.is_now(Mood::Answers(201));
    let good = Instant::now();
    wait(&stage.edm, "an empty outbox", || Ok(Counted::now(stage)?.of("aggregates_waiting") == 0))?;
    let (delivered, after) = (seconds(good), Counted::now(stage)?);
    let of = |name: &str| after.of(&format!("aggregate{name}_total"));
    let (made, sent, lost) = (of("s_written"), of("s_sent"), of("s_dropped_room") + of("s_dropped_old"));
    let (refused, minutes) = (of("s_refused"), of("_minutes_lost"));
    let got = scene.receiver.take();
    say(&format!(
        "    {made} files, {sent} sent, {lost} dropped, {refused} refused for good, {minutes} minutes that a slow disk cost; {} requests since the outage began",
        got.requests.len() + failing
    ));

    let size = stage.size;
    size.figure("refusing_requests_in_30_s", failing as f64, "requests");
    size.figure("refusing_outbox_mib", waiting as f64 / f64::from(1 << 20), "MiB");
    size.figure("refusing_files_dropped", lost as f64, "files");
    size.figure("refusing_delivered_after_s", delivered, "s");
    size.figure("refusing_rss_mib_growth", grown, "MiB");
    verdicts.promise("requests become rare", (1..=REQUESTS).contains(&failing), format!("{failing} in {FAILS} s of 500"));
    verdicts.promise(
        "the outbox has a bound",
        waiting <= BOUND && lost > 0,
        format!("{waiting} octets at the end, {lost} files dropped"),
    );
    verdicts.promise(
        "every file is accounted for",
        made == sent + lost + refused,
        format!("{made} written, {sent} sent, {lost} dropped, {refused} refused"),
    );
    verdicts.promise("what is refused for good leaves the way", refused_for_good, refused);
    let twice = got.taken.values().filter(|count| **count > 1).count();
    verdicts.promise("files come whole, and once", got.torn == 0 && twice == 0, format!("{} torn, {twice} twice", got.torn));
    verdicts.promise(
        "the resolver never waits",
        written.longest < Duration::from_secs(1),
        format!("{} ms at most", written.longest.as_millis()),
    );
    verdicts.promise("memory stays as it is", grown <= FLAT, format!("{grown:+.1} MiB"));
    stage.edm.stop()?;
    verdicts.end()
}

/// The next file meets a 400; whether it is kept apart, and the one behind it is sent.
fn refuse_one(stage: &Stage, scene: &Scene) -> Result<bool> {
    wait(&stage.edm, "an empty outbox", || Ok(Counted::now(stage)?.of("aggregates_waiting") == 0))?;
    scene.receiver.is_now(Mood::Answers(400));
    stage.edm.rotate()?;
    let refused = || anyhow::Ok(Counted::now(stage)?.of("aggregates_refused_total"));
    wait(&stage.edm, "a refusal", || Ok(refused()? > 0))?;
    scene.receiver.is_now(Mood::Answers(201));
    let before = Counted::now(stage)?.of("aggregates_sent_total");
    stage.edm.rotate()?;
    wait(&stage.edm, "the file behind it", || Ok(Counted::now(stage)?.of("aggregates_sent_total") > before))?;
    let folder = stage.edm.state().join("parquet/histograms/refused/400");
    let kept = std::fs::read_dir(folder).map_or(0, Iterator::count) as u64;
    Ok(kept == refused()?)
}
