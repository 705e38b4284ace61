//! EDNS options and service parameters: pairs of a code and a value.

use super::DnsError;
use super::name;
use super::rdata::advance;

/// Checks the EDNS options up to the end of the message.
pub(super) fn check_edns(message: &[u8], mut offset: usize) -> Result<usize, DnsError> {
    while offset < message.len() {
        let (code, value, next) = pair(message, offset)?;
        if !edns_value_fits(code, value) {
            return Err(DnsError::RecordData);
        }
        offset = next;
    }
    Ok(offset)
}

/// Checks the service parameters up to the end of the message: RFC 9460 section 2.2.
pub(super) fn check_service_parameters(message: &[u8], mut offset: usize) -> Result<usize, DnsError> {
    let mut last = None;
    while offset < message.len() {
        let (key, value, next) = pair(message, offset)?;
        if last.is_some_and(|last| key <= last) || !service_value_fits(key, value) {
            return Err(DnsError::RecordData);
        }
        last = Some(key);
        offset = next;
    }
    Ok(offset)
}

fn pair(message: &[u8], offset: usize) -> Result<(u16, &[u8], usize), DnsError> {
    let start = advance(message, offset, 4)?;
    let code = u16::from_be_bytes([message[offset], message[offset + 1]]);
    let length = u16::from_be_bytes([message[offset + 2], message[offset + 3]]);
    let end = advance(message, start, usize::from(length))?;
    Ok((code, &message[start..end], end))
}

fn edns_value_fits(code: u16, value: &[u8]) -> bool {
    match code {
        // Long-lived queries
        1 => value.len() >= 18,
        // Update lease
        2 => matches!(value.len(), 4 | 8),
        // Client subnet (RFC 7871 section 6). Family 0 without a prefix is what some tools send.
        8 => match value {
            [0, 0, prefix, _, ..] => *prefix == 0,
            [0, 1, prefix, scope, ..] => *prefix <= 32 && *scope <= 32,
            [0, 2, prefix, scope, ..] => *prefix <= 128 && *scope <= 128,
            _ => false,
        },
        // Expire
        9 => value.is_empty() || value.len() >= 4,
        // TCP keep-alive
        11 => matches!(value.len(), 0 | 2),
        // Extended error, zone version
        15 | 19 => value.len() >= 2,
        // Report channel
        18 => name::skip(value, 0).is_ok(),
        _ => true,
    }
}

fn service_value_fits(key: u16, value: &[u8]) -> bool {
    match key {
        // mandatory
        0 => value.len().is_multiple_of(2),
        // alpn
        1 => protocols_fit(value),
        // no-default-alpn, ohttp
        2 | 8 => value.is_empty(),
        // port
        3 => value.len() == 2,
        // ipv4hint
        4 => !value.is_empty() && value.len().is_multiple_of(4),
        // ipv6hint; mapped IPv4 is not IPv6
        6 => {
            let (addresses, rest) = value.as_chunks::<16>();
            !addresses.is_empty()
                && rest.is_empty()
                && addresses.iter().all(|octets| std::net::Ipv6Addr::from(*octets).to_ipv4_mapped().is_none())
        }
        // reserved
        u16::MAX => false,
        _ => true,
    }
}

fn protocols_fit(mut value: &[u8]) -> bool {
    while let Some((length, rest)) = value.split_first() {
        let Some((_, after)) = rest.split_at_checked(usize::from(*length)) else { return false };
        value = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(code: u16, value: &[u8]) -> Vec<u8> {
        let mut octets = code.to_be_bytes().to_vec();
        octets.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        octets.extend_from_slice(value);
        octets
    }

    #[test]
    fn edns_options() {
        let fits = |code: u16, value: &[u8]| check_edns(&option(code, value), 0).is_ok();
        assert!(fits(8, &[0, 1, 24, 0, 192, 0, 2]));
        assert!(!fits(8, &[0, 1, 33, 0]));
        assert!(!fits(8, &[0, 3, 0, 0]));
        assert!(fits(8, &[0, 0, 0, 0]));
        assert!(!fits(11, &[1]));
        assert!(!fits(15, &[1]));
        assert!(fits(65001, &[]));
        assert!(check_edns(&[0, 8, 0], 0).is_err());
        assert!(check_edns(&[0, 12, 0, 2, 0], 0).is_err());
    }

    #[test]
    fn service_parameters() {
        let fits = |pairs: &[(u16, &[u8])]| {
            let octets: Vec<u8> = pairs.iter().flat_map(|(key, value)| option(*key, value)).collect();
            check_service_parameters(&octets, 0).is_ok()
        };
        assert!(fits(&[(1, b"\x02h2\x02h3"), (4, &[192, 0, 2, 1])]));
        assert!(!fits(&[(4, &[192, 0, 2, 1]), (1, b"\x02h2")]), "keys out of order");
        assert!(!fits(&[(1, b"\x03h2")]));
        assert!(!fits(&[(3, &[1])]));
        assert!(!fits(&[(6, &[0; 15])]));
        assert!(!fits(&[(u16::MAX, &[])]));
    }
}
