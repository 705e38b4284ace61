//! HTTP/1.1 listeners: accept, read a whole request, record it, let a fault or the service answer.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::faults::{Fault, Faults};
use crate::message::{Answer, Request};
use crate::record::Record;

/// Twice what the largest known aggregate takes.
const MAXIMUM_BODY: usize = 64 * 1024 * 1024;
const MAXIMUM_CONNECTIONS: usize = 512;
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Between attempts to bind a port again.
const BIND_AGAIN: Duration = Duration::from_millis(200);

/// What answers requests.
pub type Handler = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// A service and everything that stands between it and the network.
#[derive(Clone)]
pub struct Service {
    /// In the record.
    pub name: &'static str,
    /// The service itself.
    pub handler: Handler,
    /// None: plain text.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// None: neither recorded nor disturbed, as the control interface.
    pub disturbance: Option<Disturbance>,
}

/// Record and faults of a service.
#[derive(Clone, Debug)]
pub struct Disturbance {
    /// Where requests are recorded.
    pub record: Arc<Record>,
    /// What goes wrong.
    pub faults: Faults,
    /// For the record.
    pub clock: Clock,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Service({})", self.name)
    }
}

impl Service {
    fn fault(&self) -> Fault {
        self.disturbance.as_ref().map_or(Fault::None, |disturbance| disturbance.faults.current())
    }

    async fn wait_until(&self, wanted: impl Fn(Fault) -> bool) {
        match &self.disturbance {
            Some(disturbance) => disturbance.faults.wait_until(wanted).await,
            None if wanted(Fault::None) => {}
            None => std::future::pending().await,
        }
    }

    /// `None` when the connection is to end without an answer.
    async fn answer(&self, request: &Request, client: Option<&str>) -> Option<Answer> {
        let Some(disturbance) = &self.disturbance else { return Some((self.handler)(request)) };
        // The administrator is never disturbed: tests make their nodes in the middle of a fault.
        let administrator = request.header("authorization").is_some();
        let node = client.or_else(|| request.node());
        let fault = if administrator { Fault::None } else { disturbance.faults.of(node) };
        let fault_name = (fault != Fault::None).then(|| fault.name());
        let record =
            |status| disturbance.record.http(disturbance.clock.now(), self.name, client, request, status, fault_name.as_deref());
        if fault == Fault::Unreachable {
            record(None);
            disturbance.faults.wait_until_of(node, |fault| fault != Fault::Unreachable).await;
            return None;
        }
        let answer = fault.answer(request).unwrap_or_else(|| fault.changed((self.handler)(request)));
        let is_lost = fault.loses(request);
        record((!is_lost).then_some(answer.status));
        tracing::info!(
            service = self.name,
            method = request.method,
            path = request.path(),
            status = answer.status,
            fault = fault_name,
            "Request answered"
        );
        if let Some(delay) = fault.delay() {
            // Whoever gave up meanwhile never hears of it; whoever waits is answered as soon as Core is quick again.
            let quick_again = disturbance.faults.wait_until_of(node, |now| now != fault);
            let _ = tokio::time::timeout(delay, quick_again).await;
        }
        // The server below would take the machine's clock: a client that compares clocks is to see Core's.
        let date = disturbance.clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        (!is_lost).then(|| answer.with("date", date))
    }
}

/// A listener that is bound; [`Listener::run`] serves it.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    service: Service,
}

impl Listener {
    /// Binds a port; port 0 finds a free one.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(address: SocketAddr, service: Service) -> io::Result<Self> {
        let socket = match TcpListener::bind(address).await {
            // A machine without IPv6 has no "all addresses" of that kind.
            Err(_) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await?
            }
            result => result?,
        };
        let address = socket.local_addr()?;
        Ok(Self { socket, address, service })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`. While the fault is "offline" the port is closed and every connection cut.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { socket, address, service } = self;
        let mut socket = Some(socket);
        while !shutdown.is_cancelled() {
            if service.fault() == Fault::Offline {
                drop(socket.take());
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = service.wait_until(|fault| fault != Fault::Offline) => {}
                }
            }
            let bound = match socket.take() {
                Some(socket) => socket,
                None => match TcpListener::bind(address).await {
                    Ok(socket) => socket,
                    Err(error) => {
                        tracing::warn!(service = service.name, %error, "Port not free yet");
                        tokio::time::sleep(BIND_AGAIN).await;
                        continue;
                    }
                },
            };
            let online = shutdown.child_token();
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = service.wait_until(|fault| fault == Fault::Offline) => {}
                () = accept(&bound, &service, &online) => {}
            }
            online.cancel();
        }
    }
}

async fn accept(socket: &TcpListener, service: &Service, online: &CancellationToken) {
    let permits = Arc::new(Semaphore::new(MAXIMUM_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match socket.accept().await {
            Ok((stream, _)) => {
                let (service, online) = (service.clone(), online.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = online.cancelled() => {}
                        () = connection(stream, service) => {}
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(service = service.name, %error, "Connection not accepted");
                tokio::time::sleep(BIND_AGAIN).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, service: Service) {
    let peer = stream.peer_addr().ok().map(|address| address.ip());
    if service.fault() == Fault::Unreachable {
        service.wait_until(|fault| fault != Fault::Unreachable).await;
        return;
    }
    let Some(tls) = service.tls.clone() else { return exchange(stream, service, peer, None).await };
    match tokio::time::timeout(HANDSHAKE_TIME, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => {
            let client = crate::tls::client_name(stream.get_ref().1.peer_certificates());
            exchange(stream, service, peer, client).await;
        }
        Ok(Err(error)) => tracing::info!(service = service.name, %error, "TLS handshake failed"),
        Err(_) => tracing::info!(service = service.name, "TLS handshake timed out"),
    }
}

async fn exchange<Stream: AsyncRead + AsyncWrite + Unpin>(
    stream: Stream,
    service: Service,
    peer: Option<IpAddr>,
    client: Option<String>,
) {
    let last_answer_sent = Arc::new(Notify::new());
    let handler = hyper::service::service_fn(|request| {
        let (service, client, notify) = (service.clone(), client.clone(), Arc::clone(&last_answer_sent));
        async move {
            let request = Request { peer, ..read(request).await? };
            let answer = service.answer(&request, client.as_deref()).await.ok_or_else(|| io::Error::other("answer withheld"))?;
            Ok::<_, io::Error>(response(answer, notify))
        }
    });
    let mut connection = pin!(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), handler));
    let mut closing = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(service = service.name, %error, "Connection ended");
                }
                return;
            }
            // No "connection: close" announced it: the client's next request on this connection meets a closed door.
            () = last_answer_sent.notified(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn read(request: hyper::Request<Incoming>) -> io::Result<Request> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAXIMUM_BODY).collect().await.map_err(io::Error::other)?.to_bytes();
    let headers = head
        .headers
        .iter()
        // ISO 8859-1, as the real services' framework reads them: no octet is lost on the way into the record.
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().iter().copied().map(char::from).collect()));
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    Ok(Request { method: head.method.as_str().to_owned(), target, headers: headers.collect(), body: body.to_vec(), peer: None })
}

fn response(answer: Answer, notify: Arc<Notify>) -> hyper::Response<AnswerBody> {
    let mut response =
        hyper::Response::new(AnswerBody { content: Some(Bytes::from(answer.body)), notify: answer.closes.then_some(notify) });
    *response.status_mut() = hyper::StatusCode::from_u16(answer.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (hyper::header::HeaderName::try_from(name), hyper::header::HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// A body in one piece that tells when it was taken, which is after the head was written.
struct AnswerBody {
    content: Option<Bytes>,
    notify: Option<Arc<Notify>>,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(notify) = self.notify.take() {
            notify.notify_one();
        }
        Poll::Ready(self.content.take().filter(|content| !content.is_empty()).map(|content| Ok(Frame::data(content))))
    }

    fn is_end_stream(&self) -> bool {
        self.content.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content.as_ref().map_or(0, |content| content.len() as u64))
    }
}
