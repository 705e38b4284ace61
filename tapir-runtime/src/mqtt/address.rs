//! Broker URLs.

/// Where the broker is and whether it speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokerAddress {
    pub(super) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Why a broker URL is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("broker URL has the unknown scheme {0:?}")]
    Scheme(String),
    #[error("broker URL has no host")]
    NoHost,
    #[error("broker URL has the bad port {0:?}")]
    Port(String),
    #[error("broker URL has a path, query or user: {0:?}")]
    Rest(String),
    #[error("broker URL {0:?} is not encrypted, although the node has a certificate; write mqtts:// in place of its scheme")]
    Plain(String),
}

impl BrokerAddress {
    /// Parses `mqtts://host[:port]`. Without a scheme TLS is meant, without a port the registered one
    /// (8883 secure-mqtt, 1883 mqtt).
    pub(super) fn parse(url: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = url.trim().split_once("://").unwrap_or(("mqtts", url.trim()));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "mqtts" | "tls" | "ssl" | "tcps" | "mqtt+ssl" => true,
            "mqtt" | "tcp" => false,
            _ => return Err(AddressError::Scheme(scheme.to_owned())),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(AddressError::Rest(authority.to_owned()));
        }
        let (host, port) = split_host(authority)?;
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        let default = if tls { 8883 } else { 1883 };
        let port = port.map_or(Ok(default), |port| port.parse().map_err(|_| AddressError::Port(port.to_owned())))?;
        if port == 0 {
            return Err(AddressError::Port("0".to_owned()));
        }
        Ok(Self { tls, host: host.to_owned(), port })
    }

    /// For a node that has a certificate: a slip in a URL must never send anything in the clear.
    pub(crate) fn parse_encrypted(url: &str) -> Result<Self, AddressError> {
        let address = Self::parse(url)?;
        if address.tls { Ok(address) } else { Err(AddressError::Plain(url.to_owned())) }
    }
}

fn split_host(authority: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, after) = bracketed.split_once(']').ok_or(AddressError::NoHost)?;
        return match after {
            "" => Ok((host, None)),
            _ => after.strip_prefix(':').map(|port| (host, Some(port))).ok_or_else(|| AddressError::Port(after.to_owned())),
        };
    }
    Ok(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

#[cfg(test)]
mod tests {
    use super::{AddressError, BrokerAddress};

    #[test]
    fn urls() {
        let check = |url, tls, host: &str, port| {
            assert_eq!(BrokerAddress::parse(url), Ok(BrokerAddress { tls, host: host.to_owned(), port }), "{url}");
        };
        check("mqtts://mqtt.example:8883", true, "mqtt.example", 8883);
        check("MQTTS://mqtt.example/", true, "mqtt.example", 8883);
        check("mqtt://mqtt.example", false, "mqtt.example", 1883);
        check("tcp://192.0.2.1:1", false, "192.0.2.1", 1);
        check("mqtt+ssl://[2001:db8::1]:9", true, "2001:db8::1", 9);
        check("ssl://[::1]", true, "::1", 8883);
        check("mqtt.example:1234", true, "mqtt.example", 1234);
    }

    #[test]
    fn refused_urls() {
        let check = |url, error| assert_eq!(BrokerAddress::parse(url), Err(error), "{url}");
        check("wss://h:1", AddressError::Scheme("wss".into()));
        check("mqtts://", AddressError::NoHost);
        check("mqtts://:8883", AddressError::NoHost);
        check("mqtts://[::1", AddressError::NoHost);
        check("mqtts://h:x", AddressError::Port("x".into()));
        check("mqtts://h:0", AddressError::Port("0".into()));
        check("mqtts://h:70000", AddressError::Port("70000".into()));
        check("mqtts://u@h:1", AddressError::Rest("u@h:1".into()));
        check("mqtts://h:1/p", AddressError::Rest("h:1/p".into()));
    }

    #[test]
    fn a_node_with_a_certificate_never_speaks_in_the_clear() {
        for url in ["mqtt://h", "tcp://h:8883", "MQTT://h", " mqtt://h"] {
            assert!(BrokerAddress::parse(url).is_ok());
            assert_eq!(BrokerAddress::parse_encrypted(url), Err(AddressError::Plain(url.to_owned())));
        }
        assert!(BrokerAddress::parse_encrypted("mqtts://h").is_ok_and(|address| address.tls));
        assert!(BrokerAddress::parse_encrypted("h:1883").is_ok_and(|address| address.tls));
    }
}
