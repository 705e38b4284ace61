//! `/livez`, `/readyz`, `/metrics` and `/status` of a sidecar.
//!
//! The port is open to the cluster, so everything is bounded: connections, header size, and the time of each connection, which
//! carries one request. There is no TLS and no authentication; nothing that is served here is secret.

mod listener;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::back_off::BackOff;
use crate::panics::contained;
use crate::shutdown::Shutdown;
use listener::Listener;

pub use listener::HttpState;

/// What a sidecar tells of itself over HTTP. Called for every request: must not wait.
pub trait Probe: Send + Sync + 'static {
    /// Whether the process works at all; the error says what is stuck.
    #[expect(clippy::missing_errors_doc, reason = "the error is the answer, not a failure")]
    fn live(&self) -> Result<(), String>;
    /// Whether it does its job; the error names what is missing.
    #[expect(clippy::missing_errors_doc, reason = "the error is the answer, not a failure")]
    fn ready(&self) -> Result<(), String>;
    /// A [`tapir_wire::status::SidecarStatus`].
    fn status(&self) -> serde_json::Value;
    /// OpenMetrics text, see [`crate::metrics::render`].
    fn metrics(&self) -> String;
    /// What a POST to this path does; none where there is no such thing. Nothing happens before it is polled.
    fn order(&self, path: &str) -> Option<Order> {
        let _ = path;
        None
    }
}

/// Work that somebody asked for, and what he is told afterwards.
pub type Order = Pin<Box<dyn Future<Output = (StatusCode, String)> + Send>>;

/// Bounds of the server.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Connections at the same time; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Time for the request's header.
    pub header_time: Duration,
    /// Time for a whole connection.
    pub connection_time: Duration,
    /// Bytes of the request's header.
    pub header_bytes: usize,
    /// Pauses between attempts to bind the port.
    pub back_off: BackOff,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 32,
            header_time: Duration::from_secs(5),
            connection_time: Duration::from_secs(15),
            // hyper takes no less than 8 KiB.
            header_bytes: 8 * 1024,
            back_off: BackOff::LOCAL,
        }
    }
}

/// Serves `probe` until shutdown, at the address that is wanted. One that cannot be bound is tried again for ever; the one
/// before it stays in service meanwhile, and `state` says so.
pub async fn serve(
    listen: watch::Receiver<SocketAddr>,
    probe: Arc<dyn Probe>,
    state: watch::Sender<HttpState>,
    shutdown: Shutdown,
) {
    serve_with(listen, probe, state, shutdown, HttpLimits::default()).await;
}

/// [`serve`] with other limits.
pub async fn serve_with(
    listen: watch::Receiver<SocketAddr>,
    probe: Arc<dyn Probe>,
    state: watch::Sender<HttpState>,
    shutdown: Shutdown,
    limits: HttpLimits,
) {
    tokio::select! {
        () = serve_for_ever(Listener::new(listen, state, limits.back_off), probe, limits) => {}
        () = shutdown.requested() => {}
    }
}

async fn serve_for_ever(mut listener: Listener, probe: Arc<dyn Probe>, limits: HttpLimits) {
    let connections = Arc::new(Semaphore::new(limits.connections));
    let mut tasks = tokio::task::JoinSet::new();
    let mut pauses = limits.back_off.start();
    loop {
        while tasks.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok(stream) => {
                pauses.reset();
                let probe = Arc::clone(&probe);
                tasks.spawn(contained(async move {
                    let _permit = permit;
                    // Broken and slow clients are no news.
                    let _ = timeout(limits.connection_time, answer_one(stream, probe, limits)).await;
                }));
            }
            Err(error) => {
                // Out of file descriptors, mostly: it passes, but asking at once would only burn time.
                let pause = pauses.next_pause();
                tracing::warn!(error = %error, pause_ms = pause.as_millis(), "HTTP connection not accepted");
                sleep(pause).await;
            }
        }
    }
}

async fn answer_one(stream: TcpStream, probe: Arc<dyn Probe>, limits: HttpLimits) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let probe = Arc::clone(&probe);
        async move { Ok::<_, Infallible>(answer(request.method(), request.uri().path(), probe.as_ref()).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.header_bytes)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// Longer than any order takes that somebody should wait for.
const ORDER_TIME: Duration = Duration::from_secs(9);
const TEXT: &str = "text/plain; charset=utf-8";

async fn answer(method: &Method, path: &str, probe: &dyn Probe) -> Response<Body> {
    match probe.order(path) {
        Some(order) if method == Method::POST => match timeout(ORDER_TIME, order).await {
            Ok((status, text)) => respond(status, TEXT, text),
            Err(_) => respond(StatusCode::GATEWAY_TIMEOUT, TEXT, "it takes too long\n".to_owned()),
        },
        Some(_) => not_allowed("only POST\n", "POST"),
        None => tell(method, path, probe),
    }
}

fn not_allowed(text: &str, allowed: &'static str) -> Response<Body> {
    let mut refusal = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, text.to_owned());
    refusal.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static(allowed));
    refusal
}

fn tell(method: &Method, path: &str, probe: &dyn Probe) -> Response<Body> {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let is_read = method == Method::GET || method == Method::HEAD;
    match path {
        "/livez" | "/readyz" | "/status" | "/metrics" if !is_read => not_allowed("only GET\n", "GET, HEAD"),
        "/livez" => verdict(probe.live(), TEXT),
        "/readyz" => verdict(probe.ready(), TEXT),
        "/status" => respond(StatusCode::OK, "application/json", probe.status().to_string()),
        "/metrics" => respond(StatusCode::OK, OPEN_METRICS, probe.metrics()),
        _ => respond(StatusCode::NOT_FOUND, TEXT, "not found\n".to_owned()),
    }
}

fn verdict(verdict: Result<(), String>, content_type: &'static str) -> Response<Body> {
    match verdict {
        Ok(()) => respond(StatusCode::OK, content_type, "ok\n".to_owned()),
        Err(reason) => respond(StatusCode::SERVICE_UNAVAILABLE, content_type, format!("{reason}\n")),
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}

/// Bodies are short strings that are there as a whole.
type Body = String;
