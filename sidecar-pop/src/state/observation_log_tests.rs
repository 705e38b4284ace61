use jiff::SignedDuration;
use proptest::prelude::*;
use tapir_wire::name::Name;
use tapir_wire::observation::Entry;

use super::*;

const NOW: i64 = 1_800_000_000;
const ROOM: usize = 1 << 20;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(NOW + second).unwrap()
}

fn key(name: &str) -> KeyBuf {
    KeyBuf::from_text(name, 254).unwrap()
}

/// Everything that is known at this moment.
fn all(observations: &Observations, now: i64) -> Vec<(String, Known)> {
    let mut observations = observations.clone();
    observations.expire(at(now), usize::MAX, |_| {});
    let mut all = Vec::new();
    let mut live = observations.live().cursor();
    while live.advance().unwrap() {
        all.push((live.key().to_string(), Known::Live(live.value())));
    }
    let mut guards = observations.guards().cursor();
    while guards.advance().unwrap() {
        all.push((guards.key().to_string(), Known::Over(guards.value())));
    }
    all
}

#[derive(Clone, Debug)]
enum Act {
    Add(u8, u32),
    Remove(u8),
    Later(i64),
    Condense,
    Finish,
    Kill,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0_u8..20, 1_u32..200).prop_map(|(name, ttl)| Act::Add(name, ttl)),
        2 => (0_u8..20).prop_map(Act::Remove),
        2 => (0_i64..60).prop_map(Act::Later),
        1 => Just(Act::Condense),
        2 => Just(Act::Finish),
        2 => Just(Act::Kill),
    ]
}

struct Store {
    folder: tempfile::TempDir,
    observations: Observations,
    log: ObservationLog,
    condense: Option<Condense>,
    now: i64,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut observations = Observations::new(ROOM);
        let (log, found) = ObservationLog::open(folder.path(), &mut observations, at(0)).unwrap();
        assert_eq!(found, Found::default());
        Self { folder, observations, log, condense: None, now: 0 }
    }

    fn reopen(&mut self) -> Found {
        self.condense = None;
        self.observations = Observations::new(ROOM);
        let (log, found) = ObservationLog::open(self.folder.path(), &mut self.observations, at(self.now)).unwrap();
        self.log = log;
        found
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Add(name, ttl) => {
                let name = format!("n{name}.example");
                let entry = Entry { name: Name::parse(&name).unwrap(), time_added: at(self.now), ttl, tag_mask: ttl };
                // A shorter life than the message gives leaves a guard behind.
                let added = self.observations.add(&key(&name), &entry, SignedDuration::from_secs(100), at(self.now));
                if let Ok(sighting) = added {
                    self.log.append([(&key(&name), Known::Live(sighting))]).unwrap();
                }
            }
            Act::Remove(name) => {
                let name = format!("n{name}.example");
                let entry = Entry { name: Name::parse(&name).unwrap(), time_added: at(self.now), ttl: 0, tag_mask: 0 };
                if let Ok(guard) = self.observations.remove(&key(&name), &entry, at(self.now)) {
                    self.log.append([(&key(&name), Known::Over(guard))]).unwrap();
                }
            }
            Act::Later(seconds) => {
                self.now += seconds;
                self.observations.expire(at(self.now), usize::MAX, |_| {});
            }
            Act::Condense => self.condense = Some(self.log.condense(&self.observations).unwrap()),
            Act::Finish => {
                if let Some(condense) = self.condense.take() {
                    self.log.condensed(condense.write().unwrap());
                }
            }
            Act::Kill => {
                let before = all(&self.observations, self.now);
                let found = self.reopen();
                assert_eq!(all(&self.observations, self.now), before);
                assert!(!found.torn && found.broken == 0, "{found:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn a_process_that_is_killed_at_any_moment_forgets_nothing(acts in prop::collection::vec(act(), 1..80)) {
        let mut store = Store::new();
        for act in acts {
            store.act(&act);
        }
        store.act(&Act::Kill);
    }

    #[test]
    fn of_a_log_that_is_cut_or_changed_everything_before_that_is_read(count in 1_u8..20, place: prop::sample::Index, flip: u8) {
        let mut store = Store::new();
        let mut ends = Vec::new();
        for name in 0..count {
            store.act(&Act::Add(name, 100));
            ends.push(store.log.octets as usize);
        }
        let path = log_path(store.folder.path(), store.log.generation);
        let mut octets = fs::read(&path).unwrap();
        let place = place.index(octets.len());
        if flip == 0 { octets.truncate(place) } else { octets[place] ^= flip }
        fs::write(&path, octets).unwrap();
        let found = store.reopen();
        let whole = ends.iter().filter(|end| **end <= place).count();
        prop_assert_eq!(found, Found { names: whole as u64, torn: flip > 0 || !ends.contains(&place) && place > 0, broken: 0 });
        prop_assert_eq!(store.observations.live().len(), whole);
        // And it goes on.
        store.act(&Act::Add(50, 100));
        store.act(&Act::Later(1));
        let known = store.observations.live().len();
        store.reopen();
        prop_assert_eq!(store.observations.live().len(), known);
    }
}

#[test]
fn tables_that_are_broken_cost_what_stood_in_them_and_no_more() {
    let mut store = Store::new();
    store.act(&Act::Add(1, 100));
    store.act(&Act::Condense);
    store.act(&Act::Finish);
    store.act(&Act::Add(2, 100));
    let table = path(store.folder.path(), "live", store.log.generation);
    let mut octets = fs::read(&table).unwrap();
    let middle = octets.len() / 2;
    octets[middle] ^= 1;
    fs::write(table, octets).unwrap();
    assert_eq!(store.reopen(), Found { names: 1, torn: false, broken: 1 });
    assert!(store.observations.live().get(key("n2.example").as_bytes()).is_some());
}

#[test]
fn a_condensed_log_is_one_generation() {
    let mut store = Store::new();
    for name in 0..20 {
        store.act(&Act::Add(name, 100));
        store.act(&Act::Condense);
        store.act(&Act::Finish);
        store.act(&Act::Kill);
    }
    store.act(&Act::Condense);
    store.act(&Act::Finish);
    assert_eq!(fs::read_dir(store.folder.path()).unwrap().count(), 3, "a log and two tables");
}
