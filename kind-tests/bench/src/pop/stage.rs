//! Lists of a million names, a broker, POP, and what is known of them.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use tapir_wire::jwk::DataKey;
use tapir_wire::node_name::NodeName;

use super::notified::Notified;
use super::sender::{Sender, packet};
use super::server::Pop;
use super::{content, reader};
use crate::broker::{self, Broker};
use crate::names::Names;
use crate::{figure, say};

/// Names in one message, where speed is of no interest: Core's messages have 100 000 octets at most.
const BULK: usize = 400;
/// Messages on their way at a time: POP holds 4 MiB of them.
const ON_THEIR_WAY: usize = 16;
/// Tags of observations in turn: the policy acts on the first.
const TAGS: [u32; 2] = [1, 2];
/// The zone's own: SOA twice, and two NS.
const APEX: u64 = 4;
/// What a list has, in hundredths of all names, from and to. What two doubt lists have is blocked.
const LISTS: [(&str, &str, usize, usize); 4] =
    [("deny-a", "Deny", 0, 55), ("deny-b", "Deny", 50, 90), ("doubt-c", "Doubt", 88, 100), ("doubt-d", "Doubt", 90, 100)];

/// One part of so many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size(pub(super) u32);

impl Size {
    /// This many at full scale; 20 at least.
    pub(super) fn of(self, count: usize) -> usize {
        (count / self.0 as usize).max(20)
    }

    pub(super) fn figure(self, name: &str, value: f64, unit: &str) {
        let suffix = if self.0 == 1 { String::new() } else { format!("_scale_1_{}", self.0) };
        figure(&format!("pop.{name}{suffix}"), value, unit);
    }
}

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) size: Size,
    pub(super) pop: Pop,
    pub(super) broker: Broker,
    pub(super) notified: Notified,
    pub(super) key: DataKey,
    pub(super) sender: Sender,
    /// More names, none of which is listed.
    fresh: Names,
    /// What is listed.
    pub(super) listed: Vec<String>,
    /// What is observed and blocked for it.
    pub(super) blocked: Vec<String>,
    /// Observations that were taken.
    pub(super) live: usize,
    folder: PathBuf,
}

impl Stage {
    /// The zone stands when this returns.
    pub(super) fn new(size: Size) -> Result<Self> {
        let programs = std::env::var_os("TAPIR_PROGRAMS").context("TAPIR_PROGRAMS is not set; run `cargo xtask bench pop`")?;
        let programs = Path::new(&programs);
        let folder = programs.parent().unwrap_or(programs).join("bench-pop");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
        }
        let name = NodeName::parse("core.test").context("a name for the signing key")?;
        let key = DataKey::generate(&name).context("generating a signing key")?;
        let pop = Pop::new(&folder.join("pop"), &programs.join("tapir-pop"))?;
        let broker = broker::start(&folder.join("broker"), &pop.config(), &key)?;
        let sender = Sender::connect(broker.open)?;
        let notified = Notified::start()?;
        let mut fresh = Names::new();
        let listed = fresh.some(size.of(1_000_000));
        let live = 0;
        let mut stage = Self { size, pop, broker, notified, key, sender, fresh, listed, blocked: Vec::new(), live, folder };
        let allowed = stage.fresh.some(size.of(10_000));
        fs::create_dir_all(stage.lists()).context("creating a folder for lists")?;
        stage.write_lists()?;
        lines(&stage.lists().join("allow"), &allowed)?;
        stage.pop.configure(stage.notified.address, &policy(&stage.lists()))?;
        let began = Instant::now();
        stage.pop.start()?;
        stage.pop.reaches("zone_records", &[], stage.listed.len() as f64)?;
        size.figure("first_zone_s_1m", began.elapsed().as_secs_f64(), "s");
        stage.pop.reaches("mqtt_connected", &[], 1.0)?;
        stage.pop.settle()?;
        Ok(stage)
    }

    fn lists(&self) -> PathBuf {
        self.folder.join("lists")
    }

    /// All lists, each complete at once; what they had before is replaced.
    pub(super) fn write_lists(&self) -> Result<()> {
        let hundredth = |part: usize| self.listed.len() * part / 100;
        for (name, _, from, to) in LISTS {
            let names = self.listed.get(hundredth(from)..hundredth(to)).unwrap_or_default();
            lines(&self.lists().join(format!("{name}.new")), names)?;
        }
        self.swap_lists()
    }

    fn swap_lists(&self) -> Result<()> {
        for (name, ..) in LISTS {
            let file = self.lists().join(name);
            fs::rename(file.with_extension("new"), &file).with_context(|| format!("replacing {}", file.display()))?;
        }
        Ok(())
    }

    /// One name of ten becomes another; the lists are written, and in force with the renames of the returned function.
    pub(super) fn change_lists(&mut self) -> Result<Instant> {
        for name in self.listed.iter_mut().step_by(10) {
            *name = self.fresh.one();
        }
        let hundredth = |part: usize| self.listed.len() * part / 100;
        for (name, _, from, to) in LISTS {
            let names = self.listed.get(hundredth(from)..hundredth(to)).unwrap_or_default();
            lines(&self.lists().join(format!("{name}.new")), names)?;
        }
        let began = Instant::now();
        self.swap_lists()?;
        Ok(began)
    }

    /// Names to be observed, with their tags.
    pub(super) fn observations(&mut self, count: usize) -> Vec<(String, u32)> {
        (0..count).map(|index| (self.fresh.one(), TAGS.get(index % 2).copied().unwrap_or(1))).collect()
    }

    /// They were sent, and are live.
    pub(super) fn observed(&mut self, names: &[(String, u32)]) {
        self.live += names.len();
        self.blocked.extend(names.iter().filter(|(_, tags)| *tags == 1).map(|(name, _)| name.clone()));
    }

    pub(super) fn added(&self) -> Result<f64> {
        self.pop.metric("observations_total", &["outcome=\"added\""])
    }

    /// At least so many live observations.
    pub(super) fn fill(&mut self, live: usize) -> Result<()> {
        if self.live >= live {
            return Ok(());
        }
        let names = self.observations(live - self.live);
        say(&format!("    {} observations more", names.len()));
        let before = self.added()?;
        for (index, group) in names.chunks(BULK).enumerate() {
            self.sender.send(&packet(&self.key, group))?;
            if index % ON_THEIR_WAY == ON_THEIR_WAY - 1 {
                self.taken(before, ((index + 1) * BULK).min(names.len()))?;
            }
        }
        self.taken(before, names.len())?;
        self.observed(&names);
        self.pop.settle()
    }

    fn taken(&self, before: f64, count: usize) -> Result<()> {
        self.pop.reaches("observations_total", &["outcome=\"added\""], before + count as f64)
    }

    /// Records of a whole transfer.
    pub(super) fn records(&self) -> u64 {
        (self.listed.len() + self.blocked.len()) as u64 + APEX
    }

    /// What is served is what should be, name by name; the octets of it.
    pub(super) fn check(&self) -> Result<Vec<u8>> {
        let mut octets = Vec::new();
        let transfer = reader::take(self.pop.dns, Some(&mut octets))?;
        if transfer.records != self.records() {
            bail!("the zone has {} records, it should have {}", transfer.records, self.records());
        }
        content::check(&octets, self.listed.iter().chain(&self.blocked))?;
        Ok(octets)
    }
}

fn policy(lists: &Path) -> String {
    let source = |name: &str, list: &str| {
        format!("- {{name: {name}, list: {list}, file: {{path: {}, format: Domains}}}}\n", lists.join(name).display())
    };
    let files: String = LISTS.iter().map(|(name, list, ..)| source(name, list)).collect();
    format!(
        "limits: {{observationOctets: 268435456}}\nsources:\n- {{name: dns-tapir, list: Doubt, core: {{}}}}\n{files}{}deny: {{action: NXDOMAIN}}\n\
         doubt:\n- {{name: new, anyTags: [globally_new], action: NXDOMAIN}}\n- {{name: agreed, minSources: 2, action: NXDOMAIN}}\n",
        source("allow", "Allow")
    )
}

/// On disk when this returns: what follows is not to wait for it.
fn lines(path: &Path, names: &[String]) -> Result<()> {
    let failed = || format!("writing {}", path.display());
    let mut file = BufWriter::new(File::create(path).with_context(failed)?);
    for name in names {
        writeln!(file, "{name}").with_context(failed)?;
    }
    let file = file.into_inner().with_context(failed)?;
    file.sync_all().with_context(failed)
}
