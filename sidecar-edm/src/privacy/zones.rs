//! Zones whose names say something about the site and nothing about the Internet.

/// Reverse zones hold addresses by their nature, and with them every zone of RFC 6303. `home.arpa` (RFC 8375), `localhost`,
/// `test` and `invalid` (RFC 6761), `local` (RFC 6762), `internal` (ICANN Board resolution of 2024-07-29) and `service.arpa`
/// (RFC 9665) hold names of devices and sites; `resolver.arpa` (RFC 9462) is the resolver's own; names below `onion` (RFC 7686)
/// and `alt` (RFC 9476) are none of the DNS and reach a resolver by mistake only.
const ZONES: [&[&str]; 12] = [
    &["in-addr", "arpa"],
    &["ip6", "arpa"],
    &["home", "arpa"],
    &["service", "arpa"],
    &["resolver", "arpa"],
    &["localhost"],
    &["local"],
    &["internal"],
    &["onion"],
    &["test"],
    &["invalid"],
    &["alt"],
];

/// The name is in such a zone, or is its apex; or it has a single label, which is a top-level domain that everybody knows or
/// else the name of a device that no search list was applied to.
pub fn is_special_use<'a>(labels: impl Iterator<Item = &'a [u8]>) -> bool {
    let labels: Vec<&[u8]> = labels.collect();
    labels.len() == 1
        || ZONES.iter().any(|zone| {
            labels.len() >= zone.len()
                && labels[labels.len() - zone.len()..]
                    .iter()
                    .zip(*zone)
                    .all(|(label, expected)| label.eq_ignore_ascii_case(expected.as_bytes()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_end_where_labels_end() {
        let check = |name: &str, expected: bool| {
            let labels = name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes);
            assert_eq!(is_special_use(labels), expected, "{name}");
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
