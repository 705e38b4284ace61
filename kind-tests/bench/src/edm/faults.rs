//! EDM under load while something around it fails: each part tells figures, and whether what is promised held.

mod arrived;
mod away;
mod flood;
mod full;
mod garbage;
mod gate;
mod killed;
mod load;
mod receiver;
mod refusing;
mod tmpfs;
mod verdicts;

pub(super) use away::broker_away;
pub(super) use flood::flood;
pub(super) use full::disk_full;
pub(super) use garbage::garbage;
pub(super) use killed::killed;
pub(super) use refusing::refusing;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;
use tapir_wire::node;

use super::rates::connected;
use super::stage::Stage;
use super::traffic;
use crate::broker;
use crate::operator::exposition;
use gate::Gate;
use receiver::Receiver;

/// The container's size that is the default in Kubernetes, in MiB, and what of it may be used at most.
const LIMIT: u64 = 192;
const USABLE: f64 = 0.75 * LIMIT as f64;
/// Names of the list: other than any list of the other parts, so that those write theirs again.
const KNOWN: u64 = 500;
/// Settings without the limits of new names, so that what is lost is lost by the fault.
const UNLIMITED: &str = "newqname-per-second = 1000000\nnewqname-per-domain = 1000000\n";

/// For how long.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Lasting {
    /// The broker is away for so many seconds
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    away_seconds: u64,
    /// EDM is killed again and again for so many seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    killed_seconds: u64,
    /// Garbage comes for so many seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    garbage_seconds: u64,
    /// Each flood of random names comes for so many seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    flood_seconds: u64,
}

/// What stands between EDM and Core.
#[derive(Debug)]
struct Scene {
    gate: Gate,
    receiver: Receiver,
}

impl Scene {
    /// A short list, a broker that can be taken away, a receiver of aggregates, and these settings. EDM is to be started.
    fn set(stage: &mut Stage, more: &str) -> Result<Self> {
        stage.edm.stop()?;
        let scene = Self { gate: Gate::open(stage.broker.mutual)?, receiver: Receiver::start()? };
        let document = json!({"format": 1, "name": broker::NODE, "aggrecUrl": scene.receiver.url(),
            "mqttBroker": format!("mqtts://localhost:{}", scene.gate.port)});
        broker::write(&stage.edm.config().join(node::NODE_DOCUMENT), &document.to_string())?;
        let mut list: Vec<String> = (0..KNOWN).map(load::known).collect();
        list.sort_unstable();
        stage.edm.write_list(&traffic::file(&list)?)?;
        (stage.listed, stage.has_seen) = (list.len(), false);
        stage.edm.configure(&format!("enable-manual-parquet-rotation = true\n{more}"))?;
        // What an earlier part left.
        stage.core.take_out()?;
        Ok(scene)
    }

    /// The same with an EDM that knows nothing yet, and is connected.
    fn start(stage: &mut Stage, more: &str) -> Result<Self> {
        let scene = Self::set(stage, more)?;
        stage.edm.start(Some(LIMIT), stage.listed)?;
        connected(stage)?;
        Ok(scene)
    }
}

/// What was counted, by one reading.
#[derive(Debug)]
struct Counted(String);

impl Counted {
    fn now(stage: &Stage) -> Result<Self> {
        Ok(Self(stage.edm.metrics()?))
    }

    fn of(&self, name: &str) -> u64 {
        self.labelled(name, "")
    }

    /// Of a metric with an outcome.
    fn outcome(&self, name: &str, outcome: &str) -> u64 {
        self.labelled(name, &format!("=\"{outcome}\""))
    }

    fn labelled(&self, name: &str, label: &str) -> u64 {
        exposition::sum(&self.0, &format!("tapir_edm_{name}"), &[label]).unwrap_or_default() as u64
    }
}

/// Does something now and then for so long.
fn for_seconds(seconds: u64, every: Duration, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        std::thread::sleep(every);
        work()?;
    }
    Ok(())
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

/// Resident memory now, in MiB.
fn resident(stage: &Stage) -> Result<f64> {
    Ok(stage.edm.resident()?.1)
}

/// A member of the status.
fn status(stage: &Stage, pointer: &str) -> Result<u64> {
    stage
        .edm
        .status()?
        .pointer(pointer)
        .and_then(serde_json::Value::as_u64)
        .with_context(|| format!("{pointer} is not in the status"))
}
