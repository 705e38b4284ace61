//! What a resolver with many clients tells of. The same names and frames each time.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use super::frame::{Told, Writer};
use crate::names::Names;

const CLIENTS: usize = 100_000;
/// One client of so many has an IPv6 address.
const IPV6: usize = 8;
/// One name of so many is not on the list, whatever its rank.
const OTHER: usize = 5;
/// Types of questions and how many in a hundred: A, AAAA, HTTPS, MX, TXT.
const TYPES: [(u16, u64); 5] = [(1, 60), (28, 28), (65, 9), (15, 1), (16, 2)];
/// Codes of answers, likewise: NOERROR, NXDOMAIN, SERVFAIL.
const CODES: [(u8, u64); 3] = [(0, 90), (3, 9), (2, 1)];

/// Frames in memory.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) octets: Vec<u8>,
    pub(super) frames: u64,
    /// Of them, those whose names are on the list.
    pub(super) listed: u64,
    /// Names that were never asked before, once each, with a dot at the end.
    pub(super) new: Vec<String>,
}

/// Names by their rank, and who asks for them.
#[derive(Debug)]
pub(super) struct Traffic {
    names: Vec<Vec<u8>>,
    fresh: Names,
    clients: Vec<Vec<u8>>,
    dice: Dice,
    writer: Writer,
    time: u32,
}

impl Traffic {
    /// With so many names on the list, and a fourth of that beside it; gives the list's names as well.
    pub(super) fn new(listed: usize) -> (Self, Vec<String>) {
        let mut fresh = Names::new();
        let mut list = Vec::with_capacity(listed);
        let mut names = Vec::with_capacity(listed * OTHER / (OTHER - 1));
        while names.len() < listed * OTHER / (OTHER - 1) {
            let name = format!("{}.", fresh.one());
            names.push(wire(&name));
            if !is_other(names.len() - 1) {
                list.push(name);
            }
        }
        list.sort_unstable();
        let clients = (0..CLIENTS).map(client).collect();
        (Self { names, fresh, clients, dice: Dice::new(0), writer: Writer::default(), time: now() }, list)
    }

    /// So many frames: names by Zipf's law, and one of `new_of` never asked before.
    pub(super) fn frames(&mut self, count: usize, new_of: Option<usize>) -> Stream {
        let mut stream = Stream::default();
        for number in 0..count {
            if new_of.is_some_and(|of| number % of == of - 1) {
                let name = format!("{}.", self.fresh.one());
                self.write(&wire(&name), &mut stream);
                stream.new.push(name);
                continue;
            }
            let rank = self.dice.zipf(self.names.len());
            stream.listed += u64::from(!is_other(rank));
            self.write_rank(rank, &mut stream);
        }
        stream
    }

    /// Each name that is not on the list, once.
    pub(super) fn others(&mut self) -> Stream {
        let mut stream = Stream::default();
        for rank in (0..self.names.len()).filter(|rank| is_other(*rank)) {
            self.write_rank(rank, &mut stream);
            stream.new.extend(self.names.get(rank).map(|name| text(name)));
        }
        stream
    }

    /// Names by Zipf's law as somebody would ask for them.
    pub(super) fn asked(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count)
            .filter_map(|_| {
                let rank = self.dice.zipf(self.names.len());
                self.names.get(rank).cloned()
            })
            .collect()
    }

    fn write_rank(&mut self, rank: usize, stream: &mut Stream) {
        // Taken out while it is used: a name is a few octets in one place.
        let name = self.names.get_mut(rank).map(std::mem::take).unwrap_or_default();
        self.write(&name, stream);
        if let Some(place) = self.names.get_mut(rank) {
            *place = name;
        }
    }

    fn write(&mut self, name: &[u8], stream: &mut Stream) {
        let client = self.dice.below(CLIENTS as u64) as usize;
        let told = Told {
            name,
            client: self.clients.get(client).map(Vec::as_slice).unwrap_or_default(),
            port: 1024 + self.dice.below(60_000) as u16,
            qtype: self.dice.of(&TYPES),
            rcode: self.dice.of(&CODES),
            time: self.time,
        };
        self.writer.write(&told, &mut stream.octets);
        stream.frames += 1;
    }
}

const fn is_other(rank: usize) -> bool {
    rank % OTHER == OTHER - 1
}

fn client(number: usize) -> Vec<u8> {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    if number.is_multiple_of(IPV6) { [&[0x20, 1, 0x0d, 0xb8, 0, a, b, c], [0; 8].as_slice()].concat() } else { vec![10, a, b, c] }
}

/// Seconds since 1970.
pub(super) fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as u32)
}

pub(super) fn wire(name: &str) -> Vec<u8> {
    let labels = name.trim_end_matches('.').split('.');
    labels.flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes())).chain([0]).collect()
}

fn text(wire: &[u8]) -> String {
    let (mut text, mut rest) = (String::new(), wire);
    while let Some((&length, behind)) = rest.split_first().filter(|(length, _)| **length > 0) {
        let (label, behind) = behind.split_at_checked(usize::from(length)).unwrap_or_default();
        text.push_str(&String::from_utf8_lossy(label));
        text.push('.');
        rest = behind;
    }
    text
}

/// The file of a list.
pub(super) fn file(list: &[String]) -> Result<Vec<u8>> {
    tapir_wire::dawg::compile(list.iter().map(String::as_str)).context("compiling the list")
}

/// A small generator is enough here (xorshift).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Other numbers for each of these.
    pub(super) const fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) const fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    /// A rank from 0 to below `count`, one of rank r about as often as 1/r.
    fn zipf(&mut self, count: usize) -> usize {
        let fraction = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (((count as f64 + 1.0).powf(fraction) - 1.0) as usize).min(count - 1)
    }

    /// One of these, by their shares of a hundred.
    fn of<T: Copy + Default>(&mut self, all: &[(T, u64)]) -> T {
        let mut left = self.below(100);
        for (value, share) in all {
            if left < *share {
                return *value;
            }
            left -= share;
        }
        T::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_many_as_asked_for_and_the_same_in_each_run() {
        let make = || {
            let (mut traffic, list) = Traffic::new(1000);
            traffic.time = 0;
            (traffic.frames(3000, Some(100)), traffic.others(), list)
        };
        let (stream, others, list) = make();
        assert_eq!((list.len(), others.new.len(), stream.frames, stream.new.len()), (1000, 250, 3000, 30));
        assert!((2100..2600).contains(&stream.listed), "{}", stream.listed);
        assert!(stream.new.iter().chain(&others.new).all(|name| list.binary_search(name).is_err()));
        let (again, ..) = make();
        assert_eq!(stream.octets, again.octets);
        let (mut rest, mut frames) = (stream.octets.as_slice(), 0);
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            rest = &behind[u32::from_be_bytes(*length) as usize..];
            frames += 1;
        }
        assert_eq!(frames, 3000);
    }

    #[test]
    fn names_become_octets_and_names_again() {
        assert_eq!(wire("a.bc."), b"\x01a\x02bc\0");
        assert_eq!(text(b"\x01a\x02bc\0"), "a.bc.");
        file(&["a.".to_owned(), "b.".to_owned()]).unwrap();
    }
}
