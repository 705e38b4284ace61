use tapir_wire::name::Name;

use super::*;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const ROOM: usize = 1 << 20;

fn entry(name: &str, added: i64, ttl: u32, tag_mask: u32) -> Entry {
    Entry { name: Name::parse(name).unwrap(), time_added: at(added), ttl, tag_mask }
}

fn at(seconds: i64) -> Timestamp {
    later(NOW, SignedDuration::from_secs(seconds))
}

fn key(name: &str) -> KeyBuf {
    KeyBuf::from_text(name, 254).unwrap()
}

/// The store, spoken to by names.
struct Store(Observations);

impl Store {
    fn new() -> Self {
        Self(Observations::new(ROOM))
    }

    fn add_for(&mut self, entry: &Entry, max_ttl: i64, now: Timestamp) -> Result<Sighting, Refusal> {
        self.0.add(&key(entry.name.as_str()), entry, SignedDuration::from_secs(max_ttl), now)
    }

    fn add(&mut self, entry: &Entry, now: Timestamp) -> Result<Sighting, Refusal> {
        self.add_for(entry, LONGEST_TTL.as_secs(), now)
    }

    fn remove(&mut self, entry: &Entry, now: Timestamp) -> Result<Guard, Refusal> {
        self.0.remove(&key(entry.name.as_str()), entry, now)
    }

    fn expire(&mut self, now: Timestamp) -> Vec<String> {
        let mut ended = Vec::new();
        self.0.expire(now, usize::MAX, |key| ended.push(key.to_string()));
        ended
    }

    fn tags(&self, name: &str) -> Option<u32> {
        self.0.live().get(key(name).as_bytes()).map(|sighting| sighting.tags)
    }

    fn lengths(&self) -> (usize, usize) {
        (self.0.live().len(), self.0.guards().len())
    }

    fn displaced(&mut self) -> Vec<String> {
        self.0.take_displaced().iter().map(ToString::to_string).collect()
    }
}

fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.as_second()).unwrap()
}

#[test]
fn an_observation_lives_until_its_end_and_not_longer() {
    let mut store = Store::new();
    store.add(&entry("a", -10, 60, 5), NOW).unwrap();
    assert_eq!(store.0.next_due(), Some(seconds(at(50))));
    assert!(store.expire(at(49)).is_empty());
    assert_eq!(store.tags("a"), Some(5));
    assert_eq!(store.expire(at(50)), [key("a").to_string()]);
    assert_eq!((store.tags("a"), store.lengths(), store.0.next_due()), (None, (0, 0), None));
}

/// Upstream takes names out when an interval is over, and then another one later.
#[test]
fn names_go_within_a_second_of_their_end_and_before_upstreams_interval_is_over() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tapir-wire/vectors/pop/expiry/reaper-buckets.json");
    let vectors: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut known = 0;
    for row in vectors["rows"].as_array().unwrap() {
        let time = |member: &str| row[member].as_str().unwrap().parse::<Timestamp>().unwrap();
        let (time_added, end, upstream) = (time("time_added"), time("expires_at"), time("upstream_bucket"));
        let ttl = u32::try_from(row["ttl"].as_u64().unwrap()).unwrap();
        let entry = Entry { name: Name::parse("evil.example").unwrap(), time_added, ttl, tag_mask: 1 };
        let mut store = Store::new();
        let added = store.add(&entry, time_added);
        assert_eq!(added.is_ok(), ttl > 0, "{row}");
        let due = store.0.next_due();
        assert_eq!(due.is_some(), ttl > 0, "{row}");
        let Some(due) = due else { continue };
        let due = Timestamp::from_second(due.into()).unwrap();
        // Half a second is left for the version that says so.
        assert!(due.duration_since(end).abs() <= SignedDuration::from_millis(500) && due <= upstream, "{row}: {due}");
        assert!(store.expire(due - SignedDuration::from_nanos(1)).is_empty());
        assert_eq!(store.expire(due), ["evil.example."]);
        known += 1;
    }
    assert!(known > 5);
}

/// An end within a second counts with the one next to it, also for the same message once more.
#[test]
fn what_ended_with_its_second_does_not_come_back_for_the_rest_of_it() {
    let part = SignedDuration::from_millis(400);
    let mut store = Store::new();
    let ends = Entry { time_added: later(NOW, part), ..entry("a", 0, 60, 1) };
    store.add(&ends, at(1)).unwrap();
    assert_eq!(store.0.next_due(), Some(seconds(at(60))));
    assert_eq!(store.expire(at(60)), [key("a").to_string()]);
    assert_eq!(store.add(&ends, at(60)).unwrap_err(), Refusal::Expired);
}

#[test]
fn refusals() {
    let mut store = Store::new();
    assert_eq!(store.add(&entry("a", -60, 60, 1), NOW).unwrap_err(), Refusal::Expired);
    assert_eq!(store.add(&entry("a", 301, 60, 1), NOW).unwrap_err(), Refusal::Future);
    assert_eq!(store.remove(&entry("a", 0, 0, 0), NOW).unwrap_err(), Refusal::Unknown);
    store.add(&entry("a", 300, 60, 1), NOW).unwrap();
    assert_eq!(store.remove(&entry("a", 301, 0, 0), NOW).unwrap_err(), Refusal::Future);
    assert_eq!(store.add(&entry("a", 299, 9999, 2), NOW).unwrap_err(), Refusal::Stale);
    assert_eq!(store.tags("a"), Some(1));
}

#[test]
fn what_was_taken_back_elsewhere_does_not_come_from_who_missed_it() {
    let mut store = Store::new();
    let removed = entry("a", -5, 1000, 0);
    let guard = store.remove(&removed, NOW).unwrap();
    assert_eq!((guard.until, store.lengths()), (seconds(at(995)), (0, 1)));
    assert_eq!(store.remove(&removed, NOW).unwrap_err(), Refusal::Unknown, "it says nothing new");
    assert_eq!(store.remove(&entry("a", 400, 1000, 0), NOW).unwrap_err(), Refusal::Future);
    assert_eq!(store.add(&entry("a", -10, 1000, 1), NOW).unwrap_err(), Refusal::Stale);
    store.add(&entry("a", -4, 1000, 1), NOW).unwrap();
    assert_eq!(store.tags("a"), Some(1), "what is newer counts");
    assert_eq!(store.remove(&removed, NOW).unwrap_err(), Refusal::Stale);
    store.remove(&entry("b", -5, 1000, 0), NOW).unwrap();
    store.expire(at(2000));
    assert_eq!(store.lengths(), (0, 0), "and is forgotten with it");
}

#[test]
fn what_counts_does_not_go_for_what_was_never_there() {
    let mut store = Store(Observations::new(4000));
    for index in 0.. {
        if !store.0.has_room() {
            break;
        }
        store.add(&entry(&format!("live{index}"), 0, 1000, 1), NOW).unwrap();
    }
    let live = store.lengths().0;
    for index in 0..200 {
        assert_eq!(store.remove(&entry(&format!("other{index}"), 0, 1000, 0), NOW).unwrap_err(), Refusal::Unknown);
    }
    assert_eq!((store.lengths(), store.displaced().len()), ((live, 0), 0));
    assert!(live > 20, "{live}");
}

#[test]
fn life_is_capped() {
    let sighting = Store::new().add(&entry("a", 0, u32::MAX, 1), NOW).unwrap();
    assert_eq!(sighting.expires, seconds(later(NOW, LONGEST_TTL)));
}

#[test]
fn a_shorter_life_does_not_let_the_same_message_come_again() {
    let mut store = Store::new();
    let long = entry("a", 0, 1000, 1);
    let sighting = store.add_for(&long, 60, NOW).unwrap();
    assert_eq!((sighting.expires, sighting.guard), (seconds(at(60)), seconds(at(1000))));
    assert_eq!(store.add_for(&entry("c", 0, 10, 1), 60, NOW).unwrap().guard, seconds(at(10)));
    let again = store.add_for(&entry("c", 1, 1000, 1), 60, NOW).unwrap();
    assert_eq!((again.expires, again.guard), (seconds(at(61)), seconds(at(1001))));
    assert_eq!(store.expire(at(60)), [key("a").to_string()]);
    assert_eq!(store.add(&long, at(61)).unwrap_err(), Refusal::Stale);
    assert_eq!(store.add_for(&entry("b", -60, 1000, 1), 60, NOW).unwrap_err(), Refusal::Expired);
}

#[test]
fn an_old_message_that_comes_again_has_no_effect() {
    let mut store = Store::new();
    let long = entry("a", -10, 1000, 1);
    store.add(&long, NOW).unwrap();
    store.add(&entry("a", 0, 5, 2), NOW).unwrap();
    assert_eq!(store.expire(at(5)).len(), 1);
    assert_eq!(store.add(&long, at(6)).unwrap_err(), Refusal::Stale);
    store.add(&entry("a", 6, 1000, 3), at(6)).unwrap();
    store.remove(&entry("a", 7, 0, 0), at(7)).unwrap();
    assert_eq!(store.tags("a"), None);
    assert_eq!(store.add(&entry("a", 6, 1000, 3), at(8)).unwrap_err(), Refusal::Stale);
    assert!(store.expire(at(2000)).is_empty(), "what had ended already does not end again");
    assert_eq!(store.lengths(), (0, 0));
}

#[test]
fn a_removal_that_comes_again_does_not_remove_what_came_after() {
    let mut store = Store::new();
    store.add(&entry("a", -20, 1000, 1), NOW).unwrap();
    let removal = entry("a", -10, 0, 0);
    store.remove(&removal, NOW).unwrap();
    store.add(&entry("a", -5, 1000, 1), NOW).unwrap();
    assert_eq!(store.remove(&removal, NOW).unwrap_err(), Refusal::Stale);
    assert_eq!((store.tags("a"), store.lengths()), (Some(1), (1, 0)));
}

#[test]
fn a_removal_of_the_same_moment_is_not_undone_by_a_replay() {
    let mut store = Store::new();
    let observed = entry("a", 0, 1000, 1);
    store.add(&observed, NOW).unwrap();
    store.remove(&entry("a", 0, 0, 0), NOW).unwrap();
    assert_eq!(store.add(&observed, NOW).unwrap_err(), Refusal::Stale);
}

#[test]
fn what_was_restored_keeps_its_end_and_its_guard() {
    let mut store = Store::new();
    let live = |from: i64, end: i64, guard: i64| {
        let [added, expires, guard] = [from, end, guard].map(|time| seconds(at(time)));
        Known::Live(Sighting { added: u64::from(added) * 1000, expires, tags: 1, guard })
    };
    let over = |until: i64| Known::Over(Guard { added: u64::from(seconds(at(-10))) * 1000, until: seconds(at(until)) });
    for (name, known) in [
        ("live", live(-10, 10, 10)),
        ("ended", live(-10, -5, 20)),
        ("over", over(20)),
        ("gone", over(-5)),
        ("past", live(-10, -5, -5)),
    ] {
        store.0.restore(&key(name), known, NOW);
    }
    assert_eq!((store.lengths(), store.tags("live"), store.tags("ended")), ((1, 2), Some(1), None));
    for name in ["ended", "over"] {
        assert_eq!(store.add(&entry(name, -11, 1000, 1), NOW).unwrap_err(), Refusal::Stale, "{name}");
    }
    assert_eq!(store.expire(at(10)), [key("live").to_string()]);
    assert_eq!(store.lengths(), (0, 2));
}

#[test]
fn a_full_store_takes_the_new_and_gives_up_what_matters_least() {
    let mut store = Store::new();
    store.add(&entry("long", 0, 1000, 1), NOW).unwrap();
    store.add(&entry("short", 0, 10, 1), NOW).unwrap();
    store.add(&entry("removed", 0, 5000, 1), NOW).unwrap();
    store.remove(&entry("removed", 1, 0, 0), NOW).unwrap();
    // Room for nothing that is not there yet.
    store.0.room = store.0.octets() + 8;
    assert!(!store.0.has_room());
    store.add(&entry("long", 1, 2000, 2), NOW).unwrap();
    assert_eq!((store.lengths(), store.displaced().len()), ((2, 1), 0), "a known name needs no room");
    store.add(&entry("new", 0, 100, 1), NOW).unwrap();
    assert_eq!((store.lengths().1, store.tags("short"), store.displaced().len()), (0, Some(1), 0), "a guard goes first");
    while store.displaced().is_empty() {
        let name = format!("n{}", store.lengths().0);
        store.add(&entry(&name, 0, 100, 1), NOW).unwrap();
    }
    assert_eq!((store.tags("short"), store.tags("long")), (None, Some(2)), "then what ends first");
    store.expire(at(3000));
    assert!(store.lengths() == (0, 0) && store.0.has_room());
}

#[test]
fn hardly_more_than_the_room() {
    let mut store = Store::new();
    store.0.room = 4096;
    for index in 0..500 {
        store.add(&entry(&format!("{index}.{0}.{0}.example", "a".repeat(60)), 0, 1000 + index, 1), NOW).unwrap();
        assert!(store.0.octets() <= 4096 + tapir_table::MAX_KEY, "{}", store.0.octets());
    }
    assert_eq!(store.displaced().len() + store.lengths().0, 500);
    assert!(store.lengths().0 > 10, "names that are alike share their octets");
}

#[test]
fn a_snapshot_does_not_change() {
    let mut store = Store::new();
    store.add(&entry("a", 0, 10, 1), NOW).unwrap();
    let before = store.0.clone();
    store.expire(at(10));
    store.add(&entry("b", 10, 10, 1), at(10)).unwrap();
    assert!(before.live().get(key("a").as_bytes()).is_some() && before.live().len() == 1);
}
