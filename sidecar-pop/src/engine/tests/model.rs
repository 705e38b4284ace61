//! An engine, and what has to be there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use jiff::SignedDuration;
use tapir_table::{Codes, Cursor as _, KeyBuf, TableFile, TableWriter, Tree, Value};
use tapir_wire::name::Name;
use tapir_wire::observation::{Entry, ListType, Message};

use super::acts::{Act, Config, ROOM, feed_codes, feed_palette, key};
use super::judge::{Content, Names, content};
use crate::dns::zone::Apex;
use crate::engine::*;
use crate::feeds::{Health, Meta, SourceNews};
use crate::knowledge::observations::{LONGEST_TTL, Observations};
use crate::state::failpoint;
use crate::zone::Serial;

const BEGIN: i64 = 1_795_219_200;

pub(super) struct Model {
    pub(super) folder: tempfile::TempDir,
    pub(super) engine: Engine,
    pub(super) published: watch::Receiver<Option<Arc<Snapshot>>>,
    pub(super) now: Timestamp,
    pub(super) latest: Timestamp,
    pub(super) config: Config,
    pub(super) observations: Observations,
    pub(super) feed: Names,
    pub(super) sets: u8,
    /// Sets of local data that the zone has room for.
    pub(super) room: u16,
    /// Every version that was ever seen, its content, and the apex that it had.
    pub(super) seen: Vec<(Serial, Content, Arc<Apex>)>,
    /// A version with the same content may follow.
    pub(super) renumbered: bool,
    /// How often the process ended between two writes.
    pub(super) crashes: usize,
}

fn engine(folder: &Path, config: &Config, room: u16, now: Timestamp) -> (Engine, watch::Receiver<Option<Arc<Snapshot>>>) {
    let (publish, published) = watch::channel(None);
    let mut engine = Engine::new(publish, Telemetry::new(None, None)).unwrap();
    // A machine that is busy is no disk that hangs.
    engine.scribe = Scribe::direct();
    engine.room = room;
    engine.configure(config.setup(folder), now);
    (engine, published)
}

impl Model {
    pub(super) fn new(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        failpoint::follow(folder.path());
        let now = Timestamp::from_second(BEGIN).unwrap();
        let (engine, published) = engine(folder.path(), &config, ROOM, now);
        Self {
            folder,
            engine,
            published,
            now,
            latest: now,
            config,
            observations: Observations::new(1 << 20),
            feed: Names::new(),
            sets: 0,
            room: ROOM,
            seen: Vec::new(),
            renumbered: false,
            crashes: 0,
        }
    }

    fn message(added: Vec<Entry>, removed: Vec<Entry>) -> Observed {
        let (src_name, list_type) = ("dns-tapir".to_owned(), ListType::Doubt);
        let message = Message { src_name, list_type, timestamp: None, added, removed, rejected: [].into() };
        Observed { source: Arc::from("core"), message }
    }

    pub(super) fn act(&mut self, act: &Act) {
        failpoint::note(self.folder.path(), &format!("{act:?}"));
        let before = self.observations.clone();
        self.acts(act);
        if failpoint::is_frozen(self.folder.path()) {
            self.crashed(before);
        }
    }

    /// What was published since nobody saw. What was being written down may be there or not.
    fn crashed(&mut self, before: Observations) {
        self.crashes += 1;
        self.restart(failpoint::thaw);
        // Also what is only remembered against replay: it decides what comes next.
        let known = |observations: &Observations| (all(observations.live()), all(observations.guards()));
        let is = known(&self.engine.cores["core"].observations);
        if is != known(&self.observations) {
            self.observations = before;
            while self.observations.expire(self.now, 1000, |_| {}) > 0 {}
            assert_eq!(is, known(&self.observations));
        }
    }

    fn acts(&mut self, act: &Act) {
        let now = self.now;
        let entry = |name: &str, ttl, tag_mask| Entry { name: Name::parse(name).unwrap(), time_added: now, ttl, tag_mask };
        match act {
            Act::Observe(name, ttl, tags) => {
                let entry = entry(name, *ttl, *tags);
                _ = self.observations.add(&key(name), &entry, LONGEST_TTL, now);
                self.engine.observe(&Self::message(vec![entry], Vec::new()), now);
                self.engine.write_down();
            }
            Act::Remove(name) => {
                let entry = entry(name, 0, 0);
                _ = self.observations.remove(&key(name), &entry, now);
                self.engine.observe(&Self::message(Vec::new(), vec![entry]), now);
                self.engine.write_down();
            }
            Act::Time(by) => {
                self.now = now.checked_add(SignedDuration::from_millis(*by)).unwrap();
                self.latest = self.latest.max(self.now);
                self.expire();
            }
            Act::Config(config) => {
                self.config = config.clone();
                self.engine.configure(config.setup(self.folder.path()), now);
                self.tell_feed();
            }
            Act::Whole(records) => {
                let feed = records.iter().map(|(name, own, below)| (key(name), feed_codes(*own, *below)));
                let feed = feed.filter(|(_, codes)| *codes != Codes::SILENT).collect();
                if fits(&feed) {
                    self.feed = feed;
                    self.tell_feed();
                }
            }
            Act::Changes(records) if self.config.feed && self.engine.lists.contains_key("feed") => {
                let list: BTreeMap<KeyBuf, Codes> =
                    records.iter().map(|(name, own, below)| (key(name), feed_codes(*own, *below))).collect();
                let mut feed = self.feed.clone();
                for (key, codes) in &list {
                    if *codes == Codes::SILENT {
                        feed.remove(key)
                    } else {
                        feed.insert(*key, *codes)
                    };
                }
                if !fits(&feed) {
                    return;
                }
                self.feed = feed;
                let meta = Meta { entries: self.feed.len() as u64, ..Meta::default() };
                self.sets = self.sets.max(self.used());
                let palette = Arc::new(feed_palette(self.sets));
                self.told(SourceNews::Changes { list: list.into_iter().collect(), palette, meta });
            }
            Act::Expired if self.config.feed => {
                self.feed.clear();
                self.told(SourceNews::Expired(Health::bad("gone".to_owned(), now, None)));
            }
            Act::Changes(_) | Act::Expired => {}
            Act::Publish => self.publish(),
            Act::Start => self.engine.start_jobs(),
            Act::Finish => self.finish(),
            Act::Merge => self.engine.wanted.merge = self.published.borrow().is_some(),
            Act::Condense => self.engine.cores.values_mut().for_each(|core| core.log.iter_mut().for_each(|log| log.lengthen())),
            Act::Rebuild => self.engine.wanted.rebuild = true,
            Act::Kill => self.restart(|_| {}),
            Act::Crash(after) => failpoint::freeze(self.folder.path(), usize::from(*after)),
            Act::End => {
                let store = self.engine.store.as_mut().unwrap();
                if store.close(Vec::new()).is_ok() {
                    self.restart(|_| {});
                }
            }
            Act::Lost => {
                self.renumbered = true;
                self.restart(|folder| {
                    if let Some(last) = logs(folder).last() {
                        fs::remove_file(last).unwrap();
                    }
                });
            }
            Act::PowerLoss(lost) => {
                let lost = *lost;
                self.renumbered = true;
                self.restart(|folder| power_loss(folder, lost));
            }
        }
        self.look();
    }

    pub(super) fn told(&mut self, news: SourceNews) {
        self.engine.told(Told { source: Arc::from("feed"), news });
    }

    /// Sets of local data that the feed has to have.
    fn used(&self) -> u8 {
        let indices = self.feed.values().flat_map(|codes| [codes.own, codes.below]).filter_map(tapir_table::Code::set_index);
        indices.max().map_or(0, |last| u8::try_from(last).unwrap() + 1)
    }

    /// As the feed does at its start, and when it is configured.
    fn tell_feed(&mut self) {
        if !self.config.feed {
            return;
        }
        let mut writer = TableWriter::new(Vec::new()).unwrap();
        self.feed.iter().for_each(|(key, codes)| writer.push(key, *codes).unwrap());
        self.sets = self.used();
        let palette = feed_palette(self.sets);
        let table = Arc::new(TableFile::from_memory(writer.finish(0, &palette).unwrap().0).unwrap());
        let meta = Meta { entries: table.nodes(), ..Meta::default() };
        self.told(SourceNews::Whole { table, palette: Arc::new(palette), meta });
    }

    fn expire(&mut self) {
        while self.observations.expire(self.now, 1000, |_| {}) > 0 {}
        while self.engine.expire(self.now) {}
    }

    pub(super) fn publish(&mut self) {
        self.engine.earliest = Instant::now();
        self.engine.publish_due(self.now);
        self.engine.start_chores(self.now);
        self.look();
    }

    /// Waits for the builder, and takes what it made.
    pub(super) fn finish(&mut self) {
        while self.engine.running.is_some() {
            let outcome = self.engine.outcomes.as_mut().unwrap().blocking_recv().unwrap();
            self.engine.outcome(outcome, self.now);
            self.look();
        }
        while let Ok(outcome) = self.engine.outcomes.as_mut().unwrap().try_recv() {
            self.engine.outcome(outcome, self.now);
            self.look();
        }
    }

    /// The process ends, something happens to the disk, another begins.
    fn restart(&mut self, disaster: impl FnOnce(&Path)) {
        // Nothing of the old process goes on: what builder and keeper are at is done, and nobody hears of it.
        let busy = |engine: &Engine| engine.running.is_some() || engine.keeping.is_busy();
        while busy(&self.engine) {
            match self.engine.outcomes.as_mut().unwrap().blocking_recv().unwrap() {
                Outcome::Built(_) => self.engine.running = None,
                Outcome::Kept(kept) => self.engine.keeping.heard(&kept),
            }
        }
        let (publish, _) = watch::channel(None);
        let unused = Engine::new(publish, Telemetry::new(None, None)).unwrap();
        drop(std::mem::replace(&mut self.engine, unused));
        disaster(self.folder.path());
        let had = !self.seen.is_empty();
        (self.engine, self.published) = engine(self.folder.path(), &self.config, self.room, self.now);
        // The zone of before is there before anything else.
        assert!(!had || self.published.borrow().is_some());
        self.look();
        self.tell_feed();
        // What had ended counts again while a clock that was set back says so; the model does not follow that.
        self.now = self.now.max(self.latest);
        self.expire();
    }

    /// Nothing is left to be done.
    pub(super) fn rest(&mut self) {
        loop {
            self.publish();
            self.engine.start_jobs();
            if self.engine.running.is_none() && self.engine.touched.is_empty() {
                break;
            }
            self.finish();
        }
        self.look();
    }

    /// Everything that is under way comes to its end.
    pub(super) fn settle(&mut self) {
        // Keeper and builder write whenever they come to it: the end may not have been noticed.
        if !failpoint::release(self.folder.path()) {
            self.crashed(self.observations.clone());
        }
        self.rest();
        assert!(self.engine.store.as_ref().unwrap().trouble.is_none());
        let zone = self.published.borrow().clone().unwrap();
        assert_eq!(content(&zone), self.expected(), "{:?}", self.config.text(self.folder.path()));
        assert_eq!(zone.apex, self.config.setup(self.folder.path()).apex);
    }
}

impl Drop for Model {
    #[expect(clippy::print_stderr, reason = "who looks at a failure wants to know what was written, and when")]
    fn drop(&mut self) {
        let lines = failpoint::leave(self.folder.path());
        if std::thread::panicking() {
            eprintln!("WRITTEN:\n{}", lines.join("\n"));
        }
    }
}

/// Whether the zone has room for the local data of a feed, and a redirect of the policy.
fn fits(feed: &Names) -> bool {
    let codes = feed.values().flat_map(|codes| [codes.own, codes.below]);
    let sets: std::collections::BTreeSet<_> = codes.filter_map(tapir_table::Code::set_index).collect();
    sets.len() < usize::from(ROOM)
}

/// Names with what is known of them.
fn all<V: Value>(tree: &Tree<V>) -> Vec<(KeyBuf, V)> {
    let (mut all, mut cursor) = (Vec::new(), tree.cursor());
    while cursor.advance().unwrap() {
        all.push((*cursor.key(), cursor.value()));
    }
    all
}

/// Files of the zone's log, in order.
fn logs(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut logs: Vec<_> = fs::read_dir(folder.join("zone")).unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.sort();
    logs
}

/// The machine is started anew, and the last versions of the log were not on disk.
fn power_loss(folder: &Path, lost: u8) {
    let serial = folder.join("serial.json");
    if let Ok(text) = fs::read_to_string(&serial) {
        let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
        document["bootId"] = "another".into();
        fs::write(&serial, document.to_string()).unwrap();
    }
    for entry in fs::read_dir(folder).unwrap() {
        let mark = entry.unwrap().file_name().into_string().unwrap();
        if let Some((serial, _)) = mark.strip_prefix("serial-unwritten-").and_then(|rest| rest.split_once('-')) {
            fs::rename(folder.join(&mark), folder.join(format!("serial-unwritten-{serial}-another"))).unwrap();
        }
    }
    let logs = logs(folder);
    let Some(last) = logs.last() else { return };
    let mut octets = fs::read(last).unwrap();
    let mut ends = vec![8];
    while let Some(head) = octets.get(*ends.last().unwrap()..).and_then(|rest| rest.first_chunk::<4>()) {
        let length = u32::from_be_bytes(*head) as usize;
        if length == 0 {
            break;
        }
        ends.push(ends.last().unwrap() + 8 + length);
    }
    let kept = ends.len().saturating_sub(1 + usize::from(lost));
    octets.truncate(ends[kept]);
    fs::write(last, octets).unwrap();
}
