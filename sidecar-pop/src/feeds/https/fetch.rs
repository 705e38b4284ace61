//! One look at a web server.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::time::Duration;

use reqwest::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, StatusCode, Url};
use sha2::{Digest as _, Sha256};
use tapir_runtime::panics::Panicked;

use super::check::Proof;
use crate::feeds::aside::aside;
use crate::feeds::store::Marks;

const CONNECT: Duration = Duration::from_secs(10);
/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it may take in all.
const WHOLE: Duration = Duration::from_secs(15 * 60);
const REDIRECTIONS: usize = 5;
/// Octets of a signature at most: base64 with line ends, or a comment of who writes one.
const SIGNATURE: u64 = 4096;
/// Largest list with a signature, which is checked over the whole of it.
const SIGNED: u64 = 256 << 20;
/// Longest mark of a server that is kept.
const MARK: usize = 1024;

/// Why nothing was fetched. The texts do not hold the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the server was not reached: {0}")]
    Unreachable(String),
    #[error("the server answers {0}")]
    Status(StatusCode),
    #[error("the list is larger than {0} octets")]
    TooLarge(u64),
    #[error("the list is not the one whose SHA-256 is given; it has {0}")]
    Hash(String),
    #[error("the signature is not one of this list by the key that is given")]
    Signature,
    #[error("keeping what was fetched: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Panicked(#[from] Panicked),
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

/// What came.
#[derive(Debug)]
pub(super) enum Fetched {
    /// What is held already.
    Same,
    /// A list, proven, and the marks that it came with.
    List(File, Marks),
}

/// The client of one source.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client,
}

impl Fetcher {
    pub(super) fn new(anchors: Option<&str>) -> Result<Self, String> {
        tapir_runtime::crypto::install();
        let builder = Client::builder()
            .user_agent(concat!("tapir-pop/", env!("CARGO_PKG_VERSION")))
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
        builder.build().map(|client| Self { client }).map_err(|error| error.to_string())
    }

    /// Asks for the list unless it is what is held, into `scratch`.
    pub(super) async fn fetch(
        &self,
        url: &Url,
        proof: &Proof,
        held: &Marks,
        most: u64,
        scratch: File,
    ) -> Result<Fetched, FetchError> {
        let most = if matches!(proof, Proof::Signature(..)) { most.min(SIGNED) } else { most };
        let mut request = self.client.get(url.clone());
        for (name, mark) in [(IF_NONE_MATCH, &held.etag), (IF_MODIFIED_SINCE, &held.last_modified)] {
            if let Some(value) = mark.as_deref().and_then(|mark| HeaderValue::from_str(mark).ok()) {
                request = request.header(name, value);
            }
        }
        let response = request.send().await?;
        match response.status() {
            StatusCode::NOT_MODIFIED if held.sha256.is_some() => return Ok(Fetched::Same),
            StatusCode::OK => {}
            status => return Err(FetchError::Status(status)),
        }
        let (etag, last_modified) = (mark(response.headers(), &ETAG), mark(response.headers(), &LAST_MODIFIED));
        let (mut list, sha256) = save(response, most, scratch).await?;
        match proof {
            Proof::None => {}
            Proof::Sha256(wanted) if wanted.eq_ignore_ascii_case(&sha256) => {}
            Proof::Sha256(_) => return Err(FetchError::Hash(sha256)),
            // The same content was proven before.
            Proof::Signature(..) if held.sha256.as_ref() == Some(&sha256) => {}
            Proof::Signature(key, url) => {
                let signature = self.signature(url).await?;
                let (key, signature) = (key.clone(), signature);
                let checked = aside(move || -> std::io::Result<(File, bool)> {
                    let mut content = Vec::new();
                    list.read_to_end(&mut content)?;
                    list.rewind()?;
                    Ok((list, key.has_signed(&content, &signature)))
                });
                let (back, good) = checked.await??;
                if !good {
                    return Err(FetchError::Signature);
                }
                list = back;
            }
        }
        Ok(Fetched::List(list, Marks { sha256: Some(sha256), etag, last_modified, ..Marks::default() }))
    }

    async fn signature(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let mut response = self.client.get(url.clone()).send().await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let mut signature = Vec::new();
        while let Some(part) = response.chunk().await? {
            signature.extend_from_slice(&part);
            if signature.len() as u64 > SIGNATURE {
                return Err(FetchError::TooLarge(SIGNATURE));
            }
        }
        Ok(signature)
    }
}

async fn save(mut response: Response, most: u64, mut to: File) -> Result<(File, String), FetchError> {
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
    to.rewind()?;
    let sha256 = hash.finalize().iter().map(|octet| format!("{octet:02x}")).collect();
    Ok((to, sha256))
}

fn mark(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().filter(|mark| mark.len() <= MARK).map(str::to_owned)
}
