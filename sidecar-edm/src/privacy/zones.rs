//! Zones whose names say something about the site and nothing about the Internet.

use crate::names::Key;

/// Such a zone, as far as they can be told apart by a setting.
///
/// Reverse zones hold addresses by their nature, and with them every zone of RFC 6303. `home.arpa` (RFC 8375), `localhost`,
/// `test` and `invalid` (RFC 6761), `local` (RFC 6762), `internal` (ICANN Board resolution of 2024-07-29) and `service.arpa`
/// (RFC 9665) hold names of devices and sites; `resolver.arpa` (RFC 9462) is the resolver's own; names below `onion` (RFC 7686)
/// and `alt` (RFC 9476) are none of the DNS and reach a resolver by mistake only. A single label is a top-level domain that
/// everybody knows or else the name of a device that no search list was applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// `in-addr.arpa` and `ip6.arpa`.
    Reverse,
    /// `home.arpa`.
    HomeArpa,
    /// `localhost`.
    Localhost,
    /// `local`.
    Local,
    /// Any other of them, or a single label.
    Other,
}

/// The zone that a name is in or is the apex of. Looks at the last two labels and nothing else.
#[must_use]
pub fn zone(key: &Key) -> Option<Zone> {
    let mut suffixes = key.suffixes().rev();
    match suffixes.next()? {
        b"\x04arpa\0" => match suffixes.next() {
            Some(b"\x07in-addr\x04arpa\0" | b"\x03ip6\x04arpa\0") => Some(Zone::Reverse),
            Some(b"\x04home\x04arpa\0") => Some(Zone::HomeArpa),
            Some(b"\x07service\x04arpa\0" | b"\x08resolver\x04arpa\0") | None => Some(Zone::Other),
            Some(_) => None,
        },
        b"\x09localhost\0" => Some(Zone::Localhost),
        b"\x05local\0" => Some(Zone::Local),
        b"\x08internal\0" | b"\x05onion\0" | b"\x04test\0" | b"\x07invalid\0" | b"\x03alt\0" => Some(Zone::Other),
        _ => (key.starts().len() == 1).then_some(Zone::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::WireName;

    #[test]
    fn zones_end_where_labels_end() {
        let check = |name: &str, expected: bool| {
            let labels = name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes);
            let mut wire: Vec<u8> = labels.flat_map(|label| [&[label.len() as u8], label].concat()).collect();
            wire.push(0);
            let mut key = Key::default();
            key.read(WireName::from_octets(&wire).unwrap());
            assert_eq!(zone(&key).is_some(), expected, "{name}");
        };
        for name in ["1.2.0.192.in-addr.arpa.", "IN-ADDR.ARPA.", "8.b.d.0.1.0.0.2.ip6.arpa.", "10.in-addr.arpa.", "d.f.ip6.arpa."]
        {
            check(name, true);
        }
        for name in ["printer.home.arpa.", "localhost.", "a.localhost.", "nas.LOCAL.", "_ipp._tcp.local."] {
            check(name, true);
        }
        for name in
            ["db.corp.Internal.", "abc.onion.", "a.test.", "a.invalid.", "a.b.alt.", "_dns.resolver.arpa.", "x.service.arpa."]
        {
            check(name, true);
        }
        for name in ["alices-laptop.", "arpa."] {
            check(name, true);
        }
        for name in
            [".", "internal.example.", "e164.arpa.", "xin-addr.arpa.", "a.notlocal.", "local.example.", "in-addr.arpa.example."]
        {
            check(name, false);
        }
    }
}
