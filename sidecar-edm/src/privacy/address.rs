//! Does a name embed the address of the client that asks for it?
//!
//! Providers, dynamic DNS services and trackers put addresses into names in many spellings. Found are, for IPv4, the four
//! numbers in decimal (any separators of up to three octets, leading zeros allowed) or hexadecimal, the zero-padded decimal
//! form, the whole address as one number in decimal, the two groups that it is at the end of an IPv6 address; for IPv6, all groups
//! written out, the compressed form with `-` for `:`, and the plain 32 digits; for both, the octets as they are. Each forward and
//! reversed. A match by chance costs one event; a miss costs a client's privacy.
//!
//! Limitations: encodings such as base32, and parts of an address (only its host part, say), are not recognised.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most octets between two numbers of an address (`192--0--2--1`, `a192x0x2x1`).
const MAX_GAP: usize = 3;

/// The name made of `labels` spells `client`.
pub fn embeds<'a>(labels: impl Iterator<Item = &'a [u8]>, client: IpAddr) -> bool {
    let name = Spelling::new(labels);
    match client {
        IpAddr::V4(address) => name.embeds_v4(address),
        IpAddr::V6(address) => name.embeds_v6(address) || inner_v4(address).is_some_and(|inner| name.embeds_v4(inner)),
    }
}

/// IPv4 inside IPv6: mapped (RFC 4291), translated (RFC 6052) and 6to4 (RFC 3056).
fn inner_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let at = |offset: usize| Ipv4Addr::new(octets[offset], octets[offset + 1], octets[offset + 2], octets[offset + 3]);
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(at(12)),
        [0x2002, ..] => Some(at(2)),
        _ => None,
    }
}

struct Spelling {
    /// Lower case, everything but letters and digits made `-`, label borders too.
    dashed: Vec<u8>,
    /// Letters and digits alone.
    dense: Vec<u8>,
    /// All octets of all labels, in lower case.
    raw: Vec<u8>,
}

impl Spelling {
    fn new<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut dashed = Vec::with_capacity(256);
        let mut raw = Vec::with_capacity(256);
        for label in labels {
            raw.extend(label.iter().map(u8::to_ascii_lowercase));
            dashed
                .extend(label.iter().map(|octet| if octet.is_ascii_alphanumeric() { octet.to_ascii_lowercase() } else { b'-' }));
            dashed.push(b'-');
        }
        let dense = dashed.iter().copied().filter(|octet| *octet != b'-').collect();
        Self { dashed, dense, raw }
    }

    fn embeds_v4(&self, address: Ipv4Addr) -> bool {
        let octets = address.octets();
        let mut reversed = octets;
        reversed.reverse();
        let [a, b, c, d] = octets;
        let [high, low] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        let grouped = self.has_groups(&[high, low]) || self.has_groups(&[low, high]);
        grouped
            || [octets, reversed].iter().any(|order| {
                let number = u32::from_be_bytes(*order);
                let padded: String = order.iter().map(|octet| format!("{octet:03}")).collect();
                self.has_digits(&padded)
                    || self.has_digits(&number.to_string())
                    || self.has_hexadecimal(order)
                    || self.has_numbers(order)
                    || self.has_octets(order)
            })
    }

    fn embeds_v6(&self, address: Ipv6Addr) -> bool {
        let mut reversed_groups = address.segments();
        reversed_groups.reverse();
        let mut reversed_octets = address.octets();
        reversed_octets.reverse();
        let grouped = [address.segments(), reversed_groups].iter().any(|groups| {
            let group_octets: Vec<u8> = groups.iter().flat_map(|group| group.to_be_bytes()).collect();
            self.has_hexadecimal(&group_octets) || self.has_groups(groups)
        });
        grouped
            || self.has_hexadecimal(&reversed_octets)
            || self.has_octets(&address.octets())
            || self.has_octets(&reversed_octets)
            || self.has_bounded(&address.to_string().replace([':', '.'], "-"))
    }

    /// The octets themselves, in one label or in several.
    fn has_octets(&self, octets: &[u8]) -> bool {
        contains(&self.raw, &octets.to_ascii_lowercase())
    }

    /// Hexadecimal digits of the octets, or of the same with all digits reversed, wherever they stand.
    fn has_hexadecimal(&self, octets: &[u8]) -> bool {
        let mut digits: Vec<u8> = hex::encode(octets).into_bytes();
        if contains(&self.dense, &digits) {
            return true;
        }
        digits.reverse();
        contains(&self.dense, &digits)
    }

    /// The digits, with no further digit around them.
    fn has_digits(&self, digits: &str) -> bool {
        runs(&self.dashed, u8::is_ascii_digit).any(|(_, run)| run == digits.as_bytes())
    }

    /// Four numbers in a row, decimal or hexadecimal.
    fn has_numbers(&self, octets: &[u8; 4]) -> bool {
        let decimal: Vec<_> =
            runs(&self.dashed, u8::is_ascii_digit).map(|(start, run)| (start, run.len(), number(run, 10))).collect();
        let hexadecimal: Vec<_> =
            runs(&self.dashed, u8::is_ascii_alphanumeric).map(|(start, run)| (start, run.len(), number(run, 16))).collect();
        let expected: Vec<u16> = octets.iter().map(|octet| u16::from(*octet)).collect();
        has_sequence(&decimal, &expected) || has_sequence(&hexadecimal, &expected)
    }

    /// Groups in a row without leading zeros (with them, the plain digits were found already).
    fn has_groups(&self, groups: &[u16]) -> bool {
        let written: Vec<_> =
            runs(&self.dashed, u8::is_ascii_alphanumeric).map(|(start, run)| (start, run.len(), number(run, 16))).collect();
        has_sequence(&written, groups)
    }

    /// The text, with no hexadecimal digit around it.
    fn has_bounded(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.dashed.windows(text.len()).enumerate().any(|(start, window)| {
            let before = start.checked_sub(1).and_then(|index| self.dashed.get(index));
            let after = self.dashed.get(start + text.len());
            window == text && !before.is_some_and(u8::is_ascii_hexdigit) && !after.is_some_and(u8::is_ascii_hexdigit)
        })
    }
}

/// Start and octets of each longest run of octets of one kind.
fn runs(text: &[u8], kind: impl Fn(&u8) -> bool + Copy) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text.get(at..)?.iter().position(kind)?;
        let length = text[start..].iter().position(|octet| !kind(octet)).unwrap_or(text.len() - start);
        at = start + length;
        Some((start, &text[start..at]))
    })
}

fn number(run: &[u8], radix: u32) -> Option<u16> {
    let significant = run.iter().position(|digit| *digit != b'0').map_or(&b"0"[..], |first| &run[first..]);
    u16::from_str_radix(std::str::from_utf8(significant).ok()?, radix).ok()
}

fn has_sequence(numbers: &[(usize, usize, Option<u16>)], expected: &[u16]) -> bool {
    numbers.windows(expected.len()).any(|window| {
        let values = window.iter().zip(expected).all(|((.., value), expected)| *value == Some(*expected));
        values && window.windows(2).all(|pair| pair[1].0 - (pair[0].0 + pair[0].1) <= MAX_GAP)
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spelled(name: &str, client: &str) -> bool {
        embeds(name.split('.').map(str::as_bytes), client.parse().unwrap())
    }

    #[test]
    fn finds_ipv4_in_every_form() {
        for name in [
            "192.0.2.171.example",
            "171.2.0.192.dnsbl.example",
            "192-0-2-171.dyn.example",
            "ip-192-0-2-171.eu.example",
            "host171-2-0-192.example",
            "192_0_2_171.example",
            "a192x0x2x171.example",
            "192.0.002.171.example",
            "192000002171.example",
            "171002000192.example",
            "c00002ab.example",
            "C00002AB.nip.example",
            "xc00002ab0.example",
            "ab0200c0.example",
            "ba20000c.example",
            "c0.0.2.ab.example",
            "c0-00-02-ab.example",
            "3221226155.example",
            "t.192--0--2--171.example",
            "0-0-0-0-0-ffff-c000-2ab.example",
            "2ab.c000.example",
        ] {
            assert!(spelled(name, "192.0.2.171"), "{name}");
            assert!(spelled(name, "::ffff:192.0.2.171"), "{name} from a mapped address");
            assert!(!spelled(name, "192.0.2.170"), "{name} for somebody else");
        }
    }

    #[test]
    fn finds_the_octets_themselves() {
        let found = |labels: &[&[u8]], client: &str| embeds(labels.iter().copied(), client.parse().unwrap());
        let client = "198.18.128.3";
        assert!(found(&[b"x\xc6\x12\x80\x03y", b"example"], client));
        assert!(found(&[b"\x03\x80\x12\xc6", b"example"], client));
        assert!(found(&[b"\xc6", b"\x12", b"\x80", b"\x03", b"example"], client));
        assert!(!found(&[b"\xc6\x12\x80\x04", b"example"], client));
        assert!(found(&[b"\x41\x42\x01\x02"], "65.66.1.2") && found(&[b"\x61\x62\x01\x02"], "65.66.1.2"), "in either case");
        let mut octets = "2001:db8::ab:cd12".parse::<Ipv6Addr>().unwrap().octets();
        assert!(found(&[&octets[..], b"example"], "2001:db8::ab:cd12"));
        octets.reverse();
        assert!(found(&[&octets[..], b"example"], "2001:db8::ab:cd12"));
    }

    #[test]
    fn does_not_find_other_names() {
        for name in
            ["www.example.com", "192.0.2.example", "1192.0.2.171.example", "192.0.2.1711.example", "192.0.2.abcd.171.example", ""]
        {
            assert!(!spelled(name, "192.0.2.171"), "{name}");
        }
        assert!(!spelled("a1.b2.example", "10.0.0.1"));
        assert!(!spelled("foo10001.example", "10.0.0.1"));
    }

    #[test]
    fn finds_ipv6_in_every_form() {
        let client = "2001:db8::ab:cd12";
        for name in [
            "2001-db8--ab-cd12.example",
            "h-2001-db8--ab-cd12-x.example",
            "2001-db8-0-0-0-0-ab-cd12.example",
            "2001-0db8-0000-0000-0000-0000-00ab-cd12.example",
            "20010db8000000000000000000abcd12.example",
            "2.1.d.c.b.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.example",
            "2.0.0.1.0.d.b.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.b.c.d.1.2.example",
            "cd12-ab-0-0-0-0-db8-2001.example",
            "12cdab000000000000000000b80d0120.example",
        ] {
            assert!(spelled(name, client), "{name}");
            assert!(!spelled(name, "2001:db8::ab:cd13"), "{name} for somebody else");
        }
        assert!(!spelled("2001-db8--ab-cd123.example", client));
        assert!(spelled("192-0-2-1.example", "64:ff9b::c000:201"));
        assert!(spelled("192-0-2-1.example", "2002:c000:201::1"));
    }

    proptest! {
        #[test]
        fn any_name_is_read_without_panic(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..5), v4: [u8; 4], v6: [u8; 16]) {
            let _ = embeds(labels.iter().map(Vec::as_slice), v4.into());
            let _ = embeds(labels.iter().map(Vec::as_slice), v6.into());
        }

        #[test]
        fn any_address_is_found(octets: [u8; 4], prefix in "[a-z]{0,5}-?") {
            let [a, b, c, d] = octets;
            for name in [
                format!("{prefix}{a}-{b}-{c}-{d}.example"),
                format!("{d}.{c}.{b}.{a}.example"),
                format!("{a:02x}{b:02x}{c:02x}{d:02x}.example"),
            ] {
                prop_assert!(embeds(name.split('.').map(str::as_bytes), octets.into()));
            }
        }
    }
}
