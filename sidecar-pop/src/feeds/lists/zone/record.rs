//! What a record of a zone file says.

use std::net::{Ipv4Addr, Ipv6Addr};

use tapir_wire::name::{MAX_NAME, Name};

use super::words::Word;
use super::{BadLine, Line};
use crate::dns::records::WireName;
use crate::dns::records::kind::{A, AAAA, CNAME, NS, SOA};
use crate::feeds::record::is_of_dnssec;

/// What it says, from its words behind the type.
pub(super) fn record(owner: WireName, kind: u16, words: &[Word], origin: &WireName) -> Result<Line, BadLine> {
    let text = |index: usize| words.get(index).map(|word| word.text.as_str()).ok_or(BadLine::Data);
    let alone = |count: usize| if words.len() == count { Ok(()) } else { Err(BadLine::Data) };
    if text(0).is_ok_and(|text| text == "\\#") {
        let data = generic(words)?;
        return Ok(match kind {
            CNAME => Line::Alias { owner, target: WireName::from_wire(&data).map_err(|_| BadLine::Data)? },
            SOA => return Err(BadLine::Type),
            _ => Line::Other { owner, kind, data },
        });
    }
    let data = match kind {
        SOA => {
            alone(7)?;
            let serial = text(2)?.parse().map_err(|_| BadLine::Data)?;
            return Ok(Line::Soa { owner, serial });
        }
        CNAME => {
            alone(1)?;
            return Ok(Line::Alias { owner, target: name(text(0)?, origin)? });
        }
        A => {
            alone(1)?;
            text(0)?.parse::<Ipv4Addr>().map_err(|_| BadLine::Data)?.octets().to_vec()
        }
        AAAA => {
            alone(1)?;
            text(0)?.parse::<Ipv6Addr>().map_err(|_| BadLine::Data)?.octets().to_vec()
        }
        NS | PTR => {
            alone(1)?;
            name(text(0)?, origin)?.as_bytes().to_vec()
        }
        MX => {
            alone(2)?;
            let preference: u16 = text(0)?.parse().map_err(|_| BadLine::Data)?;
            [&preference.to_be_bytes(), name(text(1)?, origin)?.as_bytes()].concat()
        }
        TXT => {
            text(0)?;
            let mut data = Vec::new();
            for word in words {
                let octets = unescaped(&word.text).ok_or(BadLine::Data)?;
                data.push(u8::try_from(octets.len()).map_err(|_| BadLine::Data)?);
                data.extend(octets);
            }
            data
        }
        // What belongs to a zone and to no policy is not read, and not missed.
        _ if !words.is_empty() && is_of_dnssec(kind) => Vec::new(),
        _ => return Err(BadLine::Type),
    };
    Ok(Line::Other { owner, kind, data })
}

const PTR: u16 = 12;
const MX: u16 = 15;
const TXT: u16 = 16;

/// Types by name; those of DNSSEC are known so that they can be left out.
const KINDS: [(&str, u16); 21] = [
    ("A", A),
    ("NS", NS),
    ("CNAME", CNAME),
    ("SOA", SOA),
    ("PTR", PTR),
    ("MX", MX),
    ("TXT", TXT),
    ("AAAA", AAAA),
    ("SRV", 33),
    ("DNAME", 39),
    ("DS", 43),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("NSEC3", 50),
    ("NSEC3PARAM", 51),
    ("CDS", 59),
    ("CDNSKEY", 60),
    ("CSYNC", 62),
    ("ZONEMD", 63),
    ("SIG", 24),
];

/// The number of a type.
pub(super) fn kind(text: &str) -> Option<u16> {
    let by_name = KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, kind)| *kind);
    let prefix = |text: &str| text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("TYPE"));
    by_name.or_else(|| text.get(4..).filter(|_| prefix(text))?.parse().ok())
}

/// RFC 3597 section 5.
fn generic(words: &[Word]) -> Result<Vec<u8>, BadLine> {
    let length: usize = words.get(1).and_then(|word| word.text.parse().ok()).ok_or(BadLine::Data)?;
    let digits: String = words.iter().skip(2).map(|word| word.text.as_str()).collect();
    let pair = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let good = digits.len() == length.saturating_mul(2) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let octets: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(pair).collect();
    octets.filter(|_| good).ok_or(BadLine::Data)
}

/// A name as it stands in a file: `@`, with the final dot, or below the origin.
pub(in crate::feeds::lists) fn name(text: &str, origin: &WireName) -> Result<WireName, BadLine> {
    if text == "@" {
        return Ok(*origin);
    }
    let name = Name::parse(text).map_err(|_| BadLine::Name)?;
    if is_absolute(text) {
        return Ok(WireName::from(&name));
    }
    let mut wire = name.to_wire();
    wire.pop();
    wire.extend(origin.as_bytes());
    if wire.len() > MAX_NAME {
        return Err(BadLine::Name);
    }
    WireName::from_wire(&wire).map_err(|_| BadLine::Name)
}

/// It ends with a dot that is not escaped.
fn is_absolute(text: &str) -> bool {
    let Some(front) = text.strip_suffix('.') else { return false };
    let backslashes = front.bytes().rev().take_while(|byte| *byte == b'\\').count();
    // In `\092.` the digits stand between; in `\\.` the second backslash is what is escaped.
    backslashes % 2 == 0
}

fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'\\' {
            octets.push(first);
            continue;
        }
        match rest {
            [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', tail @ ..] => {
                let value = [a, b, c].into_iter().fold(0_u16, |value, digit| value * 10 + u16::from(digit - b'0'));
                octets.push(u8::try_from(value).ok()?);
                rest = tail;
            }
            [octet, tail @ ..] => {
                octets.push(*octet);
                rest = tail;
            }
            [] => return None,
        }
    }
    Some(octets)
}
