//! Who may ask for the zone.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Who may ask for the zone: whoever asks from one of these places, and signs if that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// `loopback`, `pod` (the machine's own addresses), addresses, networks as 192.0.2.0/24.
    #[serde(default = "near")]
    pub from: Vec<String>,
    /// Files with TSIG keys ([`crate::tsig::TsigKey::parse`]) that requests may be signed with; they lie beside `pop.yaml`.
    #[serde(default)]
    pub tsig_key_files: Vec<String>,
    /// Transfers only for requests that are signed.
    #[serde(default)]
    pub signed_only: bool,
}

impl Default for Access {
    fn default() -> Self {
        Self { from: near(), tsig_key_files: Vec::new(), signed_only: false }
    }
}

impl Access {
    /// The places in strict form; what is none is left out, which the checks of the file refuse.
    #[must_use]
    pub fn clients(&self) -> Vec<Client> {
        self.from.iter().filter_map(|text| Client::parse(text)).collect()
    }
}

fn near() -> Vec<String> {
    vec!["loopback".to_owned(), "pod".to_owned()]
}

/// A place that may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// 127.0.0.0/8 and ::1.
    Loopback,
    /// The addresses of the machine itself: in Kubernetes, the Pod.
    Pod,
    /// A network.
    Network(Network),
}

impl Client {
    /// Reads `loopback`, `pod`, an address or a network.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "loopback" => Some(Self::Loopback),
            "pod" => Some(Self::Pod),
            text => Network::parse(text).map(Self::Network),
        }
    }
}

/// Addresses with a common beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads `192.0.2.0/24`, or an address alone. Bits behind the prefix must be zero: whoever writes others means another network.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let plain = |digits: &&str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = match prefix {
            None => bits,
            Some(digits) => Some(digits).filter(plain)?.parse().ok().filter(|prefix| *prefix <= bits)?,
        };
        let network = Self { address, prefix };
        (network.masked(address) == Some(number(address))).then_some(network)
    }

    /// Whether an address is in it. An IPv4 address that came over an IPv6 socket is what it was.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.masked(address) == Some(number(self.address))
    }

    fn masked(&self, address: IpAddr) -> Option<u128> {
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let behind = u32::from(bits.checked_sub(self.prefix)?);
        Some(number(address).checked_shr(behind).unwrap_or_default().checked_shl(behind).unwrap_or_default())
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_they_say() {
        let holds = |network: &str, address: &str| Network::parse(network).unwrap().contains(address.parse().unwrap());
        assert!(holds("192.0.2.0/24", "192.0.2.255") && !holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.1") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("0.0.0.0/0", "203.0.113.1") && holds("::/0", "2001:db8::1") && !holds("::/0", "192.0.2.1"));
        assert!(holds("2001:db8::/33", "2001:db8:7fff::1") && !holds("2001:db8::/33", "2001:db8:8000::1"));
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["", "local", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/+8", "::/129", "2001:db8::1/64", "/8"]
        {
            assert_eq!(Client::parse(text), None, "{text}");
        }
        assert_eq!((Client::parse("loopback"), Client::parse("pod")), (Some(Client::Loopback), Some(Client::Pod)));
    }
}
