//! An event as it waits: what is needed to write it, and by which mark its name is known.

use jiff::Timestamp;
use tapir_wire::event::NewQname;

use crate::events::candidate::Candidate;
use crate::events::seen::Fingerprint;
use crate::names::{MAX_OCTETS, Presentation, WireName};

const PRINT: usize = 12;
/// In front of the name: its mark, flags, class, type, minute, and the name's length.
const FIXED: usize = PRINT + 2 + 2 + 2 + 8 + 1;
/// Octets of a record at most.
pub(in crate::events) const LONGEST: usize = FIXED + MAX_OCTETS;

/// An event.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// The mark of its name.
    pub print: Fingerprint,
    flags: u16,
    class: u16,
    kind: u16,
    /// Seconds since the epoch at which the minute of the response began: more is never written anywhere.
    minute: i64,
    name: Box<[u8]>,
}

impl Event {
    /// As it is sent.
    #[must_use]
    pub fn new_qname(&self, text: &mut Presentation) -> NewQname {
        // It was looked at when it was read.
        let name = WireName::from_octets(&self.name).unwrap_or(WireName::ROOT);
        NewQname {
            flags: self.flags,
            qclass: self.class,
            qname: text.read(name).to_owned(),
            qtype: self.kind,
            timestamp: Timestamp::from_second(self.minute).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }
}

impl std::fmt::Debug for Event {
    /// What somebody asked for is nobody's business in a log.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Event").field("octets", &self.name.len()).finish_non_exhaustive()
    }
}

/// Appends the record of a candidate.
pub(in crate::events) fn push(to: &mut Vec<u8>, candidate: &Candidate<'_>, print: Fingerprint) {
    let name = candidate.name.octets();
    to.extend_from_slice(&print.octets());
    to.extend_from_slice(&candidate.flags.to_le_bytes());
    to.extend_from_slice(&candidate.qclass.to_le_bytes());
    to.extend_from_slice(&candidate.qtype.to_le_bytes());
    to.extend_from_slice(&minute(candidate).to_le_bytes());
    // At most 255, as the name says of itself.
    to.push(name.len() as u8);
    to.extend_from_slice(name);
}

/// Rounds towards the past. Without a time it is the epoch, as upstream has it.
fn minute(candidate: &Candidate<'_>) -> i64 {
    let time = candidate.time.and_then(crate::decode::Time::timestamp).unwrap_or(Timestamp::UNIX_EPOCH);
    let seconds = time.as_second() - i64::from(time.subsec_nanosecond() < 0);
    seconds.div_euclid(60) * 60
}

/// Octets of the first record, by what it says of itself.
pub(in crate::events) fn size(octets: &[u8]) -> Option<usize> {
    let size = FIXED + usize::from(*octets.get(FIXED - 1)?);
    (size <= octets.len()).then_some(size)
}

/// The mark in the first record.
pub(in crate::events) fn print(octets: &[u8]) -> Option<Fingerprint> {
    octets.first_chunk().map(|print| Fingerprint::from_octets(*print))
}

/// How many records these are; none if they are anything else.
pub(super) fn count(mut octets: &[u8]) -> Option<u32> {
    let mut count = 0;
    while !octets.is_empty() {
        let (record, rest) = octets.split_at(size(octets)?);
        WireName::from_octets(&record[FIXED..])?;
        octets = rest;
        count += 1;
    }
    Some(count)
}

/// The records of a block that was looked at, as octets.
pub(in crate::events) fn pieces(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let (record, after) = rest.split_at(size(rest)?);
        rest = after;
        Some(record)
    })
}

/// The same as events.
pub(super) fn each(octets: &[u8]) -> impl Iterator<Item = Event> {
    pieces(octets).map_while(read)
}

fn read(record: &[u8]) -> Option<Event> {
    let (print, rest) = record.split_first_chunk()?;
    let (flags, rest) = rest.split_first_chunk()?;
    let (class, rest) = rest.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk()?;
    let (minute, rest) = rest.split_first_chunk()?;
    let (_, name) = rest.split_first()?;
    Some(Event {
        print: Fingerprint::from_octets(*print),
        flags: u16::from_le_bytes(*flags),
        class: u16::from_le_bytes(*class),
        kind: u16::from_le_bytes(*kind),
        minute: i64::from_le_bytes(*minute),
        name: name.into(),
    })
}

#[cfg(test)]
pub(in crate::events) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::Time;
    use crate::events::seen::Secret;
    use crate::names::Key;
    use crate::names::wire::tests::names;

    /// The record of a name.
    pub(in crate::events) fn record(name: &[u8], print: Fingerprint) -> Vec<u8> {
        let (mut record, key) = (Vec::new(), Key::default());
        let name = WireName::from_octets(name).unwrap();
        let candidate =
            Candidate { name, key: &key, qtype: 28, qclass: 1, flags: 0x8180, time: None, client: &[], has_list: true };
        push(&mut record, &candidate, print);
        record
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            octets in names(),
            words: [u16; 3],
            time in prop::option::of((0i64..200_000_000_000, any::<u32>())),
            behind in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let [flags, qclass, qtype] = words;
            let (name, print) = (WireName::from_octets(&octets).unwrap(), Secret::draw().fingerprint(&octets));
            let time = time.map(|(seconds, nanoseconds)| Time { seconds, nanoseconds });
            let key = Key::default();
            let candidate = Candidate { name, key: &key, qtype, qclass, flags, time, client: &[], has_list: true };
            let mut written = Vec::new();
            push(&mut written, &candidate, print);
            let length = written.len();
            prop_assert!(length <= LONGEST);
            prop_assert_eq!((super::print(&written), count(&written)), (Some(print), Some(1)));
            written.extend(behind);
            prop_assert_eq!(size(&written), Some(length));
            let event = each(&written).next().unwrap();
            let mut text = Presentation::default();
            let whole = NewQname {
                flags,
                qclass,
                qname: text.read(name).to_owned(),
                qtype,
                timestamp: time.and_then(Time::timestamp).unwrap_or(Timestamp::UNIX_EPOCH),
            };
            prop_assert_eq!(event.new_qname(&mut text).to_json(), whole.to_json());
        }

        #[test]
        fn any_octets_are_read_without_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(count) = count(&octets) {
                prop_assert_eq!(each(&octets).count(), count as usize);
            }
        }
    }
}
