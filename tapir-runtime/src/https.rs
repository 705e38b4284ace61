//! Files of web servers: over TLS alone, bounded in octets and in time.

use std::io::{self, Write};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Response};
pub use reqwest::{Client, StatusCode, Url};
use sha2::{Digest as _, Sha256};

const CONNECT: Duration = Duration::from_secs(10);
/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it may take in all.
const WHOLE: Duration = Duration::from_secs(15 * 60);
const REDIRECTIONS: usize = 5;

/// Why there is no file. The texts do not hold the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, none that can be trusted, or one that broke.
    #[error("the server was not reached: {0}")]
    Unreachable(String),
    /// It has none.
    #[error("the server answers {0}")]
    Status(StatusCode),
    /// Larger than what is taken.
    #[error("the list is larger than {0} octets")]
    TooLarge(u64),
    /// The disk does not take it.
    #[error("keeping what was fetched: {0}")]
    Io(#[from] io::Error),
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        Self::Unreachable(text)
    }
}

/// Asks servers whose certificates `anchors` (PEM) vouch for, or else the system. `agent` is who asks.
///
/// # Errors
/// When these are no certificates.
pub fn client(agent: &str, anchors: Option<&str>) -> Result<Client, String> {
    crate::crypto::install();
    let builder = Client::builder()
        .user_agent(agent)
        .https_only(true)
        .redirect(Policy::limited(REDIRECTIONS))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .timeout(WHOLE)
        .pool_max_idle_per_host(0);
    let builder = match anchors {
        None => builder,
        Some(pem) => {
            let found = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|error| error.to_string())?;
            if found.is_empty() {
                return Err("the file with certificates has none".to_owned());
            }
            builder.tls_certs_only(found)
        }
    };
    builder.build().map_err(|error| error.to_string())
}

/// Writes down what comes, `most` octets at most; gives its SHA-256, in lower-case hexadecimal digits.
///
/// # Errors
/// When it does not all come, or there is more.
pub async fn save(mut response: Response, most: u64, to: &mut impl Write) -> Result<String, FetchError> {
    if response.content_length().is_some_and(|length| length > most) {
        return Err(FetchError::TooLarge(most));
    }
    let (mut hash, mut octets) = (Sha256::new(), 0_u64);
    while let Some(part) = response.chunk().await? {
        octets += part.len() as u64;
        if octets > most {
            return Err(FetchError::TooLarge(most));
        }
        hash.update(&part);
        // Into the page cache: as short as an await would be.
        to.write_all(&part)?;
    }
    Ok(hexadecimal(hash))
}

/// SHA-256 of these octets, as servers' lists are named by it.
#[must_use]
pub fn sha256(octets: &[u8]) -> String {
    hexadecimal(Sha256::new_with_prefix(octets))
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|octet| format!("{octet:02x}")).collect()
}
