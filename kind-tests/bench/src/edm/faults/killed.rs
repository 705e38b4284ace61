//! EDM is killed again and again under load: no file is torn or lost, no event but those of the last second, and names stay known.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::super::stage::Stage;
use super::arrived::Arrived;
use super::load::{Load, Rates, send_again};
use super::receiver::{Mood, is_parquet};
use super::verdicts::Verdicts;
use super::{Counted, LIMIT, Scene, UNLIMITED, connected, seconds};
use crate::say;

const RATES: Rates = Rates { new: 1000, known: 1000 };
/// More names than are asked for in an hour.
const SEEN: &str = "qname-seen-entries = 4000000\nnewqname-sent-per-second = 20000\n";
/// It works for so long between two ends, a little longer each time.
const WORKS: Duration = Duration::from_millis(1200);
const LONGER: Duration = Duration::from_millis(73);
const TURNS: u32 = 20;
/// Between ends of a minute, by hand.
const MINUTE: Duration = Duration::from_millis(200);
/// What came later than this before the end may be lost.
const LAST: Duration = Duration::from_secs(1);

pub(in super::super) fn killed(stage: &mut Stage) -> Result<()> {
    let mut verdicts = Verdicts::of("killed");
    let scene = Scene::start(stage, &format!("{UNLIMITED}{SEEN}"))?;
    // So that files stay where they can be looked at.
    scene.receiver.is_now(Mood::Answers(500));
    let load = Load::start(stage.edm.socket(), RATES, 0);
    let end = Instant::now() + Duration::from_secs(stage.lasting.killed_seconds);
    let (mut arrived, mut files) = (Arrived::default(), Files::default());
    // Ranges of names that may be lost: from what was written a second before until EDM listened again.
    let (mut last_second, mut kills, mut starts) = (Vec::new(), 0_u32, Vec::new());
    while Instant::now() < end {
        work(stage, WORKS + LONGER * (kills % TURNS))?;
        stage.edm.kill()?;
        let (at, written) = (Instant::now(), load.written());
        kills += 1;
        let safe = written.when.iter().rev().find(|(when, _)| *when + LAST < at).map_or(0, |(_, number)| *number);
        files.look(&stage.edm.state())?;
        arrived.take(stage)?;
        let began = Instant::now();
        stage.edm.start_again(Some(LIMIT), stage.listed)?;
        starts.push(seconds(began) * 1000.0);
        // Whatever was being written when it ended has a number by now.
        last_second.push(safe..load.written().new.max(written.new));
    }
    let written = load.stop()?;
    connected(stage)?;
    arrived.drain(stage)?;
    let missing = arrived.missing(written.new);
    let lost = missing.iter().filter(|number| !last_second.iter().any(|range| range.contains(number))).count();
    let (twice, torn) = (arrived.twice, files.torn);

    // Everything once more: only what was lost is new.
    send_again(&stage.edm.socket(), 0..written.new)?;
    arrived.drain(stage)?;
    let (again, never) = (arrived.twice - twice, arrived.missing(written.new).len());
    files.look(&stage.edm.state())?;
    scene.receiver.is_now(Mood::Answers(201));
    stage.edm.start_again(Some(LIMIT), stage.listed)?;
    super::super::load::wait(&stage.edm, "an empty outbox", || {
        Ok(Counted::now(stage)?.of("aggregates_waiting") == 0 && none_waits(&stage.edm.state()))
    })?;
    let got = scene.receiver.take();
    say(&format!(
        "    {kills} ends; {} new names, {} events lost in last seconds, {} files",
        written.new,
        missing.len() - lost,
        files.known.len()
    ));

    let size = stage.size;
    size.figure("killed_times", f64::from(kills), "ends");
    size.figure("killed_events_lost_in_the_last_second", (missing.len() - lost) as f64 / f64::from(kills), "events-an-end");
    size.figure("killed_events_lost_else", lost as f64, "events");
    size.figure("killed_events_twice", twice as f64, "events");
    size.figure("killed_names_reported_again", again as f64, "names");
    size.figure("killed_ready_again_ms", crate::values::median(&mut starts), "ms");
    verdicts.promise("only events of the last second are lost", lost == 0, format!("{lost} of others, of {}", written.new));
    verdicts.promise(
        "what was lost is reported when it is asked for again",
        never == 0,
        format!("{never} of {} never came", missing.len()),
    );
    // A second's names, each time.
    let most = u64::from(kills) * RATES.new;
    verdicts.promise(
        "names stay known",
        again <= most / 10,
        format!("{again} of {} were reported again, {twice} events came twice meanwhile", written.new),
    );
    verdicts.promise("no file is torn", torn + got.torn == 0, format!("{torn} in the outbox, {} at Core", got.torn));
    verdicts.promise(
        "no file of the outbox is lost",
        files.lost.is_empty() && got.taken.len() >= files.known.len(),
        format!("{} lost, {} known, {} at Core", files.lost.len(), files.known.len(), got.taken.len()),
    );
    stage.edm.stop()?;
    verdicts.end()
}

/// Lets it work, and ends minutes.
fn work(stage: &Stage, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::thread::sleep(MINUTE.min(end.saturating_duration_since(Instant::now())));
        stage.edm.rotate()?;
    }
    Ok(())
}

fn none_waits(state: &Path) -> bool {
    fs::read_dir(state.join("parquet/histograms/outbox")).is_ok_and(|mut files| files.next().is_none())
}

/// Files of the outbox that were seen, and their octets: none changes, none goes.
#[derive(Debug, Default)]
struct Files {
    known: BTreeMap<String, u64>,
    torn: u64,
    lost: Vec<String>,
}

impl Files {
    /// While nobody works there.
    fn look(&mut self, state: &Path) -> Result<()> {
        let mut there = BTreeMap::new();
        for entry in fs::read_dir(state.join("parquet/histograms/outbox")).context("reading the outbox")? {
            let path = entry.context("reading the outbox")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // What is unfinished was never there.
            if name.ends_with(".parquet") {
                let octets = fs::read(&path).context("reading a file of the outbox")?;
                self.torn += u64::from(!is_parquet(&octets));
                there.insert(name, octets.len() as u64);
            }
        }
        let changed = |(name, octets): &(&String, &u64)| there.get(*name) != Some(*octets);
        self.lost.extend(self.known.iter().filter(changed).map(|(name, _)| name.clone()));
        self.known.extend(there);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_go_or_change_or_are_torn_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = folder.path().join("parquet/histograms/outbox");
        fs::create_dir_all(&outbox).unwrap();
        assert!(none_waits(folder.path()));
        for name in ["a.parquet", "b.parquet", "c.parquet.tmp"] {
            fs::write(outbox.join(name), "PAR1 something PAR1").unwrap();
        }
        let mut files = Files::default();
        files.look(folder.path()).unwrap();
        assert_eq!((files.known.len(), files.torn, files.lost.len()), (2, 0, 0));
        fs::write(outbox.join("a.parquet"), "PAR1").unwrap();
        fs::remove_file(outbox.join("b.parquet")).unwrap();
        files.look(folder.path()).unwrap();
        assert_eq!((files.torn, files.lost), (1, vec!["a.parquet".to_owned(), "b.parquet".to_owned()]));
    }
}
