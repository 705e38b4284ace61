//! Transfers of the whole zone: what they cost, and how fast they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};

use super::bare;
use super::reader::{self, Transfer};
use super::sender::packets;
use super::stage::Stage;
use crate::operator::process;
use crate::say;
use crate::values::{median, spread};

const RUNS: usize = 5;
const READERS: usize = 8;
const STALLED_AFTER: usize = 64 << 10;
/// Observations a second while eight readers read.
const RATE: f64 = 1000.0;
/// Enough of them for a machine that is ten times slower than it should be.
const SECONDS: usize = 60;

/// Memory after a transfer, rate, and rate of a bare socket with the same octets.
pub(super) fn one(stage: &mut Stage) -> Result<()> {
    let (pid, pop, size) = (stage.pop.pid()?, &stage.pop, stage.size);
    pop.forget_files()?;
    whole(reader::take(pop.dns, None)?, stage)?;
    let anonymous = process::memory(pid)?.anonymous as f64 / 1024.0;
    size.figure("rss_mib_1m", pop.usage()?, "MiB");
    size.figure("rss_anon_mib_1m", anonymous, "MiB");
    say(&format!("    of it in MiB: {}", pop.group.parts()));

    let octets = Arc::new(stage.check()?);
    let per_record = octets.len() as f64 / stage.records() as f64;
    let bare = bare::serve(octets)?;
    reader::take(bare, None)?;
    let (mut rates, mut bare_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (ours, least) = (whole(reader::take(pop.dns, None)?, stage)?.rate(), reader::take(bare, None)?.rate());
        rates.push(ours);
        bare_rates.push(least);
        ratios.push(ours / least);
    }
    say(&format!("    {per_record:.1} octets a record; bare socket, records/s: {}", spread(&bare_rates)));
    say(&format!("    POP, records/s: {}", spread(&rates)));
    size.figure("axfr_rr_per_s_1m", median(&mut rates).round(), "RR/s");
    size.figure("axfr_of_bare_socket", median(&mut ratios), "of-bare");
    size.figure("bare_rr_per_s_1m", median(&mut bare_rates).round(), "RR/s");
    Ok(())
}

fn whole(transfer: Transfer, stage: &Stage) -> Result<Transfer> {
    if transfer.records != stage.records() {
        bail!("a transfer has {} records in place of {}", transfer.records, stage.records());
    }
    Ok(transfer)
}

/// Eight at once, of which one takes no more after its first octets.
pub(super) fn stalled(stage: &mut Stage) -> Result<()> {
    let (pid, pop) = (stage.pop.pid()?, &stage.pop);
    whole(reader::take(pop.dns, None)?, stage)?;
    pop.settle()?;
    let before = pop.usage()?;
    let (held, peak) = pop.group.peak(pid, || {
        let stalled = reader::stall(pop.dns, STALLED_AFTER)?;
        let transfers = at_once(READERS - 1, || Ok(vec![reader::take(pop.dns, None)?]))?;
        for transfer in transfers {
            whole(transfer, stage)?;
        }
        // Still there, and still paid for.
        std::thread::sleep(std::time::Duration::from_secs(2));
        Ok(stalled)
    })?;
    drop(held);
    stage.size.figure("axfr8_growth_mib", peak - before, "MiB");
    pop.settle()
}

/// Eight at once, again and again, while observations come.
pub(super) fn eight(stage: &mut Stage) -> Result<()> {
    stage.fill(stage.size.of(100_000))?;
    let names = stage.observations(SECONDS * RATE as usize);
    let packets = packets(&stage.key, &names);
    let (least, before, done) = (stage.records(), stage.added()?, AtomicBool::new(false));
    let (dns, sender) = (stage.pop.dns, &mut stage.sender);
    let (sent, transfers, took) = std::thread::scope(|scope| {
        let pace = scope.spawn(|| sender.pace(&packets, RATE, || !done.load(Ordering::Relaxed)));
        let began = Instant::now();
        let transfers = at_once(READERS, || (0..RUNS).map(|_| reader::take(dns, None)).collect());
        let took = began.elapsed();
        done.store(true, Ordering::Relaxed);
        let sent = pace.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        anyhow::Ok((sent, transfers?, took))
    })?;
    if sent == packets.len() {
        bail!("all {sent} observations were sent before the transfers ended");
    }
    stage.pop.reaches("observations_total", &["outcome=\"added\""], before + sent as f64)?;
    stage.observed(names.get(..sent).unwrap_or_default());
    stage.pop.settle()?;
    let possible = least..=stage.records();
    if let Some(odd) = transfers.iter().find(|transfer| !possible.contains(&transfer.records)) {
        bail!("a transfer has {} records, between {} and {} are possible", odd.records, possible.start(), possible.end());
    }
    let records: u64 = transfers.iter().map(|transfer| transfer.records).sum();
    let mut serials: Vec<u32> = transfers.iter().map(|transfer| transfer.serial).collect();
    serials.sort_unstable();
    serials.dedup();
    say(&format!(
        "    {} transfers of {} versions in {:.2} s, {sent} observations meanwhile",
        transfers.len(),
        serials.len(),
        took.as_secs_f64()
    ));
    stage.check()?;
    stage.size.figure("axfr_rr_per_s_8", (records as f64 / took.as_secs_f64()).round(), "RR/s");
    Ok(())
}

/// The same in so many threads.
fn at_once(threads: usize, work: impl Fn() -> Result<Vec<Transfer>> + Sync) -> Result<Vec<Transfer>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??);
        }
        Ok(all)
    })
}
