//! Clients that are left out (`edm.md` 6.1).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest line in octets, as upstream's reader has it.
const MAX_LINE: usize = 64 << 10;
/// Prefixes of a list at most.
const MAX_PREFIXES: usize = 1_000_000;

/// Address ranges of a list, joined where they touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    prefixes: usize,
}

/// What becomes of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientVerdict {
    /// It counts.
    Counts,
    /// It is on the list.
    Ignored,
    /// There is a list, and nobody can tell whether the client is on it.
    Unknown,
}

/// A list that is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("list of clients, line {line}: {reason}")]
pub struct ClientListError {
    /// From 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub reason: LineError,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Longer than 64 KiB.
    #[error("is longer than 64 KiB")]
    TooLong,
    /// No slash.
    #[error("has no prefix length: write a single address as 192.0.2.1/32 or 2001:db8::1/128, without spaces or comments")]
    NoLength,
    /// Neither kind of address.
    #[error("is no IPv4 or IPv6 address in front of the slash")]
    Address,
    /// A length that such an address has not.
    #[error("has no decimal prefix length up to 32 (IPv4) or 128 (IPv6) behind the slash")]
    Length,
    /// More than a million.
    #[error("is one prefix more than the million that are taken")]
    TooMany,
}

impl Clients {
    /// Reads a list: one prefix a line, nothing around it; empty lines, and lines that begin with `#`, are passed over.
    pub fn parse(text: &[u8]) -> Result<Self, ClientListError> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (number, line) in text.split(|octet| *octet == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let failed = |reason| ClientListError { line: number + 1, reason };
            if line.len() >= MAX_LINE {
                return Err(failed(LineError::TooLong));
            }
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if v4.len() + v6.len() == MAX_PREFIXES {
                return Err(failed(LineError::TooMany));
            }
            match prefix(line).map_err(failed)? {
                Range::V4(first, last) => v4.push((first, last)),
                Range::V6(first, last) => v6.push((first, last)),
            }
        }
        let prefixes = v4.len() + v6.len();
        Ok(Self { v4: joined(v4, |last| last.checked_add(1)), v6: joined(v6, |last| last.checked_add(1)), prefixes })
    }

    /// How many prefixes the list has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.prefixes
    }

    /// Whether nobody is left out: then no address is looked at.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.prefixes == 0
    }

    /// Judges the octets of an address as received: one of IPv4 within IPv6 is IPv6 here.
    #[must_use]
    pub fn judge(&self, address: Option<&[u8]>) -> ClientVerdict {
        if self.is_empty() {
            return ClientVerdict::Counts;
        }
        let address = address.unwrap_or_default();
        let listed = if let Ok(octets) = address.try_into() {
            within(&self.v4, u32::from_be_bytes(octets))
        } else if let Ok(octets) = address.try_into() {
            within(&self.v6, u128::from_be_bytes(octets))
        } else {
            return ClientVerdict::Unknown;
        };
        if listed { ClientVerdict::Ignored } else { ClientVerdict::Counts }
    }
}

fn within<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= address);
    behind.checked_sub(1).and_then(|place| ranges.get(place)).is_some_and(|(_, last)| address <= *last)
}

/// In order, and none that another one covers or touches.
fn joined<T: Ord + Copy>(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    ranges.dedup_by(|(first, last), (_, before)| {
        let touches = next(*before).is_none_or(|next| *first <= next);
        if touches {
            *before = (*before).max(*last);
        }
        touches
    });
    ranges.shrink_to_fit();
    ranges
}

enum Range {
    V4(u32, u32),
    V6(u128, u128),
}

fn prefix(line: &[u8]) -> Result<Range, LineError> {
    let slash = line.iter().rposition(|octet| *octet == b'/').ok_or(LineError::NoLength)?;
    let (address, length) = line.split_at(slash);
    let address = std::str::from_utf8(address).map_err(|_| LineError::Address)?;
    let length = length.get(1..).and_then(decimal).ok_or(LineError::Length);
    if let Ok(address) = address.parse::<Ipv4Addr>() {
        let length = length?;
        let host = u32::MAX.checked_shr(length).unwrap_or(0);
        let first = u32::from(address) & !host;
        return if length <= 32 { Ok(Range::V4(first, first | host)) } else { Err(LineError::Length) };
    }
    let address = address.parse::<Ipv6Addr>().map_err(|_| LineError::Address)?;
    let length = length?;
    let host = u128::MAX.checked_shr(length).unwrap_or(0);
    let first = u128::from(address) & !host;
    if length <= 128 { Ok(Range::V6(first, first | host)) } else { Err(LineError::Length) }
}

/// At most three digits, no zero in front.
fn decimal(text: &[u8]) -> Option<u32> {
    let plain = matches!(text, [b'0'] | [b'1'..=b'9', ..]) && text.len() <= 3;
    plain.then(|| text.iter().try_fold(0, |number, digit| Some(number * 10 + char::from(*digit).to_digit(10)?)))?
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::vectors;

    fn octets(address: IpAddr) -> Vec<u8> {
        match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }
    }

    fn judge(list: &Clients, address: &str) -> ClientVerdict {
        list.judge(Some(&octets(address.parse().unwrap())))
    }

    /// Lists of our own of which upstream's decisions are true, and its numbers of prefixes: its files are not copied here.
    const OWN: [(&str, &str); 4] = [
        ("ignored-client-ips.valid1", "10.0.0.0/8\n127.0.0.1/32\n127.0.0.2/32\n2001:db8::/32\n::1/128\n::2/128\n"),
        ("ignored-client-ips.valid2", "127.0.0.3/32\n127.0.0.4/32\n198.51.100.0/24\n3fff::/20\n::3/128\n::4/128\n"),
        ("ignored-client-ips.empty-lines-and-comments", "\n# one and one\n127.0.0.2/32\n\n\n#\n::1/128\n#127.0.0.1/32\n\n"),
        ("ignored-client-ips.empty", ""),
    ];

    #[test]
    fn recorded_lists() {
        let vector = vectors::load("ignored_clients.json");
        let counts = vector["cidr_counts"].as_object().unwrap();
        assert_eq!(counts.len(), OWN.len());
        let mut ran = 0;
        for (file, own) in OWN {
            let theirs = vectors::upstream(&format!("edm/lists/{file}"));
            for text in [Some(own.as_bytes().to_vec()), theirs].into_iter().flatten() {
                let list = Clients::parse(&text).unwrap();
                assert_eq!(list.len() as u64, counts[file].as_u64().unwrap(), "{file}");
                for case in vector["vectors"].as_array().unwrap().iter().filter(|case| case["file"] == file) {
                    let ignored = case["ignored"].as_bool().unwrap();
                    let expected = if ignored { ClientVerdict::Ignored } else { ClientVerdict::Counts };
                    assert_eq!(judge(&list, case["query_address"].as_str().unwrap()), expected, "{case}");
                    ran += 1;
                }
            }
        }
        let cases = vector["vectors"].as_array().unwrap().len();
        assert!(ran == cases || ran == 2 * cases, "{ran} of {cases}");
    }

    #[test]
    fn recorded_lines() {
        let vector = vectors::load("ignored_clients.json");
        let lines = vector["line_handling"].as_array().unwrap();
        assert_eq!(lines.len(), 14);
        for case in lines {
            let line = case["line"].as_str().unwrap();
            let read = Clients::parse(format!("::/128\n{line}\n").as_bytes());
            assert_eq!(read.is_ok(), case["ok"].as_bool().unwrap(), "{case}: {read:?}");
            if let Err(error) = read {
                assert_eq!(error.line, 2);
            }
        }
    }

    #[test]
    fn recorded_addresses_that_are_none() {
        let vector = vectors::load("ignored_clients.json");
        for case in vector["unparsable_query_address"].as_array().unwrap() {
            let list = Clients::parse(if case["list"] == "non-empty" { b"10.0.0.0/8" } else { b"# nobody" }).unwrap();
            let address = case["query_address_hex"].as_str().map(|text| hex::decode(text).unwrap());
            let expected = if case["ignored"].as_bool().unwrap() { ClientVerdict::Unknown } else { ClientVerdict::Counts };
            assert_eq!(list.judge(address.as_deref()), expected, "{case}");
        }
    }

    #[test]
    fn prefixes_that_overlap_and_touch() {
        let list = Clients::parse(b"10.0.0.128/25\n10.0.0.0/25\n10.0.0.7/32\n255.255.255.0/24\n0.0.0.0/32\n::/0").unwrap();
        assert_eq!((list.v4.len(), list.v6.len(), list.len()), (3, 1, 6));
        for address in ["10.0.0.0", "10.0.0.127", "10.0.0.255", "255.255.255.255", "0.0.0.0", "::", "ffff::1"] {
            assert_eq!(judge(&list, address), ClientVerdict::Ignored, "{address}");
        }
        for address in ["9.255.255.255", "10.0.1.0", "0.0.0.1", "255.255.254.255"] {
            assert_eq!(judge(&list, address), ClientVerdict::Counts, "{address}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let said = |text: &str| Clients::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(said("10.0.0.0/8\n\n10.0.0.1").starts_with("list of clients, line 3: has no prefix length"));
        assert!(said("10.0.0/8").contains("is no IPv4 or IPv6 address"));
        assert!(said("::/129").contains("up to 32 (IPv4) or 128 (IPv6)"));
        assert_eq!(Clients::parse(&vec![b'#'; MAX_LINE]).unwrap_err().reason, LineError::TooLong);
        assert!(Clients::parse(&vec![b'#'; MAX_LINE - 1]).unwrap().is_empty());
        assert_eq!(Clients::parse(b"\xff/8").unwrap_err().reason, LineError::Address);
    }

    /// A prefix of either kind as it is written, host bits and all.
    fn any_prefix() -> impl Strategy<Value = (IpAddr, u32)> {
        // Few octets, so that prefixes meet.
        let octet = || prop_oneof![Just(0_u8), Just(1), Just(0x7f), Just(0x80), Just(0xff)];
        let v4 = (prop::array::uniform4(octet()), 0_u32..=32).prop_map(|(octets, length)| (IpAddr::from(octets), length));
        let v6 = (prop::array::uniform16(octet()), 0_u32..=128).prop_map(|(octets, length)| (IpAddr::from(octets), length));
        prop_oneof![v4, v6]
    }

    /// Bit by bit.
    fn covers((prefix, length): (IpAddr, u32), address: &[u8]) -> bool {
        let prefix = octets(prefix);
        let bit = |octets: &[u8], place: u32| octets[place as usize / 8] >> (7 - place % 8) & 1;
        prefix.len() == address.len() && (0..length).all(|place| bit(&prefix, place) == bit(address, place))
    }

    proptest! {
        #[test]
        fn judged_as_by_looking_at_every_prefix_bit_by_bit(
            prefixes in prop::collection::vec(any_prefix(), 1..20),
            asked in prop::collection::vec(any_prefix(), 0..20),
            ends in prop::collection::vec("(\n|\r\n|\n\n|\n#[a-z0-9./ ]{0,9}\r\n)", 20),
        ) {
            let lines = prefixes.iter().zip(&ends).map(|((address, length), end)| format!("{address}/{length}{end}"));
            let list = Clients::parse(lines.collect::<String>().as_bytes()).unwrap();
            prop_assert_eq!(list.len(), prefixes.len());
            // The first and the last of each prefix, and what lies beside them.
            let mut addresses: Vec<Vec<u8>> = asked.into_iter().map(|(address, _)| octets(address)).collect();
            for (address, length) in &prefixes {
                match address {
                    IpAddr::V4(address) => {
                        let host = u32::MAX.checked_shr(*length).unwrap_or(0);
                        let (first, last) = (u32::from(*address) & !host, u32::from(*address) | host);
                        let edges = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
                        addresses.extend(edges.map(|edge| edge.to_be_bytes().to_vec()));
                    }
                    IpAddr::V6(address) => {
                        let host = u128::MAX.checked_shr(*length).unwrap_or(0);
                        let (first, last) = (u128::from(*address) & !host, u128::from(*address) | host);
                        let edges = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
                        addresses.extend(edges.map(|edge| edge.to_be_bytes().to_vec()));
                    }
                }
            }
            for address in addresses {
                let listed = prefixes.iter().any(|prefix| covers(*prefix, &address));
                let expected = if listed { ClientVerdict::Ignored } else { ClientVerdict::Counts };
                prop_assert_eq!(list.judge(Some(&address)), expected, "{:?}", address);
            }
        }
    }
}
