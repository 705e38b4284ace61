//! How each part of EDM is.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tapir_runtime::telemetry::{BROKER, CERTIFICATE, Part, Parts, START, State, certificate, connection};
use tapir_wire::node::Renewal;
use tapir_wire::status::SidecarStatus;

use crate::reload::Refused;
use crate::status::EdmProbe;

const CONFIG: &str = "edm-config";
const LISTS: &str = "edm-lists";
const INPUT: &str = "edm-input";
const AGGREGATES: &str = "edm-aggregates";
const EVENTS: &str = "edm-events";

/// All parts that there are.
pub(super) const COMPONENTS: [&str; 8] = [START, CERTIFICATE, BROKER, CONFIG, LISTS, INPUT, AGGREGATES, EVENTS];

/// What was lost is told of for so long.
const RECENT: SignedDuration = SignedDuration::from_hours(1);
/// Aggregates that cannot be sent for so long are worth an event; shorter breaks are everyday.
const STUCK: SignedDuration = SignedDuration::from_mins(10);

/// What is looked at.
#[derive(Clone, Debug)]
struct Seen {
    document: SidecarStatus,
    renewal: Option<Renewal>,
    refused: Refused,
    lacks_what_is_left_out: bool,
    cannot_fetch: bool,
    cannot_listen: bool,
    /// Aggregates that Core refused for good.
    aggregates_refused: u64,
    /// Events that the disk did not give back.
    events_unreadable: u64,
    /// Files of events and names that were damaged at the start.
    files_damaged: u64,
}

/// What was seen before.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    grown: BTreeMap<&'static str, (u64, Option<Timestamp>)>,
    stuck_since: Option<Timestamp>,
}

impl Memory {
    /// Whether there were more not long ago. How many is not told: each other number would be an event.
    fn grown(&mut self, what: &'static str, count: u64, now: Timestamp) -> bool {
        let (before, last) = self.grown.entry(what).or_default();
        if count > *before {
            (*before, *last) = (count, Some(now));
        }
        last.is_some_and(|last| now.duration_since(last) < RECENT)
    }

    /// Whether it has been so for longer than is usual.
    fn stuck(&mut self, fails: bool, now: Timestamp) -> bool {
        self.stuck_since = if fails { self.stuck_since.or(Some(now)) } else { None };
        self.stuck_since.is_some_and(|since| now.duration_since(since) >= STUCK)
    }
}

/// How each part is.
pub(super) fn of(probe: &EdmProbe, memory: &mut Memory, now: Timestamp) -> Parts {
    let in_force = std::sync::Arc::clone(&probe.in_force.borrow());
    let counters = probe.events.counters();
    let seen = Seen {
        document: probe.without_memory(),
        renewal: in_force.identity.as_ref().and_then(|identity| identity.renewal),
        refused: in_force.refused,
        lacks_what_is_left_out: in_force.lacks_what_is_left_out,
        cannot_fetch: probe.fetching.borrow().error.is_some(),
        cannot_listen: probe.input.borrow().error.is_some(),
        aggregates_refused: probe.metrics.aggregates.all_refused(),
        events_unreadable: counters.unreadable.get(),
        files_damaged: counters.damaged.get(),
    };
    parts(&seen, memory, now)
}

fn parts(seen: &Seen, memory: &mut Memory, now: Timestamp) -> Parts {
    let document = &seen.document;
    Parts::from([
        (START, (State::Ok, format!("version {}", document.version))),
        (CERTIFICATE, identity(seen, now)),
        (BROKER, connection(document, now)),
        (CONFIG, warned(seen.refused.config, "the newest configuration is refused, the last good one stays")),
        (LISTS, lists(seen)),
        (INPUT, input(seen, memory, now)),
        (AGGREGATES, aggregates(seen, memory, now)),
        (EVENTS, events(seen, memory, now)),
    ])
}

fn well() -> Part {
    (State::Ok, String::new())
}

fn warned(is: bool, message: &str) -> Part {
    if is { (State::Warn, message.to_owned()) } else { well() }
}

fn identity(seen: &Seen, now: Timestamp) -> Part {
    match certificate(&seen.document, seen.renewal, now) {
        (State::Ok, _) if seen.refused.identity => {
            (State::Warn, "the newest identity is refused, the last good one stays".to_owned())
        }
        part => part,
    }
}

fn lists(seen: &Seen) -> Part {
    if seen.lacks_what_is_left_out {
        return (State::Fail, "nobody knows what is to be left out: nothing is counted or reported".to_owned());
    }
    if seen.cannot_fetch {
        return (State::Warn, "the list of well-known domains cannot be had from its server".to_owned());
    }
    warned(seen.refused.lists, "a list is missing or refused, the last good one stays")
}

fn input(seen: &Seen, memory: &mut Memory, now: Timestamp) -> Part {
    let dropped = seen.document.edm.as_ref().map_or(0, |edm| edm.frames_dropped);
    let dropped = memory.grown("frames", dropped, now);
    if seen.cannot_listen {
        return (State::Fail, "dnstap cannot be taken where it is wanted".to_owned());
    }
    if seen.refused.input {
        return (State::Warn, "the input that is wanted cannot be had, the one before stays".to_owned());
    }
    warned(dropped, "frames were dropped, since the work on others took too long")
}

fn aggregates(seen: &Seen, memory: &mut Memory, now: Timestamp) -> Part {
    let status = seen.document.edm.as_ref().map(|edm| &edm.aggregates);
    let lost = memory.grown("aggregates", status.map_or(0, |status| status.lost), now);
    let refused = memory.grown("refused", seen.aggregates_refused, now);
    let stuck = memory.stuck(status.is_some_and(|status| status.error.is_some()), now);
    if lost {
        return (State::Fail, "aggregates were lost".to_owned());
    }
    if seen.refused.aggregates {
        return (State::Warn, "the receiver of aggregates cannot be had as it is configured".to_owned());
    }
    if refused {
        return (State::Warn, "Core refuses aggregates for good; they are kept apart".to_owned());
    }
    warned(stuck, "aggregates cannot be sent for ten minutes")
}

fn events(seen: &Seen, memory: &mut Memory, now: Timestamp) -> Part {
    let dropped = seen.document.edm.as_ref().map_or(0, |edm| edm.events_dropped);
    let dropped = memory.grown("events", dropped, now);
    let unreadable = memory.grown("unreadable", seen.events_unreadable, now);
    let damaged = memory.grown("damaged", seen.files_damaged, now);
    if dropped {
        return (State::Fail, "events were lost to a full queue".to_owned());
    }
    if unreadable {
        return (State::Fail, "the disk did not give events back".to_owned());
    }
    warned(damaged, "files of events or of names seen are damaged; what can be read of them is taken")
}

#[cfg(test)]
mod tests {
    use tapir_runtime::telemetry::Watch;
    use tapir_wire::status::{ConfigStatus, CoreStatus, EdmStatus};

    use super::*;

    fn seen() -> Seen {
        let document = SidecarStatus {
            format: SidecarStatus::FORMAT,
            component: "edm".to_owned(),
            version: "1".to_owned(),
            commit: String::new(),
            started_at: Timestamp::UNIX_EPOCH,
            config: ConfigStatus::default(),
            identity: None,
            identity_error: None,
            core: CoreStatus::default(),
            edm: Some(EdmStatus::default()),
            pop: None,
        };
        Seen {
            document,
            renewal: None,
            refused: Refused::default(),
            lacks_what_is_left_out: false,
            cannot_fetch: false,
            cannot_listen: false,
            aggregates_refused: 0,
            events_unreadable: 0,
            files_damaged: 0,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    /// Something that goes wrong, what is then said, and where.
    type Case = (fn(&mut Seen), &'static str, State, &'static str);

    const CASES: [Case; 14] = [
        (|seen| seen.refused.identity = true, CERTIFICATE, State::Warn, "the newest identity is refused"),
        (|seen| seen.refused.config = true, CONFIG, State::Warn, "the newest configuration is refused"),
        (|seen| seen.refused.lists = true, LISTS, State::Warn, "a list is missing or refused"),
        (|seen| seen.cannot_fetch = true, LISTS, State::Warn, "cannot be had from its server"),
        (|seen| seen.lacks_what_is_left_out = true, LISTS, State::Fail, "nothing is counted or reported"),
        (|seen| seen.cannot_listen = true, INPUT, State::Fail, "dnstap cannot be taken"),
        (|seen| seen.refused.input = true, INPUT, State::Warn, "the input that is wanted cannot be had"),
        (|seen| edm(seen).frames_dropped = 1, INPUT, State::Warn, "frames were dropped"),
        (|seen| edm(seen).aggregates.lost = 2, AGGREGATES, State::Fail, "aggregates were lost"),
        (|seen| seen.refused.aggregates = true, AGGREGATES, State::Warn, "the receiver of aggregates cannot be had"),
        (|seen| seen.aggregates_refused = 3, AGGREGATES, State::Warn, "Core refuses aggregates for good"),
        (|seen| edm(seen).events_dropped = 1, EVENTS, State::Fail, "events were lost to a full queue"),
        (|seen| seen.events_unreadable = 1, EVENTS, State::Fail, "the disk did not give events back"),
        (|seen| seen.files_damaged = 1, EVENTS, State::Warn, "are damaged"),
    ];

    fn edm(seen: &mut Seen) -> &mut EdmStatus {
        seen.document.edm.as_mut().unwrap()
    }

    #[test]
    fn each_trouble_is_one_event_of_its_part_and_of_no_other() {
        for (go_wrong, component, state, message) in CASES {
            let (mut memory, mut watch, mut seen) = (Memory::default(), Watch::default(), seen());
            let mut look = |seen: &Seen, second| watch.look(&parts(seen, &mut memory, at(second)), "node", at(second));
            assert_eq!(look(&seen, 0), [], "{message}");
            go_wrong(&mut seen);
            let told = look(&seen, 1);
            assert!(told.len() == 1 && told[0].component == component && told[0].message.contains(message), "{told:?}");
            assert_eq!(look(&seen, 2), [], "{message}: told once");
            assert_eq!(watch.rows[component].state, state, "{message}");
            assert!(COMPONENTS.iter().all(|component| watch.rows.contains_key(component)));
        }
    }

    #[test]
    fn what_was_lost_is_well_again_an_hour_after_the_last_of_it() {
        let (mut memory, mut seen) = (Memory::default(), seen());
        let mut state = |seen: &Seen, second| parts(seen, &mut memory, at(second))[AGGREGATES].clone();
        for second in [0, 3000] {
            seen.aggregates_refused += 1;
            assert_eq!(state(&seen, second).0, State::Warn);
        }
        assert_eq!(state(&seen, 6000).0, State::Warn);
        assert_eq!(state(&seen, 6600), well());
    }

    #[test]
    fn what_is_lost_again_and_again_is_one_event() {
        let (mut memory, mut watch, mut seen) = (Memory::default(), Watch::default(), seen());
        let mut told = 0;
        for second in 0..100 {
            told += watch.look(&parts(&seen, &mut memory, at(second)), "node", at(second)).len();
            seen.aggregates_refused += 1;
            seen.events_unreadable += 1;
            edm(&mut seen).frames_dropped += 1;
        }
        assert_eq!(told, 3);
    }

    #[test]
    fn aggregates_that_cannot_be_sent_are_told_of_after_ten_minutes() {
        let (mut memory, mut seen) = (Memory::default(), seen());
        let mut state = |seen: &Seen, second| parts(seen, &mut memory, at(second))[AGGREGATES].0;
        edm(&mut seen).aggregates.error = Some("no route to 192.0.2.1".to_owned());
        assert_eq!((state(&seen, 0), state(&seen, 599), state(&seen, 600)), (State::Ok, State::Ok, State::Warn));
        edm(&mut seen).aggregates.error = None;
        assert_eq!(state(&seen, 601), State::Ok);
        edm(&mut seen).aggregates.error = Some("again".to_owned());
        assert_eq!(state(&seen, 700), State::Ok);
    }

    /// Reasons have paths, addresses, and names of hosts in them.
    #[test]
    fn no_reason_is_repeated() {
        for (go_wrong, ..) in CASES {
            let mut seen = seen();
            seen.document.config.error = Some("SECRET".to_owned());
            seen.document.identity_error = Some("SECRET".to_owned());
            seen.document.core.error = Some("SECRET".to_owned());
            edm(&mut seen).aggregates.error = Some("SECRET".to_owned());
            edm(&mut seen).aggregates.refused = Some("SECRET".to_owned());
            go_wrong(&mut seen);
            let told = format!("{:?}", parts(&seen, &mut Memory::default(), at(0)));
            assert!(!told.contains("SECRET"), "{told}");
        }
    }
}
