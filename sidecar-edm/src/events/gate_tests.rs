use jiff::Timestamp;

use super::*;
use crate::decode::{Query, Room, Time};
use crate::events::limits::{Allowed, Rate};
use crate::events::queue::Ticket;
use crate::events::settings::Reported;
use crate::names::{Key, Presentation};
use crate::vectors;

const PATIENCE: Duration = Duration::from_secs(60);

/// Without limits.
pub(in crate::events) fn open_settings() -> Settings {
    let none = Rate::new(0, 0);
    Settings {
        sending: true,
        allowed: Allowed { all: none, domain: none, start_up: none },
        buffered_octets: 1 << 20,
        sent_a_second: 0,
        ..Settings::default()
    }
}

pub(in crate::events) fn events(folder: &Path) -> Events {
    Events::open(folder, open_settings(), &Budget::new(64 << 20))
}

fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

fn offer_from(events: &Events, name: &str, client: &str, has_list: bool) -> Outcome {
    let (wire, mut key) = (wire(name), Key::default());
    let name = WireName::from_octets(&wire).unwrap();
    key.read(name);
    let octets = match client.parse() {
        Ok(IpAddr::V4(client)) => client.octets().to_vec(),
        Ok(IpAddr::V6(client)) => client.octets().to_vec(),
        Err(_) => Vec::new(),
    };
    events.offer(&Candidate { name, key: &key, qtype: 1, qclass: 1, flags: 0x8180, time: None, client: &octets, has_list })
}

pub(in crate::events) fn offer(events: &Events, name: &str) -> Outcome {
    offer_from(events, name, "192.0.2.1", true)
}

/// Events are written a moment later.
pub(in crate::events) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What `docs/privacy.md` says remains: told, so that nobody believes more of the search than it does.
#[test]
fn what_is_not_recognised_as_an_address() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(folder.path());
    let somebody_elses = "h-192-0-2-9.example.org";
    let part = "h-2-9.example.org";
    let base32 = "yaaaeci.example.org";
    let number = "customer-4711.isp.example";
    for name in [somebody_elses, part, base32, number] {
        assert_eq!(offer_from(&events, name, "192.0.2.8", true), Outcome::Queued, "{name}");
    }
    assert_eq!(offer_from(&events, "h-192-0-2-8.example.org", "192.0.2.8", true), Outcome::ClientAddress);
}

/// The names that wait, in order, as they will be sent.
fn waiting(events: &Events, count: u64) -> Vec<String> {
    until("they are written", || events.held().events == count);
    let mut text = Presentation::default();
    let blocks = std::iter::from_fn(|| Some(events.queue().read()).filter(|block| !block.is_empty()));
    blocks.flatten().map(|(_, event)| event.new_qname(&mut text).to_json()).collect()
}

#[test]
fn recorded_messages_make_the_recorded_events() {
    let vector = vectors::load("dns_messages.json");
    let (mut made, asked) = (0, "2026-05-28T12:13:14Z".parse::<Timestamp>().unwrap());
    for entry in vector["vectors"].as_array().unwrap() {
        let (message, mut room, mut key) = (vectors::octets(&entry["message_hex"]), Room::default(), Key::default());
        let question = Query::read(&message, &mut room).ok().and_then(|query| Some((query.question?, query.flags)));
        let Some((question, flags)) = question else {
            assert_eq!(entry["new_qname_json"], serde_json::Value::Null, "{}", entry["desc"]);
            continue;
        };
        key.read(question.name);
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { reported: Reported::ALL, ..open_settings() };
        let events = Events::open(folder.path(), settings, &Budget::new(64 << 20));
        let candidate = Candidate {
            name: question.name,
            key: &key,
            qtype: question.question_type,
            qclass: question.class,
            flags,
            time: Some(Time { seconds: asked.as_second(), nanoseconds: 15 }),
            client: &[],
            has_list: true,
        };
        assert_eq!(events.offer(&candidate), Outcome::Queued, "{}", entry["desc"]);
        assert_eq!(waiting(&events, 1), [entry["new_qname_json"].as_str().unwrap()], "{}", entry["desc"]);
        made += 1;
    }
    assert!(made > 15);
}

#[test]
fn without_a_list_only_looptest_names_make_events() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(folder.path());
    let check = |name, expected| assert_eq!(offer_from(&events, name, "192.0.2.1", false), expected, "{name}");
    check("x.from-edge.LOOPTEST.dnstapir.se", Outcome::Queued);
    check("x.looptest.dnstapir.se", Outcome::Queued);
    check("looptest.dnstapir.se", Outcome::NoList);
    check("xlooptest.dnstapir.se", Outcome::NoList);
    check("www.example.com", Outcome::NoList);
}

#[test]
fn private_names_make_no_event_unless_they_are_asked_for() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let events = events(folder.path());
    let reported = Settings { reported: Reported::ALL, ..open_settings() };
    let open = Events::open(other.path(), reported, &Budget::new(64 << 20));
    let check = |name, client, expected| {
        assert_eq!(offer_from(&events, name, client, true), expected, "{name}");
        assert_eq!(offer_from(&open, name, client, true), Outcome::Queued, "{name}");
    };
    for name in ["1.2.0.192.in-addr.arpa", "a.ip6.arpa", "x.home.arpa", "localhost", "nas.local", "x.internal", "laptop"] {
        check(name, "192.0.2.9", Outcome::SpecialUse);
    }
    check("H-192-0-2-9.example", "192.0.2.9", Outcome::ClientAddress);
    check("h-192-0-2-9.example.net", "::ffff:192.0.2.9", Outcome::ClientAddress);
    check("h-192-0-2-9.example.org", "192.0.2.8", Outcome::Queued);
    // Withheld from everybody, since somebody spelled his own.
    assert_eq!(offer_from(&events, "h-192-0-2-9.example", "192.0.2.8", true), Outcome::Seen);
}

#[test]
fn a_name_makes_one_event_whatever_its_case_and_however_often_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    for start in 0..3 {
        let events = events(folder.path());
        assert_eq!(offer(&events, "WWW.example.com"), if start == 0 { Outcome::Queued } else { Outcome::Seen });
        assert_eq!(offer(&events, "www.example.COM"), Outcome::Seen);
        assert_eq!(offer(&events, &format!("start-{start}.example.com")), Outcome::Queued);
        assert!(events.finish(PATIENCE));
        assert_eq!(events.held().seen_names, start + 2);
        assert_eq!(offer(&events, "too-late.example.com"), Outcome::NotSending);
    }
    let events = events(folder.path());
    let names = waiting(&events, 4);
    assert!(names[0].contains("WWW.example.com.") && names[3].contains("start-2."), "{names:?}");
}

#[test]
fn whoever_must_not_send_forgets() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(folder.path());
    assert_eq!(offer(&events, "www.example.com"), Outcome::Queued);
    until("it is written", || events.held().events == 1);
    events.configure(Settings { forbidden: true, ..Settings::default() });
    assert_eq!(offer(&events, "www.example.com"), Outcome::NotSending);
    let held = || (events.held().events, events.held().octets, events.held().seen_names);
    until("it is forgotten", || held() == (0, 0, 0));
    assert_eq!(events.counters().disabled.get(), 1);
    events.configure(open_settings());
    assert_eq!(offer(&events, "www.example.com"), Outcome::Queued);
}

#[test]
fn whoever_must_not_send_forgets_what_was_there_before_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let before = events(folder.path());
    assert_eq!(offer(&before, "www.example.com"), Outcome::Queued);
    assert!(before.finish(PATIENCE));
    drop(before);
    // Without a configuration nobody has forbidden it.
    let open = |settings| Events::open(folder.path(), settings, &Budget::new(64 << 20));
    let undecided = open(Settings::default());
    assert!(undecided.finish(PATIENCE));
    assert_eq!(undecided.held().events, 1);
    drop(undecided);
    let forbidden = open(Settings { forbidden: true, ..Settings::default() });
    assert!(forbidden.queue().read().is_empty());
    until("it is forgotten", || {
        let held = forbidden.held();
        (held.events, held.octets, held.seen_names) == (0, 0, 0)
    });
    forbidden.configure(open_settings());
    assert_eq!(offer(&forbidden, "www.example.com"), Outcome::Queued);
    assert_eq!(waiting(&forbidden, 1).len(), 1);
}

#[test]
fn names_whose_events_had_to_go_are_new_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { waiting_octets: 1, ..open_settings() };
    let events = Events::open(folder.path(), settings, &Budget::new(64 << 20));
    let mut number = 0;
    until("the oldest goes", || {
        for _ in 0..500 {
            offer(&events, &format!("n{number}.example.com"));
            number += 1;
        }
        events.counters().displaced.get() > 0
    });
    until("its name counts as new", || offer(&events, "n0.example.com") == Outcome::Queued);
    assert_eq!(offer(&events, &format!("n{}.example.com", number - 1)), Outcome::Seen);
}

#[test]
fn events_that_wait_for_the_disk_follow_the_containers_limit() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { buffered_octets: 280 << 20, ..open_settings() };
    let events = Events::open(folder.path(), settings, &Budget::new(16 << 20));
    assert_eq!(events.settings().buffered_octets, 1 << 20);
    events.configure(open_settings());
    assert_eq!(events.settings().buffered_octets, open_settings().buffered_octets.min(1 << 20));
}

/// Ten new Pods at once, with all of a large site's names new to each: what their common broker gets is a fraction of it from the first second on.
#[test]
fn ten_that_start_together_with_empty_stores_do_not_flood() {
    const PODS: u64 = 10;
    const OFFERED: u64 = 1500;
    let folders: Vec<_> = (0..PODS).map(|_| tempfile::tempdir().unwrap()).collect();
    let settings = Settings { allowed: Allowed::of(None, None), buffered_octets: 64 << 20, ..open_settings() };
    let pods: Vec<_> =
        folders.iter().map(|folder| Events::open(folder.path(), settings.clone(), &Budget::new(1 << 30))).collect();
    let mut all = 0;
    for second in 0..90 {
        let mut reported = 0;
        for number in 0..OFFERED {
            let now = Duration::from_secs(second)
                + Duration::from_secs(1) * u32::try_from(number).unwrap() / u32::try_from(OFFERED).unwrap();
            let (wire, mut key) = (wire(&format!("www.s{}.com", second * OFFERED + number)), Key::default());
            let name = WireName::from_octets(&wire).unwrap();
            key.read(name);
            let candidate =
                Candidate { name, key: &key, qtype: 1, qclass: 1, flags: 0x8180, time: None, client: &[], has_list: true };
            for pod in &pods {
                match pod.decide(&candidate, || u64::try_from(now.as_nanos()).unwrap()) {
                    Outcome::Queued => reported += 1,
                    other => assert_eq!(other, Outcome::StartUp),
                }
            }
        }
        // A twentieth of the rate, for each of them, and the first second's store of as many.
        assert!((1..=PODS * if second == 0 { 100 } else { 51 }).contains(&reported), "second {second}: {reported}");
        all += reported;
    }
    // Of 15 000 new names a second.
    assert!((495..=510).contains(&(all / 90)), "{all}");
}

#[test]
fn what_was_limited_is_not_marked() {
    let folder = tempfile::tempdir().unwrap();
    let allowed = Allowed { domain: Rate::new(1, 2), ..open_settings().allowed };
    let events = Events::open(folder.path(), Settings { allowed, ..open_settings() }, &Budget::new(64 << 20));
    let outcomes = ["a", "b", "c", "c"].map(|label| offer(&events, &format!("{label}.example.com")));
    assert_eq!(outcomes, [Outcome::Queued, Outcome::Queued, Outcome::LimitedDomain, Outcome::LimitedDomain]);
    assert_eq!(offer(&events, "c.example.org"), Outcome::Queued);
    until("there is room again", || offer(&events, "c.example.com") == Outcome::Queued);
}

#[test]
fn another_bound_keeps_what_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let budget = Budget::new(64 << 20);
    let events = Events::open(folder.path(), open_settings(), &budget);
    let before = budget.used();
    (0..1000).for_each(|number| assert_eq!(offer(&events, &format!("n{number}.example.com")), Outcome::Queued));
    events.configure(Settings { seen_names: 200_000, ..open_settings() });
    until("the table is another one", || budget.used() > before);
    until("all are in it", || events.held().seen_names == 1000);
    assert!((0..1000).all(|number| offer(&events, &format!("n{number}.example.com")) == Outcome::Seen));
    drop(events);
    until("memory is given back", || budget.used() == 0);
}

#[test]
fn a_folder_that_cannot_be_used_costs_the_memory_of_a_restart_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let events = events(&folder.path().join("file/below"));
    assert_eq!(offer(&events, "www.example.com"), Outcome::Queued);
    assert_eq!(offer(&events, "www.example.com"), Outcome::Seen);
    assert_eq!(waiting(&events, 1).len(), 1);
    // And so much of it: then no more is taken.
    let full = (0..400_000).find(|number| offer(&events, &format!("n{number}.example.com")) == Outcome::Full);
    assert!(full.is_some() && events.held().events > 10_000);
    assert_eq!(events.held().octets, 0);
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let first = events(folder.path());
    let second = events(folder.path());
    assert_eq!(offer(&second, "second.example.com"), Outcome::Queued);
    assert_eq!(waiting(&second, 1).len(), 1);
    assert_eq!(offer(&first, "first.example.com"), Outcome::Queued);
    assert!(second.finish(PATIENCE) && first.finish(PATIENCE));
    drop((first, second));
    assert_eq!(waiting(&events(folder.path()), 1).len(), 1);
}

#[test]
fn connections_at_the_same_time_make_one_event_of_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(folder.path());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..2000 {
                    offer(&events, &format!("n{number}.example.com"));
                }
            });
        }
    });
    assert_eq!(events.counters().counted(Outcome::Queued), 2000);
    assert_eq!(events.counters().counted(Outcome::Seen), 6000);
    let names = waiting(&events, 2000);
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 2000);
}

/// What the queue has on its way is none of a reader's that comes later.
#[test]
fn tickets_tell_events_apart() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(folder.path());
    for number in 0..10 {
        offer(&events, &format!("n{number}.example.com"));
    }
    until("they are written", || events.held().events == 10);
    let mut tickets: Vec<Ticket> = Vec::new();
    while tickets.len() < 10 {
        tickets.extend(events.queue().read().into_iter().map(|(ticket, _)| ticket));
    }
    assert!(tickets.is_sorted() && !tickets.windows(2).any(|pair| pair[0] == pair[1]));
}
