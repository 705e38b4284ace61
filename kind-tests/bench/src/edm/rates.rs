//! Frames a second and what they cost: names of the list, and others that were seen before.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, bail};

use super::bare::Bare;
use super::events;
use super::load::{self, Cost};
use super::resolver::Resolver;
use super::stage::{MANY, Stage};
use super::traffic::Stream;
use crate::say;
use crate::values::{median, spread};

/// In memory.
pub(super) const FRAMES: usize = 4_000_000;
/// So often over one connection.
const TIMES: usize = 3;
/// A little more than a minute.
const QUIET: Duration = Duration::from_secs(62);
/// Names whose events were held back are asked for again, so often.
const TRIES: usize = 10;

/// What some rounds of the same brought.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) rates: Vec<f64>,
    pub(super) costs: Vec<f64>,
}

impl Rounds {
    pub(super) fn add(&mut self, cost: Cost) {
        self.rates.push(cost.rate());
        self.costs.push(cost.per_million());
    }

    pub(super) fn tell(&self) {
        say(&format!("    frames/s: {}", spread(&self.rates)));
        say(&format!("    CPU-seconds per million: {}", spread(&self.costs)));
    }
}

pub(super) fn rates(stage: &mut Stage) -> Result<()> {
    begin(stage)?;
    let stream = stage.traffic.frames(stage.size.of(FRAMES), None);
    let octets = stream.octets.len() as f64 / stream.frames as f64;
    let listed = stream.listed as f64 / stream.frames as f64;
    say(&format!("    frames of {octets:.0} octets, {:.0} % of them for names of the list", listed * 100.0));
    // The first time rows of the minute are new, and so are pages of memory.
    load::send(&stage.edm, &[&stream])?;
    let (mut rounds, mut bare, mut ratios) = (Rounds::default(), Vec::new(), Vec::new());
    for _ in 0..stage.rounds {
        let least = split_only(stage, &stream)?;
        let cost = load::send(&stage.edm, &[&stream; TIMES])?;
        bare.push(least);
        ratios.push(cost.per_million() / least);
        rounds.add(cost);
    }
    rounds.tell();
    say(&format!("    a reader that only splits, CPU-seconds per million: {}", spread(&bare)));
    let size = stage.size;
    size.figure("frames_per_s", median(&mut rounds.rates).round(), "frames/s");
    size.figure("cpu_s_per_million", median(&mut rounds.costs), "s");
    size.figure("times_bare_read", median(&mut ratios), "of-bare");
    size.figure("bare_cpu_s_per_million", median(&mut bare), "s");
    Ok(())
}

/// Histograms alone, as where `disable-mqtt` says so: what the way to the broker costs frames that make no event is the difference.
pub(super) fn without_broker(stage: &mut Stage) -> Result<()> {
    begin(stage)?;
    stage.edm.configure("disable-mqtt = true\n")?;
    stage.edm.start_again(None, stage.listed)?;
    let stream = stage.traffic.frames(stage.size.of(FRAMES), None);
    load::send(&stage.edm, &[&stream])?;
    let mut rounds = Rounds::default();
    for _ in 0..stage.rounds {
        rounds.add(load::send(&stage.edm, &[&stream; TIMES])?);
    }
    rounds.tell();
    stage.size.figure("frames_per_s_no_broker", median(&mut rounds.rates).round(), "frames/s");
    stage.size.figure("cpu_s_per_million_no_broker", median(&mut rounds.costs), "s");
    // Whoever comes next wants one.
    stage.edm.configure(events::UNBOUNDED)?;
    stage.edm.start_again(None, stage.listed)?;
    connected(stage)
}

/// An EDM with the larger list, connected to the broker, that has seen every name beside the list.
pub(super) fn begin(stage: &mut Stage) -> Result<()> {
    if stage.has_seen {
        return Ok(());
    }
    stage.list(MANY)?;
    stage.edm.configure(events::UNBOUNDED)?;
    stage.edm.start(None, stage.listed)?;
    connected(stage)?;
    say("    a store that is empty holds events back until a minute was quiet");
    std::thread::sleep(QUIET);
    let others = stage.traffic.others();
    // What an earlier part left.
    stage.core.take_out()?;
    let mut missing: HashSet<&String> = others.new.iter().collect();
    for _ in 0..TRIES {
        load::send(&stage.edm, &[&others])?;
        for name in events::came(stage, missing.len())?.names.keys() {
            missing.remove(name);
        }
        if missing.is_empty() {
            stage.has_seen = true;
            return Ok(());
        }
        say(&format!("    {} events have not come; their names are asked for again", missing.len()));
    }
    bail!("{} names that were asked for {TRIES} times made no event", missing.len());
}

pub(super) fn connected(stage: &Stage) -> Result<()> {
    load::wait(&stage.edm, "the connection to the broker", || Ok(stage.edm.metric("mqtt_connected")? >= 1.0))
}

/// CPU-seconds per million frames of a reader that does nothing with them.
fn split_only(stage: &Stage, stream: &Stream) -> Result<f64> {
    let socket = stage.folder.join("bare.sock");
    let bare = Bare::listen(&socket)?;
    let mut resolver = Resolver::connect(&socket)?;
    for _ in 0..TIMES {
        resolver.send(&stream.octets)?;
    }
    resolver.finish()?;
    let seen = bare.seen()?;
    if seen.frames != stream.frames * TIMES as u64 {
        bail!("the bare reader saw {} frames", seen.frames);
    }
    Ok(seen.processor / seen.frames as f64 * 1e6)
}
