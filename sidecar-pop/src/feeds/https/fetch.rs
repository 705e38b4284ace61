//! One look at a web server.

use std::fs::File;
use std::io::{Read as _, Seek as _};

use reqwest::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Client, StatusCode, Url};
use tapir_runtime::https;
use tapir_runtime::panics::Panicked;

use super::check::Proof;
use crate::feeds::aside::aside;
use crate::feeds::store::Marks;

/// Octets of a signature at most: base64 with line ends, or a comment of who writes one.
const SIGNATURE: u64 = 4096;
/// Largest list with a signature, which is checked over the whole of it.
const SIGNED: u64 = 256 << 20;
/// Longest mark of a server that is kept.
const MARK: usize = 1024;

/// Why nothing was fetched. The texts do not hold the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Fetch(https::FetchError),
    #[error("the list is not the one whose SHA-256 is given; it has {0}")]
    Hash(String),
    #[error("the signature is not one of this list by the key that is given")]
    Signature,
    #[error("keeping what was fetched: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl From<https::FetchError> for FetchError {
    fn from(error: https::FetchError) -> Self {
        match error {
            https::FetchError::Io(error) => Self::Io(error),
            other => Self::Fetch(other),
        }
    }
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        Self::Fetch(error.into())
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
        https::client(concat!("tapir-pop/", env!("CARGO_PKG_VERSION")), anchors).map(|client| Self { client })
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
            status => return Err(https::FetchError::Status(status).into()),
        }
        let (etag, last_modified) = (mark(response.headers(), &ETAG), mark(response.headers(), &LAST_MODIFIED));
        let (mut list, sha256) = https::save(response, most, move |body| {
            let mut list = scratch;
            let sha256 = body.save(&mut list)?;
            list.rewind()?;
            Ok((list, sha256))
        })
        .await?;
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
            return Err(https::FetchError::Status(response.status()).into());
        }
        let mut signature = Vec::new();
        while let Some(part) = response.chunk().await? {
            signature.extend_from_slice(&part);
            if signature.len() as u64 > SIGNATURE {
                return Err(https::FetchError::TooLarge(SIGNATURE).into());
            }
        }
        Ok(signature)
    }
}

fn mark(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().filter(|mark| mark.len() <= MARK).map(str::to_owned)
}
