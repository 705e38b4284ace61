//! Does RDATA fit its type? A table of fields for each type, and a walk over it.
//!
//! One rule runs through: RDATA may end between two fields, though not right after a value with its own length. A field that
//! is cut, or octets left over, is an error.

use super::DnsError;
use super::name;
use super::options;

/// A field of RDATA.
#[derive(Clone, Copy, Debug)]
enum Field {
    /// So many octets, not looked into.
    Octets(usize),
    /// A name; compression is accepted everywhere.
    Name,
    /// Names up to the end.
    Names,
    /// One character string (RFC 1035 section 3.3).
    Text,
    /// Character strings up to the end.
    Texts,
    /// Anything up to the end.
    Rest,
    /// Length in one octet, octets.
    Sized8,
    /// Length in two octets, octets.
    Sized16,
    /// Type bit maps (RFC 4034 section 4.1.2) up to the end.
    Bitmap,
    /// Address prefixes (RFC 3123) up to the end.
    Prefixes,
    /// EDNS options (RFC 6891) up to the end.
    Options,
    /// Service parameters (RFC 9460) up to the end.
    Parameters,
    /// Precedence, gateway type, algorithm, gateway, key (RFC 4025).
    IpsecGateway,
    /// Precedence, relay type, relay (RFC 8777).
    AmtRelay,
    /// HIT and key with both lengths first (RFC 8005).
    HostIdentity,
}

impl Field {
    /// Octets of the length of a value that has its own; zero for other fields. RDATA may end after such a length.
    const fn length_width(self) -> usize {
        match self {
            Self::Sized8 => 1,
            Self::Sized16 => 2,
            _ => 0,
        }
    }
}

/// Fields of a type, or `None` for types that are opaque.
const fn fields(record_type: u16) -> Option<&'static [Field]> {
    use Field::{
        AmtRelay, Bitmap, HostIdentity, IpsecGateway, Name, Names, Octets, Options, Parameters, Prefixes, Rest, Sized8, Sized16,
        Text, Texts,
    };
    Some(match record_type {
        // A, UID, GID
        1 | 101 | 102 => &[Octets(4)],
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, NSAP-PTR, DNAME
        2..=5 | 7..=9 | 12 | 23 | 39 => &[Name],
        // SOA
        6 => &[Name, Name, Octets(4), Octets(4), Octets(4), Octets(4), Octets(4)],
        // NULL, EID, NIMLOC, DHCID, OPENPGPKEY
        10 | 31 | 32 | 49 | 61 => &[Rest],
        // HINFO, ISDN
        13 | 20 => &[Text, Text],
        // MINFO, RP, TALINK
        14 | 17 | 58 => &[Name, Name],
        // MX, AFSDB, RT, KX, LP
        15 | 18 | 21 | 36 | 107 => &[Octets(2), Name],
        // TXT, NINFO, SPF, AVC, RESINFO
        16 | 56 | 99 | 258 | 261 => &[Texts],
        // X25, UINFO
        19 | 100 => &[Text],
        // SIG, RRSIG
        24 | 46 => &[Octets(2), Octets(1), Octets(1), Octets(4), Octets(4), Octets(4), Octets(2), Name, Rest],
        // KEY, DNSKEY, RKEY, CDNSKEY
        25 | 48 | 57 | 60 => &[Octets(2), Octets(1), Octets(1), Rest],
        // PX
        26 => &[Octets(2), Name, Name],
        // GPOS
        27 => &[Text, Text, Text],
        // AAAA
        28 => &[Octets(16)],
        // LOC
        29 => &[Octets(1), Octets(1), Octets(1), Octets(1), Octets(4), Octets(4), Octets(4)],
        // NXT, NSEC
        30 | 47 => &[Name, Bitmap],
        // SRV
        33 => &[Octets(2), Octets(2), Octets(2), Name],
        // NAPTR
        35 => &[Octets(2), Octets(2), Text, Text, Text, Name],
        // CERT
        37 => &[Octets(2), Octets(2), Octets(1), Rest],
        // OPT
        41 => &[Options],
        // APL
        42 => &[Prefixes],
        // DS, CDS, TA, DLV
        43 | 59 | 32768 | 32769 => &[Octets(2), Octets(1), Octets(1), Rest],
        // SSHFP
        44 => &[Octets(1), Octets(1), Rest],
        45 => &[IpsecGateway],
        // NSEC3
        50 => &[Octets(1), Octets(1), Octets(2), Sized8, Sized8, Bitmap],
        // NSEC3PARAM
        51 => &[Octets(1), Octets(1), Octets(2), Sized8],
        // TLSA, SMIMEA
        52 | 53 => &[Octets(1), Octets(1), Octets(1), Rest],
        55 => &[HostIdentity, Names],
        // CSYNC
        62 => &[Octets(4), Octets(2), Bitmap],
        // ZONEMD
        63 => &[Octets(4), Octets(1), Octets(1), Rest],
        // SVCB, HTTPS
        64 | 65 => &[Octets(2), Name, Parameters],
        // NID, L64
        104 | 106 => &[Octets(2), Octets(8)],
        // L32
        105 => &[Octets(2), Octets(4)],
        // EUI48, EUI64
        108 => &[Octets(6)],
        109 => &[Octets(8)],
        // NXNAME, ANY: no data at all
        128 | 255 => &[],
        // TKEY
        249 => &[Name, Octets(4), Octets(4), Octets(2), Octets(2), Sized16, Sized16],
        // TSIG
        250 => &[Name, Octets(6), Octets(2), Sized16, Octets(2), Octets(2), Sized16],
        // URI
        256 => &[Octets(2), Octets(2), Rest],
        // CAA
        257 => &[Octets(1), Text, Rest],
        260 => &[AmtRelay],
        _ => return None,
    })
}

/// Checks the RDATA that begins at `start` and ends with `message`.
pub(crate) fn check(record_type: u16, message: &[u8], start: usize) -> Result<(), DnsError> {
    // Empty RDATA is fine for every type: dynamic updates (RFC 2136 section 2.5) have it.
    if start == message.len() {
        return Ok(());
    }
    let Some(fields) = fields(record_type) else { return Ok(()) };
    let mut offset = start;
    let mut may_end = true;
    for field in fields {
        if may_end && offset == message.len() {
            return Ok(());
        }
        let width = field.length_width();
        if width > 0 && message.len() == offset + width {
            return Ok(());
        }
        may_end = width == 0;
        offset = skip(*field, message, offset)?;
    }
    if offset == message.len() { Ok(()) } else { Err(DnsError::RecordData) }
}

fn skip(field: Field, message: &[u8], offset: usize) -> Result<usize, DnsError> {
    match field {
        Field::Octets(count) => advance(message, offset, count),
        Field::Name => name::skip(message, offset),
        Field::Names => repeat(message, offset, name::skip),
        Field::Text => sized8(message, offset),
        Field::Texts => repeat(message, offset, sized8),
        Field::Rest => Ok(message.len()),
        Field::Sized8 => sized8(message, offset),
        Field::Sized16 => sized16(message, offset),
        Field::Bitmap => bitmap(message, offset),
        Field::Prefixes => repeat(message, offset, prefix),
        Field::Options => options::check_edns(message, offset),
        Field::Parameters => options::check_service_parameters(message, offset),
        Field::IpsecGateway => ipsec_gateway(message, offset),
        Field::AmtRelay => amt_relay(message, offset),
        Field::HostIdentity => host_identity(message, offset),
    }
}

pub(super) fn advance(message: &[u8], offset: usize, count: usize) -> Result<usize, DnsError> {
    let end = offset + count;
    if end <= message.len() { Ok(end) } else { Err(DnsError::RecordData) }
}

fn repeat(message: &[u8], mut offset: usize, step: impl Fn(&[u8], usize) -> Result<usize, DnsError>) -> Result<usize, DnsError> {
    while offset < message.len() {
        offset = step(message, offset)?;
    }
    Ok(offset)
}

fn octet(message: &[u8], offset: usize) -> Result<u8, DnsError> {
    message.get(offset).copied().ok_or(DnsError::RecordData)
}

fn sized8(message: &[u8], offset: usize) -> Result<usize, DnsError> {
    let length = octet(message, offset)?;
    advance(message, offset + 1, usize::from(length))
}

fn sized16(message: &[u8], offset: usize) -> Result<usize, DnsError> {
    let start = advance(message, offset, 2)?;
    advance(message, start, usize::from(u16::from_be_bytes([message[offset], message[offset + 1]])))
}

fn bitmap(message: &[u8], mut offset: usize) -> Result<usize, DnsError> {
    let mut last_window = None;
    while offset < message.len() {
        let window = octet(message, offset)?;
        let length = octet(message, offset + 1)?;
        if last_window.is_some_and(|last| window <= last) || !(1..=32).contains(&length) {
            return Err(DnsError::RecordData);
        }
        offset = advance(message, offset + 2, usize::from(length))?;
        last_window = Some(window);
    }
    Ok(offset)
}

fn prefix(message: &[u8], offset: usize) -> Result<usize, DnsError> {
    let start = advance(message, offset, 4)?;
    let address_length = match (message[offset], message[offset + 1]) {
        (0, 1) => 4,
        (0, 2) => 16,
        _ => return Err(DnsError::RecordData),
    };
    let bits = usize::from(message[offset + 2]);
    let length = usize::from(message[offset + 3] & 0x7f);
    if bits > 8 * address_length || length > address_length {
        return Err(DnsError::RecordData);
    }
    let end = advance(message, start, length)?;
    // RFC 3123 section 4: no trailing zero octets.
    if length > 0 && message[end - 1] == 0 { Err(DnsError::RecordData) } else { Ok(end) }
}

fn ipsec_gateway(message: &[u8], offset: usize) -> Result<usize, DnsError> {
    let mut at = offset;
    for _ in 0..3 {
        if at == message.len() {
            return Ok(at);
        }
        at = advance(message, at, 1)?;
    }
    if at == message.len() {
        return Ok(at);
    }
    gateway(message, at, octet(message, offset + 1)?)?;
    // The key takes the rest.
    Ok(message.len())
}

fn amt_relay(message: &[u8], offset: usize) -> Result<usize, DnsError> {
    let kind = advance(message, offset, 1)?;
    if kind == message.len() {
        return Ok(kind);
    }
    let relay = advance(message, kind, 1)?;
    if relay == message.len() {
        return Ok(relay);
    }
    gateway(message, relay, octet(message, kind)? & 0x7f)
}

fn gateway(message: &[u8], offset: usize, kind: u8) -> Result<usize, DnsError> {
    match kind {
        1 => advance(message, offset, 4),
        2 => advance(message, offset, 16),
        3 => name::skip(message, offset),
        _ => Ok(offset),
    }
}

fn host_identity(message: &[u8], offset: usize) -> Result<usize, DnsError> {
    let mut at = offset;
    let mut hit_length = 0;
    let mut key_length = 0;
    for (width, value) in [(1, Some(&mut hit_length)), (1, None), (2, Some(&mut key_length))] {
        if at == message.len() {
            return Ok(at);
        }
        let next = advance(message, at, width)?;
        if let Some(value) = value {
            *value = message[at..next].iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
        }
        at = next;
    }
    if at == message.len() {
        return Ok(at);
    }
    advance(message, advance(message, at, hit_length)?, key_length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(record_type: u16, rdata: &[u8]) -> bool {
        let mut message = b"\x01a\0".to_vec();
        message.extend_from_slice(rdata);
        check(record_type, &message, 3).is_ok()
    }

    #[test]
    fn fields_must_be_whole_but_may_be_missing() {
        assert!(fits(1, &[192, 0, 2, 1]));
        assert!(!fits(1, &[192, 0, 2]));
        assert!(!fits(1, &[192, 0, 2, 1, 0]));
        assert!(fits(1, &[]));
        assert!(fits(15, &[0, 10]), "MX that ends between two fields");
        assert!(!fits(15, &[0]));
        assert!(fits(15, &[0, 10, 0xc0, 0]));
        assert!(!fits(15, &[0, 10, 0xc0, 5]), "pointer beyond the data");
        assert!(fits(16, b"\x02hi\x00\x01x"));
        assert!(!fits(16, b"\x02h"));
        assert!(!fits(255, &[1]));
        assert!(fits(65281, &[1, 2, 3]));
    }

    #[test]
    fn bitmaps_prefixes_and_gateways() {
        assert!(fits(47, &[0, 0, 1, 0x40, 1, 1, 0x80]));
        assert!(!fits(47, &[0, 1, 1, 0x40, 0, 1, 0x80]), "windows out of order");
        assert!(!fits(47, &[0, 0, 0]), "empty window");
        assert!(fits(42, &[0, 1, 24, 3, 192, 0, 2]));
        assert!(!fits(42, &[0, 1, 24, 3, 192, 0, 0]));
        assert!(!fits(42, &[0, 3, 0, 0]));
        assert!(fits(45, &[10, 1, 2, 192, 0, 2, 1, 9, 9]));
        assert!(!fits(45, &[10, 1, 2, 192, 0]));
        assert!(fits(260, &[10, 0x81, 192, 0, 2, 1]));
        assert!(!fits(260, &[10, 0x80, 1]));
        assert!(fits(55, &[1, 2, 0, 2, 7, 8, 9, 0xc0, 0]));
        assert!(!fits(55, &[1, 2, 0, 2, 7, 8]));
        assert!(!fits(55, &[1, 2, 0, 2, 7]));
    }

    #[test]
    fn values_with_their_own_length() {
        let nsec3 = |rest: &[u8]| fits(50, &[&[1, 0, 0, 10][..], rest].concat());
        assert!(nsec3(&[2, 7, 7, 1, 9, 0, 1, 0x40]));
        assert!(nsec3(&[2]), "ends between length and value");
        assert!(!nsec3(&[2, 7]));
        assert!(!nsec3(&[2, 7, 7]), "ends after a value");
        assert!(nsec3(&[2, 7, 7, 1]));
        assert!(nsec3(&[2, 7, 7, 1, 9]), "the bit maps may be empty");
    }
}
