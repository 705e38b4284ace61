//! Names inside of a message: compressed or not, walked without a copy where that can be.

use super::DnsError;
use crate::names::{MAX_OCTETS, WireName};

/// Octets of labels with their lengths, without the final zero (RFC 1035 section 3.1 allows 255 with it).
const MAX_LABEL_OCTETS: usize = MAX_OCTETS - 1;
/// A name of 255 octets cannot need more pointers than this; it is what ends a loop.
const MAX_POINTERS: usize = 126;

/// Where a name is put that stands in a message in pieces.
#[derive(Clone)]
pub struct Room {
    octets: [u8; MAX_OCTETS],
}

impl Default for Room {
    fn default() -> Self {
        Self { octets: [0; MAX_OCTETS] }
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Room").finish_non_exhaustive()
    }
}

/// A name that was read.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) name: WireName<'a>,
    /// It stands in the message in one piece.
    pub(crate) is_whole: bool,
    /// What comes after it.
    pub(crate) end: usize,
}

/// Reads the name at `offset`.
#[inline]
pub(crate) fn read<'a>(message: &'a [u8], offset: usize, room: &'a mut Room) -> Result<Found<'a>, DnsError> {
    let (mut at, mut labels) = (offset, 0);
    loop {
        let head = *message.get(at).ok_or(DnsError::Truncated)?;
        if head == 0 {
            let name = WireName::known(&message[offset..=at], labels);
            return Ok(Found { name, is_whole: true, end: at + 1 });
        }
        if head > 63 {
            return gather(message, offset, room);
        }
        at += 1 + usize::from(head);
        if at - offset > MAX_LABEL_OCTETS {
            return Err(DnsError::Name);
        }
        labels += 1;
    }
}

#[cold]
fn gather<'a>(message: &[u8], offset: usize, room: &'a mut Room) -> Result<Found<'a>, DnsError> {
    let (mut length, mut labels) = (0, 0);
    let end = walk(message, offset, |label| {
        if let Some(place) = room.octets.get_mut(length..length + 1 + label.len())
            && let Some((head, rest)) = place.split_first_mut()
        {
            // A label has at most 63 octets.
            *head = label.len() as u8;
            rest.copy_from_slice(label);
            length += place.len();
            labels += 1;
        }
    })?;
    room.octets[length] = 0;
    Ok(Found { name: WireName::known(&room.octets[..=length], labels), is_whole: false, end })
}

/// Checks the name at `offset` and gives the offset after it.
#[inline]
pub(super) fn skip(message: &[u8], offset: usize) -> Result<usize, DnsError> {
    walk(message, offset, |_| ())
}

/// Goes through the labels of the name at `offset` and gives the offset after it.
pub(crate) fn walk<'m>(message: &'m [u8], mut offset: usize, mut on_label: impl FnMut(&'m [u8])) -> Result<usize, DnsError> {
    let mut after_pointer = None;
    let mut pointers = 0;
    let mut label_octets = 0;
    loop {
        let head = *message.get(offset).ok_or(DnsError::Truncated)?;
        offset += 1;
        match head & 0xc0 {
            0x00 if head == 0 => return Ok(after_pointer.unwrap_or(offset)),
            0x00 => {
                let length = usize::from(head);
                let label = message.get(offset..offset + length).ok_or(DnsError::Truncated)?;
                label_octets += length + 1;
                if label_octets > MAX_LABEL_OCTETS {
                    return Err(DnsError::Name);
                }
                on_label(label);
                offset += length;
            }
            0xc0 => {
                let low = *message.get(offset).ok_or(DnsError::Truncated)?;
                after_pointer.get_or_insert(offset + 1);
                pointers += 1;
                if pointers > MAX_POINTERS {
                    return Err(DnsError::Name);
                }
                offset = usize::from(head & 0x3f) << 8 | usize::from(low);
            }
            _ => return Err(DnsError::Name),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pointers_are_followed_up_to_their_limit() {
        let chain = |pointers: usize| {
            let mut message = vec![1, b'a', 0];
            for index in 0..pointers {
                let target = if index == 0 { 0 } else { 3 + 2 * (index - 1) };
                message.extend_from_slice(&(0xc000 | u16::try_from(target).unwrap()).to_be_bytes());
            }
            let start = message.len() - 2;
            let mut room = Room::default();
            read(&message, start, &mut room).map(|found| (found.name.octets().to_vec(), found.end == message.len()))
        };
        assert_eq!(chain(126), Ok((vec![1, b'a', 0], true)));
        assert_eq!(chain(127), Err(DnsError::Name));
    }

    #[test]
    fn the_longest_name_and_one_more() {
        let name = |last: u8, tail: &[u8]| {
            let mut octets = Vec::new();
            for length in [63, 63, 63, last] {
                octets.push(length);
                octets.resize(octets.len() + usize::from(length), b'a');
            }
            octets.extend_from_slice(tail);
            let mut room = Room::default();
            read(&octets, 0, &mut room).map(|found| found.name.octets().len())
        };
        assert_eq!(name(61, &[0]), Ok(255));
        assert_eq!(name(62, &[0]), Err(DnsError::Name));
        // A pointer to the octet after it, which is the root.
        assert_eq!(name(61, &[0xc1, 0, 0]), Ok(255));
        assert_eq!(name(62, &[0xc1, 1, 0]), Err(DnsError::Name));
        assert_eq!(name(61, &[]), Err(DnsError::Truncated));
    }

    proptest! {
        /// What stands in one piece and what is gathered is the same name, and both refuse the same.
        #[test]
        fn both_ways_of_reading_agree(octets in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..8, Just(0xc0)], 0..300), offset in 0usize..310) {
            let (mut room, mut other) = (Room::default(), Room::default());
            let outcome = |read: Result<Found<'_>, DnsError>| read.ok().map(|found| (found.name.octets().to_vec(), found.name.label_count(), found.end));
            let fast = outcome(read(&octets, offset, &mut room));
            prop_assert_eq!(&fast, &outcome(gather(&octets, offset, &mut other)));
            prop_assert_eq!(fast.as_ref().map(|(_, _, end)| *end), skip(&octets, offset).ok());
            if let Some((name, labels, _)) = fast {
                prop_assert_eq!(WireName::from_octets(&name).map(WireName::label_count), Some(labels));
            }
        }
    }
}
