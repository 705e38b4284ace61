//! The protobuf encoding: fields one by one, borrowed from the octets.
//!
//! What is accepted is what the library behind upstream accepts (Go's `protobuf`): a field whose wire type is not the one of its
//! schema is an unknown field, unknown fields are skipped but must be well formed, groups included.

/// Not protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Highest number of a field of a message.
const MAX_NUMBER: u64 = (1 << 29) - 1;
/// Highest number of a field of an unknown group, which is checked less.
const MAX_NUMBER_IN_GROUP: u64 = i32::MAX as u64;
/// Groups in groups.
const MAX_DEPTH: usize = 10_001;

/// Tag of a field whose value is a number of variable length.
pub(super) const fn varint(number: u64) -> u64 {
    number << 3
}

/// Tag of a field whose value is octets with their length.
pub(super) const fn octets(number: u64) -> u64 {
    number << 3 | 2
}

/// Tag of a field whose value has four octets.
pub(super) const fn fixed32(number: u64) -> u64 {
    number << 3 | 5
}

/// The fields of a message: a tag, then the value that belongs to it, or [`Fields::skip`].
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    /// Number and wire type of the next field.
    #[inline]
    pub(super) fn tag(&mut self) -> Result<Option<u64>, Malformed> {
        if self.rest.is_empty() { Ok(None) } else { self.tag_up_to(MAX_NUMBER).map(Some) }
    }

    #[inline]
    fn tag_up_to(&mut self, max_number: u64) -> Result<u64, Malformed> {
        let tag = self.varint()?;
        if (1..=max_number).contains(&(tag >> 3)) { Ok(tag) } else { Err(Malformed) }
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest.split_first() {
            Some((octet, rest)) if *octet < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*octet))
            }
            _ => self.long_varint(),
        }
    }

    #[inline]
    pub(super) fn octets(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        self.take(length)
    }

    #[inline]
    pub(super) fn fixed32(&mut self) -> Result<u32, Malformed> {
        let (octets, rest) = self.rest.split_first_chunk::<4>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*octets))
    }

    /// Passes over the value of a field that nobody wants, whatever its wire type.
    #[inline]
    pub(super) fn skip(&mut self, tag: u64) -> Result<(), Malformed> {
        match tag & 7 {
            0 => self.varint().map(|_| ()),
            1 => self.take(8).map(|_| ()),
            2 => self.octets().map(|_| ()),
            3 => self.skip_group(tag),
            5 => self.take(4).map(|_| ()),
            // The end of a group that never began, or a type that does not exist.
            _ => Err(Malformed),
        }
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for index in 0..10 {
            let octet = u64::from(*self.rest.get(index).ok_or(Malformed)?);
            value |= (octet & 0x7f) << (7 * index);
            if octet < 0x80 {
                self.rest = &self.rest[index + 1..];
                // Of the tenth octet, one bit fits.
                return if index == 9 && octet > 1 { Err(Malformed) } else { Ok(value) };
            }
        }
        Err(Malformed)
    }

    /// No message of dnstap has groups, so nobody pays for the stack.
    #[cold]
    fn skip_group(&mut self, tag: u64) -> Result<(), Malformed> {
        let mut open = vec![tag >> 3];
        while let Some(innermost) = open.last() {
            let tag = self.tag_up_to(MAX_NUMBER_IN_GROUP)?;
            match tag & 7 {
                4 if tag >> 3 == *innermost => _ = open.pop(),
                3 if open.len() < MAX_DEPTH => open.push(tag >> 3),
                3 | 4 => return Err(Malformed),
                _ => self.skip(tag)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Fields, MAX_DEPTH, MAX_NUMBER, Malformed};

    /// Value of a field, as far as its wire type tells.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Value<'a> {
        Varint(u64),
        Fixed32(u32),
        Octets(&'a [u8]),
        Skipped,
    }

    fn fields(octets: &[u8]) -> Result<Vec<(u64, Value<'_>)>, Malformed> {
        let (mut fields, mut all) = (Fields::new(octets), Vec::new());
        while let Some(tag) = fields.tag()? {
            let mut other = fields;
            let value = match tag & 7 {
                0 => Value::Varint(fields.varint()?),
                2 => Value::Octets(fields.octets()?),
                5 => Value::Fixed32(fields.fixed32()?),
                _ => fields.skip(tag).map(|()| Value::Skipped)?,
            };
            assert_eq!((other.skip(tag), other.rest), (Ok(()), fields.rest), "what is skipped is as long as what is read");
            all.push((tag >> 3, value));
        }
        Ok(all)
    }

    fn varint(mut value: u64) -> Vec<u8> {
        let mut octets = Vec::new();
        while value >= 0x80 {
            octets.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        octets.push(value as u8);
        octets
    }

    #[test]
    fn wire_types() {
        let octets = [8, 5, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 2, 7, 9, 0x25, 1, 0, 0, 0x80];
        let expected =
            [(1, Value::Varint(5)), (2, Value::Skipped), (3, Value::Octets(&[7, 9])), (4, Value::Fixed32(0x8000_0001))];
        assert_eq!(fields(&octets).unwrap(), expected);
        for cut in [1, 4, 10, 12, 14, 16] {
            assert_eq!(fields(&octets[..cut]), Err(Malformed), "{cut}");
        }
        for unfit in [&[4][..], &[0x0c], &[6, 0], &[0x0e], &[0, 0], &[7]] {
            assert_eq!(fields(unfit), Err(Malformed), "{unfit:?}");
        }
    }

    #[test]
    fn longest_varints_and_highest_numbers() {
        let longest = [&[8][..], &[0xff; 9]].concat();
        assert_eq!(fields(&[&longest[..], &[1]].concat()), Ok(vec![(1, Value::Varint(u64::MAX))]));
        assert_eq!(fields(&[&longest[..], &[2]].concat()), Err(Malformed));
        assert_eq!(fields(&[&longest[..], &[0x80, 0]].concat()), Err(Malformed));
        // More octets than it needs.
        assert_eq!(fields(&[0x88, 0x80, 0, 0x81, 0]), Ok(vec![(1, Value::Varint(1))]));
        let numbered = |number: u64| [varint(number << 3), vec![0]].concat();
        assert!(fields(&numbered(MAX_NUMBER)).is_ok());
        assert!(fields(&numbered(MAX_NUMBER + 1)).is_err());
    }

    #[test]
    fn groups_are_skipped_if_they_end() {
        assert_eq!(fields(&[0x0b, 0x10, 1, 0x13, 0x14, 0x0c, 8, 1]), Ok(vec![(1, Value::Skipped), (1, Value::Varint(1))]));
        for unfit in
            [&[0x0b][..], &[0x0b, 0x14], &[0x0b, 0x13, 0x0c, 0x14], &[0x0b, 0x0c, 0x0c], &[0x0b, 0, 0x0c], &[0x0b, 0x0f, 0x0c]]
        {
            assert_eq!(fields(unfit), Err(Malformed), "{unfit:?}");
        }
        let higher = [vec![0x0b], varint((MAX_NUMBER + 1) << 3), vec![0, 0x0c]].concat();
        assert!(fields(&higher).is_ok());
        let nested = |depth: usize| [vec![0x0b; depth], vec![0x0c; depth]].concat();
        assert!(fields(&nested(MAX_DEPTH)).is_ok());
        assert!(fields(&nested(MAX_DEPTH + 1)).is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(octets in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..48], 0..200)) {
            let _ = fields(&octets);
        }

        #[test]
        fn what_was_written_is_read(numbers in prop::collection::vec((1u64..=MAX_NUMBER, any::<u64>()), 0..20)) {
            let octets: Vec<u8> = numbers.iter().flat_map(|(number, value)| [varint(number << 3), varint(*value)].concat()).collect();
            let expected = numbers.iter().map(|(number, value)| (*number, Value::Varint(*value))).collect::<Vec<_>>();
            prop_assert_eq!(fields(&octets), Ok(expected));
        }
    }
}
