//! Files of web servers: over TLS alone, bounded in octets and in time.

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Response};
pub use reqwest::{Client, StatusCode, Url};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

const CONNECT: Duration = Duration::from_secs(10);
/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it may take in all.
const WHOLE: Duration = Duration::from_secs(15 * 60);
const REDIRECTIONS: usize = 5;
/// Parts of a file that wait for the disk at most; the server waits then, too.
const WAITING: usize = 8;

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
        let mut source = error.source();
        while let Some(inner) = source {
            text = format!("{text}: {}", without_url(inner));
            source = inner.source();
        }
        Self::Unreachable(text)
    }
}

/// Where a redirection led to may be a secret as well.
fn without_url(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    match error.downcast_ref::<reqwest::Error>().and_then(reqwest::Error::url) {
        Some(url) => text.replace(&format!(" for url ({url})"), "").replace(url.as_str(), "..."),
        None => text,
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
        // Whom a redirection leads to need not know where from.
        .referer(false)
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

/// What comes from a server, for a thread that may wait for the disk.
#[derive(Debug)]
pub struct Body(mpsc::Receiver<Option<Bytes>>);

impl Body {
    /// Writes it down; gives its SHA-256, in lower-case hexadecimal digits.
    ///
    /// # Errors
    /// When it does not all come, or the disk does not take it.
    pub fn save(mut self, to: &mut impl Write) -> Result<String, FetchError> {
        let mut hash = Sha256::new();
        while let Some(part) = self.0.blocking_recv() {
            let Some(octets) = part else { return Ok(hexadecimal(hash)) };
            hash.update(&octets);
            to.write_all(&octets)?;
        }
        // Whoever asked knows why.
        Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
    }
}

/// Has `keep` take what comes, `most` octets at most, on a thread of its own. Given up, that thread ends what it has begun.
///
/// # Errors
/// When it does not all come, or there is more, or it cannot be kept.
pub async fn save<T: Send + 'static>(
    response: Response,
    most: u64,
    keep: impl FnOnce(Body) -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    if response.content_length().is_some_and(|length| length > most) {
        return Err(FetchError::TooLarge(most));
    }
    let (parts, body) = mpsc::channel(WAITING);
    let kept = spawn_blocking(move || keep(Body(body)));
    let came = hand_over(response, most, parts).await;
    let kept = kept.await.unwrap_or_else(|error| Err(io::Error::other(error).into()));
    came.and(kept)
}

async fn hand_over(mut response: Response, most: u64, parts: mpsc::Sender<Option<Bytes>>) -> Result<(), FetchError> {
    let mut octets = 0_u64;
    while let Some(part) = response.chunk().await? {
        octets += part.len() as u64;
        if octets > most {
            return Err(FetchError::TooLarge(most));
        }
        if parts.send(Some(part)).await.is_err() {
            // Whoever does not take it any more says why.
            return Ok(());
        }
    }
    let _ = parts.send(None).await;
    Ok(())
}

/// SHA-256 of these octets, as servers' lists are named by it.
#[must_use]
pub fn sha256(octets: &[u8]) -> String {
    hexadecimal(Sha256::new_with_prefix(octets))
}

/// The same of a file, of which little is in memory at a time.
///
/// # Errors
/// When it cannot be read.
pub fn sha256_of(mut file: impl io::Read) -> io::Result<String> {
    let (mut hash, mut part) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut part) {
            Ok(0) => return Ok(hexadecimal(hash)),
            Ok(octets) => hash.update(&part[..octets]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use tokio::sync::oneshot;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A disk that hangs until it is told to go on.
    struct Hanging {
        begun: Option<oneshot::Sender<()>>,
        gate: Receiver<()>,
        octets: usize,
    }

    impl Write for Hanging {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            if let Some(begun) = self.begun.take() {
                let _ = begun.send(());
                self.gate.recv_timeout(PATIENCE).map_err(io::Error::other)?;
            }
            self.octets += octets.len();
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn response(octets: usize) -> Response {
        hyper::http::Response::new(vec![b'x'; octets]).into()
    }

    #[tokio::test]
    async fn a_disk_that_hangs_holds_up_nobody_else() {
        let ((begun, begins), (go_on, gate)) = (oneshot::channel(), channel());
        let saved = tokio::spawn(save(response(1000), 1000, move |body| {
            let mut disk = Hanging { begun: Some(begun), gate, octets: 0 };
            Ok((body.save(&mut disk)?, disk.octets))
        }));
        // On the one thread that all tasks have here.
        begins.await.unwrap();
        go_on.send(()).unwrap();
        assert_eq!(saved.await.unwrap().unwrap(), (sha256(&[b'x'; 1000]), 1000));
        assert_eq!(sha256_of(&[b'x'; 1000][..]).unwrap(), sha256(&[b'x'; 1000]));
    }

    #[tokio::test]
    async fn what_is_given_up_is_told_from_what_ended() {
        let (told, tells) = oneshot::channel();
        let (begun, begins) = oneshot::channel();
        let saved = tokio::spawn(async {
            let (parts, body) = mpsc::channel(WAITING);
            let kept = spawn_blocking(move || told.send(Body(body).save(&mut io::sink()).is_err()));
            parts.send(Some(Bytes::from_static(b"x"))).await.unwrap();
            begun.send(()).unwrap();
            let _ = kept.await;
            drop(parts);
        });
        begins.await.unwrap();
        saved.abort();
        assert!(tells.await.unwrap());
        assert!(matches!(save(response(1001), 1000, |_| Ok(())).await, Err(FetchError::TooLarge(1000))));
    }
}
