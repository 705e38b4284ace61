//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod names;

use std::collections::BTreeMap;

use proptest::prelude::*;
use tapir_table::{Code, Codes, Cursor, KeyBuf, Palette, TableFile, TableWriter, Trail, Value, Written};

pub type Model<V = Codes> = BTreeMap<KeyBuf, V>;

/// Keys that share a lot: few labels out of few, some long, some with any octet.
pub fn key() -> impl Strategy<Value = KeyBuf> {
    let label = prop_oneof![
        6 => prop::collection::vec(prop::sample::select(b"ab".to_vec()), 1..4),
        3 => prop::collection::vec(prop::sample::select(b"abcdefgh-".to_vec()), 1..24),
        1 => prop::collection::vec(any::<u8>().prop_map(|octet| octet.to_ascii_lowercase()), 1..=63),
    ];
    prop::collection::vec(label, 1..6).prop_filter_map("fits", |labels| {
        let mut octets = Vec::new();
        for label in labels {
            octets.push(label.len() as u8);
            octets.extend(label);
        }
        KeyBuf::from_key(&octets).ok()
    })
}

/// Codes as zones have them: mostly one.
pub fn codes() -> impl Strategy<Value = Codes> {
    let code = prop_oneof![
        2 => Just(Code::SILENT),
        6 => Just(Code::NXDOMAIN),
        2 => (1_u16..6).prop_map(|number| Code::from_number(number).unwrap()),
        1 => (0_u16..4000).prop_map(|index| Code::set(index).unwrap()),
    ];
    prop_oneof![
        6 => Just(Codes::new(Code::NXDOMAIN, Code::SILENT)),
        4 => (code.clone(), code).prop_map(|(own, below)| Codes::new(own, below)),
    ]
}

/// So many names with codes, without tombstones.
pub fn model(most: usize) -> impl Strategy<Value = Model> {
    prop::collection::btree_map(key(), codes().prop_filter("tombstone", |codes| *codes != Codes::SILENT), 0..most)
}

/// As an observation is kept: five fields of fixed size, one that is seldom there, and an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub flags: u8,
    pub added: u64,
    pub expires: u32,
    pub tags: u32,
    pub guard: Option<u32>,
}

impl Value for Seen {
    const KIND: u8 = 200;
    const ALWAYS_INLINE: bool = true;

    fn write(&self, to: &mut Written) {
        to.push(&[self.flags << 1 | u8::from(self.guard.is_some())]);
        to.push(&self.added.to_be_bytes()[2..]);
        to.push(&self.expires.to_be_bytes());
        to.push(&self.tags.to_be_bytes());
        if let Some(guard) = self.guard {
            to.push(&guard.to_be_bytes());
        }
    }

    fn read(from: &[u8], at: &mut usize) -> Option<Self> {
        let octets: &[u8; 15] = from.get(*at..)?.first_chunk()?;
        *at += 15;
        let mut added = [0; 8];
        added[2..].copy_from_slice(&octets[1..7]);
        let guard = if octets[0] & 1 == 1 {
            *at += 4;
            Some(u32::from_be_bytes(from.get(*at - 4..*at)?.try_into().ok()?))
        } else {
            None
        };
        Some(Self {
            flags: octets[0] >> 1,
            added: u64::from_be_bytes(added),
            expires: u32::from_be_bytes(octets[7..11].try_into().ok()?),
            tags: u32::from_be_bytes(octets[11..15].try_into().ok()?),
            guard,
        })
    }

    fn due(&self) -> u32 {
        self.expires
    }
}

pub fn seen() -> impl Strategy<Value = Seen> {
    (0_u8..128, 0_u64..1 << 48, 0_u32..1000, any::<u32>(), prop::option::of(0_u32..1000))
        .prop_map(|(flags, added, expires, tags, guard)| Seen { flags, added, expires, tags, guard })
}

/// The octets of a table.
pub fn written<V: Value>(model: &Model<V>, serial: u32, palette: &Palette) -> Vec<u8> {
    let mut writer = TableWriter::new(Vec::new()).unwrap();
    for (key, value) in model {
        writer.push(key, *value).unwrap();
    }
    writer.finish(serial, palette).unwrap().0
}

pub fn table<V: Value>(model: &Model<V>) -> TableFile<V> {
    TableFile::from_memory(written(model, 1, &Palette::default())).unwrap()
}

/// Everything from the cursor's next name on. Checks what it says about neighbours on the way.
pub fn collected<C: Cursor>(mut cursor: C) -> Vec<(KeyBuf, C::Value)> {
    let mut all: Vec<(KeyBuf, C::Value)> = Vec::new();
    while cursor.advance().unwrap() {
        if let Some((before, _)) = all.last() {
            let shared = tapir_table::common_prefix(before.as_bytes(), cursor.key().as_bytes());
            assert_eq!(cursor.shared(), shared, "{before} {}", cursor.key());
        }
        all.push((*cursor.key(), cursor.value()));
    }
    assert!(!cursor.advance().unwrap(), "stays at the end");
    all
}

/// What a lookup has to say of the way to a name.
pub fn expected_trail<V: Value>(model: &Model<V>, key: &KeyBuf) -> Vec<(usize, V)> {
    key.borders().filter_map(|length| Some((length, *model.get(&key.truncated(length))?))).collect()
}

pub fn trail<V: Value>(trail: &Trail<V>) -> Vec<(usize, V)> {
    trail.iter().collect()
}
