//! Names as they stand in messages.

use std::fmt::{self, Debug, Display};

use tapir_table::{KeyBuf, KeyError};
use tapir_wire::name::Name;

use super::Malformed;

/// Octets of the longest name, the root's included (RFC 1035 section 2.3.4).
const MAX_OCTETS: usize = 255;
/// Pointers that are followed for one name. A name has at most 127 labels, and one pointer behind each is as many as make sense.
pub(super) const MAX_HOPS: usize = 128;

/// A name in wire form, uncompressed, in lower case.
#[derive(Clone, Copy)]
pub struct WireName {
    octets: [u8; MAX_OCTETS],
    length: u8,
}

impl WireName {
    /// The root.
    pub const ROOT: Self = Self { octets: [0; MAX_OCTETS], length: 1 };

    /// Reads the name that begins at `at` of a message: the name and where it ends there.
    pub fn read(message: &[u8], mut at: usize) -> Result<(Self, usize), Malformed> {
        let mut name = Self { octets: [0; MAX_OCTETS], length: 0 };
        let (mut length, mut end, mut hops) = (0, None, 0);
        // Pointers lead before the labels that they follow (RFC 1035 section 4.1.4: "a prior occurrence"), so they end.
        let mut start = at;
        loop {
            let first = *message.get(at).ok_or(Malformed::Short)?;
            match first {
                0 => {
                    // The octet is zero already.
                    name.length = u8::try_from(length + 1).map_err(|_| Malformed::Name)?;
                    return Ok((name, end.unwrap_or(at + 1)));
                }
                1..=63 => {
                    let size = 1 + usize::from(first);
                    let label = message.get(at..at + size).ok_or(Malformed::Short)?;
                    // One octet is left for the root.
                    let room = name.octets.get_mut(length..length + size).filter(|_| length + size < MAX_OCTETS);
                    let to = room.ok_or(Malformed::Name)?;
                    to.copy_from_slice(label);
                    // Length octets are below `A`.
                    to.make_ascii_lowercase();
                    length += size;
                    at += size;
                }
                0xC0.. => {
                    let low = *message.get(at + 1).ok_or(Malformed::Short)?;
                    end.get_or_insert(at + 2);
                    at = usize::from(u16::from_be_bytes([first & 0x3f, low]));
                    hops += 1;
                    if at >= start || hops > MAX_HOPS {
                        return Err(Malformed::Name);
                    }
                    start = at;
                }
                _ => return Err(Malformed::Name),
            }
        }
    }

    /// Takes wire form without pointers, the root's octet included.
    pub fn from_wire(wire: &[u8]) -> Result<Self, Malformed> {
        let (name, end) = Self::read(wire, 0)?;
        if end == wire.len() { Ok(name) } else { Err(Malformed::Name) }
    }

    /// The octets, the root's included.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The labels in front of `zone`, if this is its name or one below it. They end without the root's octet.
    #[must_use]
    pub fn below(&self, zone: &Self) -> Option<&[u8]> {
        let own = self.as_bytes();
        let front = own.len().checked_sub(zone.as_bytes().len())?;
        // Only where a label begins: octets of a longer label may look like the zone's name.
        let mut at = 0;
        while at < front {
            at += 1 + usize::from(*own.get(at)?);
        }
        (at == front && own.get(front..) == Some(zone.as_bytes())).then(|| own.get(..front).unwrap_or_default())
    }

    /// The labels in front of `zone` as a key of a table; `None` when this is no name below it.
    #[must_use]
    pub fn key_below(&self, zone: &Self) -> Option<Result<KeyBuf, KeyError>> {
        self.below(zone).filter(|labels| !labels.is_empty()).map(|labels| KeyBuf::from_wire(labels, MAX_OCTETS - 1))
    }
}

impl From<&Name> for WireName {
    fn from(name: &Name) -> Self {
        // A `Name` has at most 255 octets.
        Self::from_wire(&name.to_wire()).unwrap_or(Self::ROOT)
    }
}

impl PartialEq for WireName {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for WireName {}

impl Display for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == 1 {
            return f.write_str(".");
        }
        let mut rest = self.as_bytes();
        while let Some((length, tail)) = rest.split_first()
            && *length > 0
            && let Some((label, tail)) = tail.split_at_checked(usize::from(*length))
        {
            for octet in label {
                match octet {
                    b'.' | b'\\' | b'"' => write!(f, "\\{}", char::from(*octet))?,
                    0x21..=0x7e => write!(f, "{}", char::from(*octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_str(".")?;
            rest = tail;
        }
        Ok(())
    }
}

impl Debug for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireName({self})")
    }
}
