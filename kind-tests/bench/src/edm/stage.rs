//! A broker, EDM, names and frames.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;
use tapir_wire::jwk::{DataKey, TrustedKeys};
use tapir_wire::node;
use tapir_wire::node_name::NodeName;

use super::faults::Lasting;
use super::server::Edm;
use super::subscriber::Subscriber;
use super::traffic::{self, Traffic};
use crate::broker::{self, Broker};
use crate::{figure, say};

/// Names of the larger list and of the smaller one.
pub(super) const MANY: usize = 1_000_000;
pub(super) const FEW: usize = 100_000;

/// One part of so many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size(pub(super) u32);

impl Size {
    /// This many at full scale; a thousand at least.
    pub(super) fn of(self, count: usize) -> usize {
        (count / self.0 as usize).max(1000)
    }

    pub(super) fn figure(self, name: &str, value: f64, unit: &str) {
        let suffix = if self.0 == 1 { String::new() } else { format!("_scale_1_{}", self.0) };
        figure(&format!("edm.{name}{suffix}"), value, unit);
    }
}

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) size: Size,
    pub(super) rounds: u32,
    pub(super) lasting: Lasting,
    pub(super) edm: Edm,
    pub(super) broker: Broker,
    pub(super) core: Subscriber,
    pub(super) traffic: Traffic,
    /// Names of the list in force.
    pub(super) listed: usize,
    /// EDM runs, is connected, and has seen every name beside the list.
    pub(super) has_seen: bool,
    pub(super) folder: PathBuf,
}

impl Stage {
    /// Without a list.
    pub(super) fn new(size: Size, rounds: u32, lasting: Lasting) -> Result<Self> {
        let programs = std::env::var_os("TAPIR_PROGRAMS").context("TAPIR_PROGRAMS is not set; run `cargo xtask bench edm`")?;
        let programs = Path::new(&programs);
        let folder = programs.parent().unwrap_or(programs).join("bench-edm");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
        }
        let name = NodeName::parse(broker::NODE).context("a name for the signing key")?;
        let key = DataKey::generate(&name).context("generating a signing key")?;
        let edm = Edm::new(&folder.join("edm"), &programs.join("tapir-edm"))?;
        let broker = broker::start(&folder.join("broker"), &edm.config(), &key)?;
        broker::write(&edm.config().join(node::DATA_KEY), &key.to_jwk())?;
        broker::write(&edm.config().join(node::CRYPTOPAN_KEY), "a secret of the bench")?;
        let keys = TrustedKeys::from_value(&json!({"keys": [key.public_jwk()]})).context("a key to check events with")?;
        let core = Subscriber::connect(broker.open, keys)?;
        let (traffic, _) = Traffic::new(1);
        Ok(Self { size, rounds, lasting, edm, broker, core, traffic, listed: 0, has_seen: false, folder })
    }

    /// Another list, and names that are asked for in proportion.
    pub(super) fn list(&mut self, names: usize) -> Result<()> {
        let names = self.size.of(names);
        if self.listed != names {
            say(&format!("    a list of {names} names, and {} beside it", names / 4));
            let (traffic, list) = Traffic::new(names);
            self.edm.write_list(&traffic::file(&list)?)?;
            (self.traffic, self.listed) = (traffic, names);
        }
        Ok(())
    }
}
