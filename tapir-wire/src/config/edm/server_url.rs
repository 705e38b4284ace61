//! `mqtt-server` (`edm.md` 10.6).

/// Schemes that upstream takes.
const SCHEMES: [&str; 9] = ["mqtt", "tcp", "ssl", "tls", "mqtts", "mqtt+ssl", "tcps", "ws", "wss"];

/// Address of a broker as upstream understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// In lower case.
    pub scheme: String,
    /// Host, and port if one is named.
    pub host: String,
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    /// None of [`SCHEMES`].
    #[error("has an unsupported scheme")]
    Scheme,
    /// No host.
    #[error("has a missing host")]
    Host,
}

impl ServerUrl {
    /// Reads an address; without a scheme TLS is meant.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ServerUrlError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("tls", text));
        let scheme = scheme.to_ascii_lowercase();
        if !SCHEMES.contains(&scheme.as_str()) {
            return Err(ServerUrlError::Scheme);
        }
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.is_empty() || host.starts_with(':') {
            Err(ServerUrlError::Host)
        } else {
            Ok(Self { scheme, host: host.to_owned() })
        }
    }

    /// Whether it goes over a WebSocket.
    #[must_use]
    pub fn is_web_socket(&self) -> bool {
        matches!(self.scheme.as_str(), "ws" | "wss")
    }

    /// Whether it goes in the clear.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self.scheme.as_str(), "mqtt" | "tcp" | "ws")
    }
}
