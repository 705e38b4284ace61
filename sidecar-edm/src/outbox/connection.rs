//! One connection to Core, HTTP/1.1 over TLS, used again while it lasts.

use std::io;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{CONTENT_ENCODING, LOCATION};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::answer::{Answer, excerpt};
use super::body::FileBody;
use super::target::Target;

const CONNECT: Duration = Duration::from_secs(30);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Kept of a body.
const EXCERPT: usize = 1024;
/// A body longer than this is not waited for; Core's are empty or a line.
const LONGEST_BODY: usize = 256 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("connecting to Core: {0}")]
    Connect(io::Error),
    #[error("no connection to Core in time")]
    ConnectTime,
    #[error("TLS with Core: {0}")]
    Tls(io::Error),
    #[error("talking to Core: {0}")]
    Http(#[from] hyper::Error),
    #[error("no answer from Core in time")]
    Deadline,
    #[error("the answer's body is longer than any of Core's")]
    Endless,
}

/// Closed when dropped, whatever is on its way.
#[derive(Debug)]
pub(super) struct Connection {
    requests: SendRequest<FileBody>,
    driver: JoinHandle<()>,
    /// It has carried a request: the next may meet a door that is closed already.
    pub(super) used: bool,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self, SendError> {
        let connect = TcpStream::connect((target.host.as_str(), target.port));
        let stream = timeout(CONNECT, connect).await.map_err(|_| SendError::ConnectTime)?.map_err(SendError::Connect)?;
        // A request is written in large pieces; the last one should not wait for company.
        stream.set_nodelay(true).map_err(SendError::Connect)?;
        let Some((tls, name)) = &target.tls else { return Self::over(stream).await };
        let handshake = TlsConnector::from(tls.clone()).connect(name.clone(), stream);
        let stream = timeout(HANDSHAKE, handshake).await.map_err(|_| SendError::ConnectTime)?.map_err(SendError::Tls)?;
        Self::over(stream).await
    }

    async fn over<Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: Stream) -> Result<Self, SendError> {
        let (requests, connection) = Builder::new().handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to Core ended");
            }
        });
        Ok(Self { requests, driver, used: false })
    }

    /// Whether another request can go this way.
    pub(super) fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }

    /// Sends and reads the answer to its end: a body that breaks off is no answer.
    pub(super) async fn send(&mut self, request: Request<FileBody>) -> Result<Answer, SendError> {
        self.used = true;
        self.requests.ready().await?;
        let response = self.requests.send_request(request).await?;
        let readable = response.headers().get(CONTENT_ENCODING).is_none();
        let status = response.status().as_u16();
        let location = response.headers().get(LOCATION).map(|location| excerpt(location.as_bytes()));
        let kept = read_to_end(response).await?;
        let text = if readable { excerpt(&kept) } else { String::new() };
        Ok(Answer { status, location, text })
    }
}

async fn read_to_end(response: Response<hyper::body::Incoming>) -> Result<Vec<u8>, SendError> {
    let (mut kept, mut length) = (Vec::new(), 0);
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        if length > LONGEST_BODY {
            return Err(SendError::Endless);
        }
        kept.extend_from_slice(data.get(..data.len().min(EXCERPT - kept.len())).unwrap_or_default());
    }
    Ok(kept)
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
