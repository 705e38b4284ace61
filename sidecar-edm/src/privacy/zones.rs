//! Zones whose names say something about the site and nothing about the Internet.

/// Reverse zones hold addresses by their nature, and with them every zone of RFC 6303; `home.arpa` (RFC 8375), `localhost`
/// (RFC 6761) and `local` (RFC 6762) hold names of devices.
const ZONES: [&[&str]; 5] = [&["in-addr", "arpa"], &["ip6", "arpa"], &["home", "arpa"], &["localhost"], &["local"]];

/// The name is in such a zone, or is its apex.
pub fn is_special_use<'a>(labels: impl Iterator<Item = &'a [u8]>) -> bool {
    let labels: Vec<&[u8]> = labels.collect();
    ZONES.iter().any(|zone| {
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
        for name in [".", "arpa.", "e164.arpa.", "xin-addr.arpa.", "notlocal.", "local.example.", "in-addr.arpa.example."] {
            check(name, false);
        }
    }
}
