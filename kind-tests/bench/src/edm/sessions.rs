//! Session files: what writing them costs, and how much more memory they take.

use anyhow::Result;
use tapir_wire::node;

use super::events;
use super::load;
use super::rates::{FRAMES, Rounds, begin, connected};
use super::stage::Stage;
use crate::values::median;
use crate::{broker, say};

const ON: &str = "disable-session-files = false\n";
/// What pseudonyms are made of.
const SECRET: &str = "of the bench";
/// So often over one connection: some seconds, so that files become full.
const TIMES: usize = 2;

pub(super) fn sessions(stage: &mut Stage) -> Result<()> {
    let without = memory(stage, "")?.1;
    let (mut rounds, with) = memory(stage, ON)?;
    rounds.tell();
    if !stage.edm.has_sessions() {
        say("    NOTE: no session files were written: no figures of them");
        return Ok(());
    }
    let [rows, dropped] = ["session_rows_total", "session_rows_dropped_total"].map(|name| stage.edm.metric(name));
    let (rows, dropped) = (rows?, dropped?);
    say(&format!("    {rows} rows in files so far, {dropped} dropped (a disk or a processor that was behind)"));
    say(&format!("    resident at most: {without:.1} MiB without, {with:.1} MiB with session files"));
    stage.size.figure("frames_per_s_sessions", median(&mut rounds.rates).round(), "frames/s");
    stage.size.figure("cpu_s_per_million_sessions", median(&mut rounds.costs), "s");
    stage.size.figure("rss_mib_sessions", with - without, "MiB");
    Ok(())
}

/// Costs, and the most that was resident.
fn memory(stage: &mut Stage, more: &str) -> Result<(Rounds, f64)> {
    begin(stage)?;
    // What it has seen it knows again.
    stage.edm.configure(&format!("{}{more}", events::UNBOUNDED))?;
    broker::write(&stage.edm.config().join(node::CRYPTOPAN_KEY), SECRET)?;
    stage.edm.start_again(None, stage.listed)?;
    connected(stage)?;
    if !more.is_empty() {
        // The 64 MiB that it takes are gone by then.
        let has_key = || Ok(stage.edm.status()?.pointer("/edm/sessions/key") == Some(&true.into()));
        load::wait(&stage.edm, "the key of pseudonyms", has_key)?;
    }
    let stream = stage.traffic.frames(stage.size.of(FRAMES), None);
    stage.edm.forget()?;
    let mut rounds = Rounds::default();
    for _ in 0..stage.rounds {
        rounds.add(load::send(&stage.edm, &[&stream; TIMES])?);
    }
    // Whoever comes next wants to have none.
    stage.has_seen = more.is_empty();
    Ok((rounds, stage.edm.resident()?.0))
}
