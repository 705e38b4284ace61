//! One name of a hundred is new: its event is signed, sent, acknowledged, and comes to Core.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::load::{self, Cost};
use super::rates::{FRAMES, Rounds, begin};
use super::stage::Stage;
use super::subscriber::Events;
use super::traffic::Stream;
use crate::say;
use crate::values::{median, spread};

/// Settings under which no event is held back for the sake of Core or of the disk.
pub(super) const UNBOUNDED: &str = "newqname-per-second = 1000000\nnewqname-per-domain = 1000000\nnewqname-sent-per-second = 1000000\n\
    newqname-buffer = 1000000\nqname-seen-entries = 4000000\nstorage-mib = 4096\n";
/// One name of so many.
const NEW: usize = 100;
const SILENCE: Duration = Duration::from_secs(2);

pub(super) fn rate(stage: &mut Stage) -> Result<()> {
    begin(stage)?;
    let (mut rounds, mut taken, mut lost, mut twice, mut events) = (Rounds::default(), Vec::new(), 0, 0, 0);
    for _ in 0..stage.rounds {
        let stream = stage.traffic.frames(stage.size.of(FRAMES), Some(NEW));
        let processor = stage.edm.processor()?;
        let began = Instant::now();
        let cost = load::send(&stage.edm, &[&stream])?;
        let Delivered { missing, again, last } = delivered(stage, &stream)?;
        let all = last.map_or(cost.wall, |last| last.duration_since(began).as_secs_f64().max(cost.wall));
        taken.push(cost.rate());
        rounds.add(Cost { wall: all, processor: stage.edm.processor()? - processor, ..cost });
        lost += missing;
        twice += again;
        events += stream.new.len();
    }
    say(&format!("    {events} events, {lost} of them did not come, {twice} came twice; until the last one came:"));
    rounds.tell();
    say(&format!("    frames/s until the last frame was taken: {}", spread(&taken)));
    let size = stage.size;
    size.figure("frames_per_s_events", median(&mut rounds.rates).round(), "frames/s");
    size.figure("cpu_s_per_million_events", median(&mut rounds.costs), "s");
    size.figure("frames_per_s_events_taken", median(&mut taken).round(), "frames/s");
    size.figure("events_dropped", lost as f64, "events");
    Ok(())
}

/// What came of a stream's new names.
#[derive(Debug)]
struct Delivered {
    missing: usize,
    again: usize,
    last: Option<Instant>,
}

fn delivered(stage: &Stage, stream: &Stream) -> Result<Delivered> {
    let came = came(stage, stream.new.len())?;
    let missing = stream.new.iter().filter(|name| !came.names.contains_key(*name)).count();
    let again = came.names.values().map(|count| *count as usize - 1).sum();
    Ok(Delivered { missing, again, last: came.last })
}

/// Waits for so many events, as long as there are any left to come: none for two seconds, and none comes.
pub(super) fn came(stage: &Stage, count: usize) -> Result<Events> {
    let (mut before, mut since) = (0, Instant::now());
    while before < count && since.elapsed() < SILENCE {
        std::thread::sleep(Duration::from_millis(5));
        let now = stage.core.count()?;
        if now != before {
            (before, since) = (now, Instant::now());
        }
        stage.edm.still_runs()?;
    }
    stage.core.take_out()
}
