//! Whatever happens to a zone: an old copy and the changes since then are the zone as it is now.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/versions.rs"]
#[allow(dead_code)]
mod versions;

use std::collections::BTreeSet;
use std::sync::Arc;

use hickory_proto::op::Message;
use proptest::prelude::*;
use tapir_pop::dns::records::{Event, Incoming, Limits, Outcome, Progress, Record, TransferError, Wanted, WireName, kind};
use tapir_pop::dns::render::{Condensed, Envelope, Incremental, LIMIT, Renderer, Sign, Steps, Unsigned, record};
use tapir_pop::zone::Serial;
use tapir_table::{Code, Codes, KeyBuf, Listed, Palette, RecordSet};
use versions::{History, Names, messages};

const ZONE: &[u8] = b"\x08dnstapir\0";

fn palette() -> (Palette, Vec<Code>) {
    let mut palette = Palette::default();
    let sets =
        [vec![(1, vec![192, 0, 2, 1]), (1, vec![192, 0, 2, 2])], vec![(1, vec![192, 0, 2, 1])], vec![(5, b"\x01g\0".to_vec())]];
    let codes = sets.map(|set| palette.intern(RecordSet::new(set).unwrap()).unwrap()).to_vec();
    (palette, codes)
}

fn envelope(asked: u16, serial: u32) -> Envelope {
    let question = [ZONE, &asked.to_be_bytes(), &[0, 1]].concat();
    let soa = [&b"\x05mname\0\x05rname\0"[..], &serial.to_be_bytes(), &[0; 16]].concat();
    let apex = vec![record([0xc0, 12], 6, 3600, &soa), record([0xc0, 12], 2, 3600, b"\x03ns1\0")];
    Envelope { id: 4711, question, apex, ttl: 60, palette: Arc::new(palette().0) }
}

fn whole((serial, names): &(u32, Names)) -> Vec<Vec<u8>> {
    let mut cursor = Listed::new(names.iter().map(|(key, codes)| (*key, *codes)).collect()).unwrap();
    let mut renderer = Renderer::new(envelope(kind::AXFR, *serial), Unsigned);
    messages(|window| renderer.fill(&mut cursor, window).unwrap())
}

fn incremental<T: Steps>(steps: T, serial: u32, sign: impl Sign) -> Vec<Vec<u8>> {
    let mut renderer = Incremental::new(envelope(kind::IXFR, serial), steps, sign);
    messages(|window| renderer.fill(window).unwrap())
}

type Copied = BTreeSet<(String, u16, Vec<u8>)>;

/// What a secondary does: every removal must be of something that is there, every addition of something that is not.
fn apply(mut copy: Copied, wanted: Wanted, messages: &[Vec<u8>]) -> (Copied, Outcome) {
    let zone = WireName::from_wire(ZONE).unwrap();
    let mut incoming = Incoming::new(zone, 4711, wanted, Limits { octets: 1 << 30, records: 1 << 20 });
    let row = |record: &Record<'_>| (record.owner.to_string(), record.kind, record.data().to_vec());
    for (index, message) in messages.iter().enumerate() {
        let progress = incoming.take(message, |event| {
            match event {
                Event::Whole(_) => copy.clear(),
                Event::Added(record) => assert!(copy.insert(row(&record)), "{record:?} is there"),
                Event::Removed(record) => assert!(copy.remove(&row(&record)), "{record:?} is not there"),
                Event::Step { .. } | Event::Reached(_) => {}
            }
            Ok::<_, TransferError>(())
        });
        if let Progress::Done(outcome) = progress.unwrap() {
            assert_eq!(index + 1, messages.len(), "messages behind the end");
            return (copy, outcome);
        }
    }
    panic!("the transfer has no end");
}

fn key() -> impl Strategy<Value = KeyBuf> {
    let label = prop_oneof![
        8 => prop::collection::vec(prop::sample::select(b"abc".to_vec()), 1..3),
        1 => prop::collection::vec(prop::sample::select(b"abc".to_vec()), 60..64),
    ];
    prop::collection::vec(label, 1..5).prop_filter_map("fits beside the zone", |labels| {
        let octets: Vec<u8> = labels.into_iter().flat_map(|label| [vec![label.len() as u8], label].concat()).collect();
        KeyBuf::from_key(&octets).ok().filter(|key| key.len() + 10 <= 255)
    })
}

fn codes() -> impl Strategy<Value = Codes> {
    let code = prop_oneof![
        2 => Just(Code::SILENT),
        6 => (1_u16..6).prop_map(|number| Code::from_number(number).unwrap()),
        2 => prop::sample::select(palette().1),
    ];
    (code.clone(), code).prop_map(|(own, below)| Codes { own, below })
}

/// Some names change at a time; what is silent is gone.
fn histories() -> impl Strategy<Value = Vec<(u32, Names)>> {
    let step = (1_u32..1000, prop::collection::vec((key(), codes()), 0..60));
    (any::<u32>(), prop::collection::vec(step, 2..8)).prop_map(|(first, steps)| {
        let (mut serial, mut names) = (first, Names::new());
        steps
            .into_iter()
            .map(|(ahead, changes)| {
                for (key, codes) in changes {
                    if codes == Codes::SILENT {
                        names.remove(&key)
                    } else {
                        names.insert(key, codes)
                    };
                }
                serial = serial.wrapping_add(ahead);
                (serial, names.clone())
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_old_copy_and_the_changes_are_the_zone_as_it_is(versions in histories(), since in any::<prop::sample::Index>()) {
        let (newest, since) = (versions.last().unwrap(), since.index(versions.len()));
        let (now, outcome) = apply(Copied::new(), Wanted::Whole, &whole(newest));
        prop_assert!(matches!(outcome, Outcome::Whole(soa) if soa.serial == newest.0));
        let (old, _) = apply(Copied::new(), Wanted::Whole, &whole(&versions[since]));
        prop_assume!(since + 1 < versions.len());
        let wanted = Wanted::Since(Serial(versions[since].0));
        for condensed in [false, true] {
            let steps = History::since(&versions, since);
            let messages = if condensed {
                let condensed = Condensed::of(steps, 10_000).unwrap().unwrap();
                prop_assert!(condensed.len() <= newest.1.len() + versions[since].1.len());
                incremental(condensed, newest.0, Unsigned)
            } else {
                incremental(steps, newest.0, Unsigned)
            };
            let (copy, outcome) = apply(old.clone(), wanted, &messages);
            prop_assert_eq!(&copy, &now);
            prop_assert!(matches!(outcome, Outcome::Changed(soa) if soa.serial == newest.0), "{:?}", outcome);
            for message in messages {
                prop_assert!(Message::from_vec(&message).is_ok());
            }
        }
    }
}

fn many(range: std::ops::Range<u32>) -> Names {
    range.map(|number| (KeyBuf::from_text(&format!("name-{number}.example"), 245).unwrap(), Codes::LISTED)).collect()
}

#[test]
fn changes_of_many_messages_come_through() {
    struct Mark;
    impl Sign for Mark {
        fn room(&self) -> usize {
            300
        }

        fn sign(&mut self, _: &mut [u8], length: usize) -> usize {
            assert!(length + 300 <= LIMIT);
            length
        }
    }
    let versions = [(u32::MAX, many(0..9000)), (3, many(5000..20_000)), (9, many(100..30_000))];
    let (old, _) = apply(Copied::new(), Wanted::Whole, &whole(&versions[0]));
    let (now, _) = apply(Copied::new(), Wanted::Whole, &whole(&versions[2]));
    let messages = incremental(History::since(&versions, 0), 9, Mark);
    assert!(messages.len() > 10);
    let (copy, _) = apply(old, Wanted::Since(Serial(u32::MAX)), &messages);
    assert!(copy == now);
}

#[test]
fn condensing_has_a_limit_and_leaves_out_what_came_and_went() {
    let versions = [(1, many(0..10)), (2, many(0..20)), (3, many(5..15)), (4, many(0..10))];
    let condensed = Condensed::of(History::since(&versions, 0), 10 + 10 + 10).unwrap().unwrap();
    assert!(condensed.is_empty());
    assert!(Condensed::of(History::since(&versions, 0), 29).unwrap().is_none());
    let one = Condensed::of(History::since(&versions, 1), 100).unwrap().unwrap();
    assert_eq!(one.len(), 10);
}
