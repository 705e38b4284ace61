//! The other end of the socket.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Longer than the other side waits for its own parts.
const PATIENCE: Duration = Duration::from_secs(60);
const LARGEST_ANSWER: u64 = 256 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there, or not for us.
    #[error("{path}: {source}; is tapir-pop running here, and is this its user?")]
    Connect {
        /// The socket.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The exchange was cut off.
    #[error("asking: {0}")]
    Exchange(#[from] io::Error),
    /// What came is no answer.
    #[error("what came is no answer")]
    Strange,
    /// POP says why not.
    #[error("{0}")]
    Refused(String),
}

/// Asks, with a body where there is one.
pub fn ask(socket: &Path, target: &str, post: bool, body: &str) -> Result<Value, ClientError> {
    let connected = UnixStream::connect(socket);
    let mut stream = connected.map_err(|source| ClientError::Connect { path: socket.display().to_string(), source })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let method = if post { "POST" } else { "GET" };
    let head =
        format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LARGEST_ANSWER).read_to_end(&mut answer)?;
    read(&answer)
}

/// The server sends whole bodies, and closes.
fn read(answer: &[u8]) -> Result<Value, ClientError> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(ClientError::Strange)?;
    let (head, body) = answer.split_at(end);
    let good = head.starts_with(b"HTTP/1.1 200 ");
    let value: Value = serde_json::from_slice(body).map_err(|_| ClientError::Strange)?;
    match value.get("error").and_then(Value::as_str) {
        Some(error) if !good => Err(ClientError::Refused(error.to_owned())),
        _ if good => Ok(value),
        _ => Err(ClientError::Strange),
    }
}

/// A parameter of a query: everything that is not plain is encoded.
#[must_use]
pub fn encoded(text: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|octet| if plain(octet) { char::from(octet).to_string() } else { format!("%{octet:02X}") }).collect()
}
