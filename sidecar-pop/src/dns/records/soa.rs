//! The record that says which version a zone has.

use super::{Malformed, WireName};

/// Numbers of a SOA record (RFC 1035 section 3.3.13); its names mean nothing to a copy of the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa {
    /// Version.
    pub serial: u32,
    /// Seconds between two looks.
    pub refresh: u32,
    /// Seconds after a look that failed.
    pub retry: u32,
    /// Seconds after which a copy is no good any more.
    pub expire: u32,
    /// Seconds that "there is no such name" holds.
    pub minimum: u32,
}

impl Soa {
    /// Octets of the numbers behind the names.
    pub const OCTETS: usize = 20;

    pub(super) fn read(message: &[u8], (start, end): (usize, usize)) -> Result<Self, Malformed> {
        let (_, at) = WireName::read(message, start)?;
        let (_, at) = WireName::read(message, at)?;
        let numbers = message.get(at..end).and_then(|rest| <&[u8; Self::OCTETS]>::try_from(rest).ok()).ok_or(Malformed::Data)?;
        let mut fields = numbers.chunks_exact(4).map(|field| field.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet)));
        let mut field = || fields.next().ok_or(Malformed::Data);
        Ok(Self { serial: field()?, refresh: field()?, retry: field()?, expire: field()?, minimum: field()? })
    }
}
