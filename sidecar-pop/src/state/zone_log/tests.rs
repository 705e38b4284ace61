use proptest::prelude::*;
use proptest::sample::Index;
use tapir_table::{Codes, KeyBuf, MAX_KEY};

use super::record::{Change, Record};
use super::*;

const LIMITS: Limits = Limits { octets: 20_000, versions: 40, segment: 4_096 };

fn changes(version: u32, count: usize) -> Vec<Change> {
    let name = |index: usize| format!("n{index:05}.v{version}.{}.example", "x".repeat(60));
    let key = |index: usize| KeyBuf::from_text(&name(index), MAX_KEY).unwrap();
    (0..count).map(|index| Change { key: key(index), old: Codes::SILENT, new: Codes::LISTED }).collect()
}

fn step(from: u32) -> Step {
    Step { from: Serial(from), to: Serial(from.wrapping_add(1)), time: u64::from(from) }
}

fn read(history: &History) -> Vec<(Step, Vec<Change>)> {
    let read = |version: &Version| {
        let content = history.content(version).unwrap();
        let record = Record::read(&content).unwrap();
        (record.step, record.changes().collect::<Result<_, _>>().unwrap())
    };
    history.versions().iter().map(read).collect()
}

#[derive(Clone, Debug)]
enum Act {
    Append(usize),
    Base(Index),
    Restart,
    /// The end of the last file is as a power loss leaves it.
    Torn(u64),
    /// Somebody removed one of the last files.
    Lost(Index),
    Cut,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0_usize..60).prop_map(Act::Append),
        1 => (300_usize..600).prop_map(Act::Append),
        3 => any::<Index>().prop_map(Act::Base),
        3 => Just(Act::Restart),
        1 => (1_u64..400).prop_map(Act::Torn),
        1 => any::<Index>().prop_map(Act::Lost),
        1 => Just(Act::Cut),
    ]
}

/// What has to be there: versions by the one that they follow on.
struct Model {
    folder: tempfile::TempDir,
    log: ZoneLog,
    versions: Vec<(u32, usize)>,
    base: u32,
    head: u32,
}

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Past the wrap of RFC 1982 soon.
        let base = u32::MAX - 5;
        let (mut log, found) = ZoneLog::open(folder.path(), Serial(base), LIMITS).unwrap();
        assert_eq!(found, Found { lost: true, ..Found::default() }, "a folder that was never one of a log");
        log.cut();
        Self { folder, log, versions: Vec::new(), base, head: base }
    }

    fn reopen(&mut self) -> Found {
        let (log, found) = ZoneLog::open(self.folder.path(), Serial(self.base), LIMITS).unwrap();
        self.log = log;
        found
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Append(count) => {
                self.log.append(step(self.head), &changes(self.head, count).iter().collect()).unwrap();
                self.versions.push((self.head, count));
                self.head = self.head.wrapping_add(1);
            }
            Act::Base(ref index) if !self.versions.is_empty() => {
                let newest = index.get(&self.versions).0.wrapping_add(1);
                // A base never goes back.
                if newest.wrapping_sub(self.base) < 1 << 31 {
                    self.base = newest;
                    self.log.based_on(Serial(newest));
                }
            }
            Act::Base(_) => {}
            Act::Restart => {
                let newer = self.head.wrapping_sub(self.base);
                let found = self.reopen();
                assert_eq!((found.useless, found.newer, found.lost), (0, newer as usize, false));
                assert!(found.highest.is_none_or(|highest| highest.0 == self.head) && !self.log.is_doubtful());
            }
            Act::Torn(octets) => {
                let (Some(last), Some(newest)) = (self.versions.last().copied(), self.log.read().versions.back().copied()) else {
                    return;
                };
                let segment = self.log.segments.iter().find(|segment| segment.number == newest.place.segment).unwrap();
                let octets = octets.min(newest.place.octets as u64);
                // What was allocated ahead is not there either.
                segment_file(&self.folder, segment.number).set_len(segment.end - octets).unwrap();
                self.versions.pop();
                self.head = last.0;
                if self.base == self.head.wrapping_add(1) {
                    // The base was newer than what is left.
                    self.reopen();
                    self.versions.clear();
                    self.head = self.base;
                } else {
                    self.reopen();
                }
                self.check();
                // It shows until history is begun anew, however often it is looked at.
                let doubtful = self.log.is_doubtful();
                self.reopen();
                assert_eq!(self.log.is_doubtful(), doubtful);
                self.act(&Act::Cut);
            }
            Act::Lost(ref index) if !self.log.segments.is_empty() => {
                // What is newer than the base, and what follows on that, is missed; the last one always is.
                let settled = self.log.settled.saturating_sub(1);
                let needed = self.log.read().versions.get(settled).map_or(u64::MAX, |version| version.place.segment);
                let last = self.log.segments.back().unwrap().number;
                let numbers = self.log.segments.iter().map(|segment| segment.number).filter(|number| *number > needed);
                let number = *index.get(&numbers.chain([last]).collect::<Vec<_>>());
                std::fs::remove_file(self.folder.path().join(format!("journal-{number:010}.log"))).unwrap();
                for _ in 0..2 {
                    assert!(self.reopen().lost && self.log.is_doubtful());
                }
                self.act(&Act::Cut);
            }
            Act::Lost(_) => {}
            Act::Cut => {
                self.log.cut();
                self.versions.clear();
                self.head = self.head.wrapping_add(1);
                self.base = self.head;
            }
        }
    }

    fn check(&self) {
        let kept = self.log.len();
        assert!(kept <= self.versions.len());
        for (index, (from, _)) in self.versions.iter().enumerate() {
            let history = self.log.since(Serial(*from));
            assert_eq!(history.is_some(), index >= self.versions.len() - kept, "{index} of {}", self.versions.len());
            if let Some(history) = history {
                let expected: Vec<_> =
                    self.versions[index..].iter().map(|(from, count)| (step(*from), changes(*from, *count))).collect();
                assert!(read(&history) == expected);
            }
        }
        assert!(self.log.since(Serial(self.head)).is_none());
        let newer = self.log.newer().map_or(0, |history| history.versions().len());
        assert_eq!(newer, self.head.wrapping_sub(self.base) as usize, "what is newer than the base is always there");
        let (old, first) = (self.versions.len() - newer, self.log.segments.front());
        let spare = first.is_some_and(|first| {
            let of_first = self.log.read().versions.iter().take_while(|version| version.place.segment == first.number).count();
            self.log.segments.len() > 1 && of_first <= old.min(self.log.settled)
        });
        let beyond = self.log.octets() > LIMITS.octets || kept > LIMITS.versions;
        assert!(!(spare && beyond), "the oldest could go: {} octets, {kept} versions", self.log.octets());
    }
}

fn segment_file(folder: &tempfile::TempDir, number: u64) -> File {
    File::options().write(true).open(folder.path().join(format!("journal-{number:010}.log"))).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn history_is_what_was_written(acts in prop::collection::vec(act(), 1..60)) {
        let mut model = Model::new();
        for act in acts {
            model.act(&act);
        }
        model.check();
    }
}

#[test]
fn history_stays_readable_for_who_has_it() {
    let mut model = Model::new();
    model.act(&Act::Append(10));
    let history = model.log.since(Serial(u32::MAX - 5)).unwrap();
    model.act(&Act::Cut);
    assert_eq!(read(&history), [(step(u32::MAX - 5), changes(u32::MAX - 5, 10))]);
    assert!(segment::numbers(model.folder.path()).unwrap().is_empty());
}

#[test]
fn a_log_that_does_not_lead_from_the_base_is_no_history() {
    let mut model = Model::new();
    model.act(&Act::Append(1));
    model.act(&Act::Append(1));
    let (log, found) = ZoneLog::open(model.folder.path(), Serial(77), LIMITS).unwrap();
    assert_eq!((log.len(), found.useless, found.newer), (0, 2, 0));
}

#[test]
fn a_version_that_follows_on_nothing_known_ends_what_was_history() {
    let mut model = Model::new();
    model.act(&Act::Append(1));
    model.log.append(step(1000), &Body::default()).unwrap();
    assert!(model.log.since(Serial(u32::MAX - 5)).is_none() && model.log.since(Serial(1000)).is_some());
}

#[test]
fn a_version_that_cannot_be_written_leaves_no_gap() {
    let mut model = Model::new();
    model.act(&Act::Append(1));
    model.log.folder = Some("/proc/nowhere".into());
    model.log.own_from = u64::MAX;
    assert!(model.log.append(step(model.head), &Body::default()).is_err());
    assert!(model.log.is_empty() && model.log.newer().is_none());
}

#[test]
fn what_is_newer_than_the_base_is_kept_whatever_its_size() {
    let mut model = Model::new();
    for _ in 0..12 {
        model.act(&Act::Append(400));
    }
    model.check();
    assert!(model.log.octets() > LIMITS.octets && model.log.len() == 12);
    model.base = model.head;
    model.log.based_on(Serial(model.base));
    model.check();
    assert!(model.log.octets() <= LIMITS.octets);
}
