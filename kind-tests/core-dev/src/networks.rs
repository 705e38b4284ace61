//! Client addresses that may look at health and statistics. Core asks for no credentials there.

use std::net::IpAddr;
use std::str::FromStr;

/// One network: `127.0.0.0/8`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u32,
}

impl Network {
    /// Whether an address lies in it; an IPv4 address may come in IPv6 clothes.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (one, other, width) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(u32::from(one)), u128::from(u32::from(other)), 32),
            (IpAddr::V6(one), IpAddr::V6(other)) => (u128::from(one), u128::from(other), 128),
            _ => return false,
        };
        // A shift by all bits is none of the language's; a network of length 0 has everybody.
        (one ^ other).checked_shr(width - self.length).unwrap_or(0) == 0
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is no address"))?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => width,
            Some(length) => length.parse().ok().filter(|length| *length <= width).ok_or(format!("{length:?} is no length"))?,
        };
        Ok(Self { address, length })
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn networks_have_their_addresses() {
        let has = |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(has("127.0.0.0/8", "127.9.9.9") && has("127.0.0.0/8", "::ffff:127.0.0.1") && has("::1", "::1"));
        assert!(has("0.0.0.0/0", "192.0.2.1") && has("::/0", "2001:db8::1"));
        assert!(!has("127.0.0.0/8", "128.0.0.1") && !has("::1", "::2") && !has("0.0.0.0/0", "2001:db8::1"));
        for bad in ["", "localhost", "127.0.0.0/33", "127.0.0.0/x"] {
            assert!(bad.parse::<Network>().is_err(), "{bad:?}");
        }
    }
}
