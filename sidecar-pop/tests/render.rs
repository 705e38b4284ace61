//! Whatever a cursor goes through comes out of the messages of a transfer again, read by a library that is not ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use hickory_proto::op::Message;
use proptest::prelude::*;
use tapir_pop::dns::render::{Envelope, LIMIT, Renderer, Sign, Unsigned, Window, record};
use tapir_table::{Code, Codes, Cursor, KeyBuf, Listed, Palette, RecordSet};

const ZONE: [u8; 2] = [0xc0, 12];

fn palette() -> (Palette, [Code; 2]) {
    let mut palette = Palette::default();
    let addresses = RecordSet::new(vec![(1, vec![192, 0, 2, 1]), (1, vec![192, 0, 2, 2]), (28, vec![0x20; 16])]).unwrap();
    let garden = RecordSet::new(vec![(5, b"\x06garden\x07example\0".to_vec())]).unwrap();
    let codes = [palette.intern(addresses).unwrap(), palette.intern(garden).unwrap()];
    (palette, codes)
}

fn envelope() -> Envelope {
    let mut question = b"\x08dnstapir\0".to_vec();
    question.extend([0, 252, 0, 1]);
    let mut soa = b"\x05mname\0\x05rname\0".to_vec();
    soa.extend([0; 20]);
    let apex = vec![record(ZONE, 6, 3600, &soa), record(ZONE, 2, 3600, b"\x03ns1\0")];
    Envelope { id: 4711, question, apex, ttl: 60, palette: Arc::new(palette().0) }
}

/// Whole messages of a transfer, without their lengths.
fn messages(names: Vec<(KeyBuf, Codes)>, sign: impl Sign) -> Vec<Vec<u8>> {
    let mut cursor = Listed::new(names).unwrap();
    let mut renderer = Renderer::new(envelope(), sign);
    let (mut window, mut stream) = (Window::new(), Vec::new());
    while renderer.fill(&mut cursor, &mut window).unwrap() {
        stream.extend(window.as_bytes());
    }
    assert!(!cursor.advance().unwrap());
    let (mut messages, mut rest) = (Vec::new(), stream.as_slice());
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let (message, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
        messages.push(message.to_vec());
        rest = tail;
    }
    messages
}

/// Records of a zone: owner, and what stands behind it as text.
type Records = BTreeMap<(String, String), usize>;

fn read(messages: &[Vec<u8>]) -> Records {
    let mut records = Records::new();
    for message in messages {
        assert!(message.len() <= LIMIT, "{}", message.len());
        let message = Message::from_vec(message).unwrap();
        assert_eq!((message.metadata.id, message.queries.len()), (4711, 1));
        for record in &message.answers {
            let key = (record.name.to_string().to_lowercase(), format!("{} {:?}", record.ttl, record.data));
            *records.entry(key).or_default() += 1;
        }
    }
    records
}

/// The same from messages of one record each, written out without any pointer but that to the zone.
fn wanted(names: &[(KeyBuf, Codes)]) -> Records {
    let (palette, _) = palette();
    let mut messages = Vec::new();
    let mut one = |owner: &[u8], record: &[u8]| {
        let mut message = vec![0x12, 0x67, 0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0];
        message.extend(envelope().question);
        message.extend(owner);
        message.extend(record);
        messages.push(message);
    };
    let apex = envelope().apex;
    for record in apex.iter().chain(&apex[..1]) {
        one(&[], record);
    }
    for (key, codes) in names {
        for (code, front) in [(codes.own, &b""[..]), (codes.below, b"\x01*")] {
            let mut owner = front.to_vec();
            owner.extend(key.to_wire());
            owner.pop();
            if owner.len() + 10 > 255 {
                continue;
            }
            let targets: [&[u8]; 6] = [b"", b"\x0crpz-passthru\0", b"\x0crpz-tcp-only\0", b"\x01*\0", b"\0", b"\x08rpz-drop\0"];
            match palette.get(code) {
                _ if code.is_silent() => {}
                Some(set) => set.records().for_each(|(kind, data)| one(&owner, &record(ZONE, kind, 60, data))),
                None => one(&owner, &record(ZONE, 5, 60, targets[usize::from(code.number())])),
            }
        }
    }
    read(&messages)
}

/// Pointers to follow for any name that begins at `at`.
fn hops(message: &[u8], mut at: usize) -> usize {
    let mut hops = 0;
    loop {
        match message[at] {
            0 => return hops,
            length @ 1..=63 => at += 1 + usize::from(length),
            high => {
                at = usize::from(high & 63) << 8 | usize::from(message[at + 1]);
                hops += 1;
            }
        }
    }
}

fn key() -> impl Strategy<Value = KeyBuf> {
    let label = prop_oneof![
        6 => prop::collection::vec(prop::sample::select(b"ab".to_vec()), 1..4),
        2 => prop::collection::vec(prop::sample::select(b"abcdefgh-".to_vec()), 1..60),
    ];
    prop::collection::vec(label, 1..10).prop_filter_map("fits beside the zone", |labels| {
        let octets: Vec<u8> = labels.into_iter().flat_map(|label| [vec![label.len() as u8], label].concat()).collect();
        KeyBuf::from_key(&octets).ok().filter(|key| key.len() + 10 <= 255)
    })
}

fn codes() -> impl Strategy<Value = Codes> {
    let local = palette().1;
    let code = prop_oneof![
        3 => Just(Code::SILENT),
        6 => (1_u16..6).prop_map(|number| Code::from_number(number).unwrap()),
        1 => prop::sample::select(local.to_vec()),
    ];
    prop_oneof![3 => Just(Codes::new(Code::NXDOMAIN, Code::SILENT)), 1 => (code.clone(), code).prop_map(|(own, below)| Codes { own, below })]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_zone_comes_out_as_it_is(names in prop::collection::btree_map(key(), codes(), 0..1500)) {
        let names: Vec<_> = names.into_iter().collect();
        let messages = messages(names.clone(), Unsigned);
        prop_assert_eq!(read(&messages), wanted(&names));
        let last = Message::from_vec(messages.last().unwrap()).unwrap();
        prop_assert_eq!(last.answers.last().unwrap().record_type(), hickory_proto::rr::RecordType::SOA);
    }
}

#[test]
fn pointers_are_not_chained_without_end() {
    // Each name is below the one before: compressed without a bound, the last would take 110 steps.
    let deepest = KeyBuf::from_key(&b"\x01a".repeat(110)).unwrap();
    let names: Vec<_> =
        deepest.borders().map(|length| (deepest.truncated(length), Codes::new(Code::DROP, Code::NODATA))).collect();
    let messages = messages(names.clone(), Unsigned);
    assert_eq!(read(&messages), wanted(&names));
    let message = &messages[0];
    let mut at = 12 + envelope().question.len();
    for _ in 0..u16::from_be_bytes([message[6], message[7]]) {
        assert!(hops(message, at) <= 10, "{} pointers", hops(message, at));
        while (1..=63).contains(&message[at]) {
            at += 1 + usize::from(message[at]);
        }
        at += if message[at] == 0 { 1 } else { 2 };
        at += 10 + usize::from(u16::from_be_bytes([message[at + 8], message[at + 9]]));
    }
    assert_eq!(at, message.len());
}

#[test]
fn a_wildcard_that_is_too_long_is_left_out_and_its_name_is_not() {
    for octets in 240..=245 {
        let labels = [vec![63; 1], vec![b'a'; 63]].concat().repeat(3);
        let rest = octets - labels.len() - 1;
        let key = KeyBuf::from_key(&[labels, vec![rest as u8], vec![b'b'; rest]].concat()).unwrap();
        let names = vec![(key, Codes::new(Code::NXDOMAIN, Code::NXDOMAIN))];
        let records = read(&messages(names.clone(), Unsigned));
        assert_eq!(records, wanted(&names));
        assert_eq!(records.len(), 2 + 1 + usize::from(octets + 2 + 10 <= 255), "{octets}");
    }
}

#[test]
fn the_largest_local_data_comes_and_unknown_local_data_ends_the_transfer() {
    let mut envelope = envelope();
    let mut palette = Palette::default();
    let largest = (0..227).map(|number: u32| (1, number.to_be_bytes().to_vec())).collect();
    let code = palette.intern(RecordSet::new(largest).unwrap()).unwrap();
    envelope.palette = Arc::new(palette);
    let names: Vec<_> = ["a.example", "b.example", "c.example"]
        .map(|name| (KeyBuf::from_text(name, 245).unwrap(), Codes::new(code, code)))
        .to_vec();
    let mut renderer = Renderer::new(envelope, Unsigned);
    let mut window = Window::new();
    let mut answers = 0;
    let mut cursor = Listed::new(names.clone()).unwrap();
    while renderer.fill(&mut cursor, &mut window).unwrap() {
        let mut rest = window.as_bytes();
        while let Some((length, tail)) = rest.split_first_chunk::<2>() {
            let (message, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
            answers += Message::from_vec(message).unwrap().answers.len();
            rest = tail;
        }
    }
    assert_eq!(answers, 3 + 3 * 2 * 227);
    // The palette of the other tests has two sets.
    let strange = vec![(names[0].0, Codes::new(Code::set(2).unwrap(), Code::SILENT))];
    let mut renderer = Renderer::new(self::envelope(), Unsigned);
    assert!(renderer.fill(&mut Listed::new(strange).unwrap(), &mut window).is_err());
}

#[test]
fn signatures_have_their_room_in_each_message() {
    struct Mark(usize);
    impl Sign for Mark {
        fn room(&self) -> usize {
            200
        }

        fn sign(&mut self, octets: &mut [u8], length: usize) -> usize {
            assert_eq!(octets[..2], 4711_u16.to_be_bytes());
            octets[length..length + 200].fill(0xee);
            self.0 += 1;
            length + 200
        }
    }
    let names: Vec<_> = (100..20_000).map(|number| KeyBuf::from_text(&format!("name-{number}.example"), 245).unwrap()).collect();
    let mut names: Vec<_> = names.into_iter().map(|key| (key, Codes::LISTED)).collect();
    names.sort();
    let signed = messages(names.clone(), Mark(0));
    assert!(signed.len() > 10);
    let unsigned: Vec<_> = signed.iter().map(|message| message[..message.len() - 200].to_vec()).collect();
    assert!(signed.iter().all(|message| message.len() <= LIMIT && message.ends_with(&[0xee; 200])));
    assert_eq!(read(&unsigned), wanted(&names));
}
