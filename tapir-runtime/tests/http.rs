//! The HTTP port of a sidecar, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/port.rs"]
mod port;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use port::free_port;
use prometheus_client::metrics::counter::Counter;
use tapir_runtime::back_off::BackOff;
use tapir_runtime::http::{HttpLimits, HttpState, Order, Probe, serve_with};
use tapir_runtime::metrics;
use tapir_runtime::shutdown::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Sidecar {
    ready: AtomicBool,
    large: AtomicBool,
    orders: Arc<AtomicU64>,
}

impl Probe for Sidecar {
    fn live(&self) -> Result<(), String> {
        Ok(())
    }
    fn ready(&self) -> Result<(), String> {
        if self.ready.load(Ordering::SeqCst) { Ok(()) } else { Err("no configuration yet".to_owned()) }
    }
    fn status(&self) -> serde_json::Value {
        serde_json::json!({"format": 1, "component": "edm"})
    }
    fn metrics(&self) -> String {
        if self.large.load(Ordering::SeqCst) {
            return "#\n".repeat(16 << 20);
        }
        let mut registry = metrics::registry("tapir_edm");
        let frames: Counter = Counter::default();
        registry.register("frames", "Frames taken", frames.clone());
        frames.inc_by(3);
        metrics::render(&registry)
    }
    fn order(&self, path: &str) -> Option<Order> {
        if path == "/endless" {
            return Some(Box::pin(std::future::pending()));
        }
        let orders = Arc::clone(&self.orders);
        (path == "/order").then(|| -> Order {
            Box::pin(async move {
                orders.fetch_add(1, Ordering::SeqCst);
                (hyper::StatusCode::ACCEPTED, "done\n".to_owned())
            })
        })
    }
}

struct Server {
    address: SocketAddr,
    wanted: watch::Sender<SocketAddr>,
    state: watch::Receiver<HttpState>,
    probe: Arc<Sidecar>,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

fn limits() -> HttpLimits {
    let back_off = BackOff { min: Duration::from_millis(10), max: Duration::from_millis(50) };
    HttpLimits {
        header_time: Duration::from_secs(1),
        connection_time: Duration::from_secs(2),
        connections: 4,
        back_off,
        ..HttpLimits::default()
    }
}

async fn start(listen: &str) -> Server {
    let mut server = begin(listen.parse().unwrap());
    server.address = server.bound().await;
    server
}

fn begin(address: SocketAddr) -> Server {
    begin_with(address, limits())
}

fn begin_with(address: SocketAddr, limits: HttpLimits) -> Server {
    let probe = Arc::new(Sidecar::default());
    let (_, shutdown) = Shutdown::manual();
    let (sender, state) = watch::channel(HttpState::default());
    let (wanted, listen) = watch::channel(address);
    let task = tokio::spawn(serve_with(listen, probe.clone(), sender, shutdown.clone(), limits));
    Server { address, wanted, state, probe, shutdown, task }
}

impl Server {
    async fn becomes(&mut self, holds: impl FnMut(&HttpState) -> bool) -> HttpState {
        timeout(PATIENCE, self.state.wait_for(holds)).await.expect("the state changes").unwrap().clone()
    }

    /// The address, when all is well.
    async fn bound(&mut self) -> SocketAddr {
        self.becomes(|state| state.bound.is_some() && state.error.is_none()).await.bound.unwrap()
    }
}

async fn talk(address: SocketAddr, request: &[u8]) -> String {
    timeout(PATIENCE, async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    })
    .await
    .expect("the server answers or closes")
}

async fn get(address: SocketAddr, path: &str) -> String {
    talk(address, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn the_four_paths() {
    let server = start("127.0.0.1:0").await;
    let address = server.address;
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200 "));
    let not_ready = get(address, "/readyz").await;
    assert!(not_ready.starts_with("HTTP/1.1 503 ") && not_ready.ends_with("no configuration yet\n"), "{not_ready}");
    server.probe.ready.store(true, Ordering::SeqCst);
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
    let status = get(address, "/status").await;
    assert!(
        status.contains("content-type: application/json") && status.ends_with(r#"{"format":1,"component":"edm"}"#),
        "{status}"
    );
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("content-type: application/openmetrics-text"), "{metrics}");
    assert!(metrics.contains("tapir_edm_frames_total 3\n") && metrics.contains("tapir_edm_build_info{version=\""), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
    assert!(get(address, "/").await.starts_with("HTTP/1.1 404 "));
    assert!(talk(address, b"POST /status HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
}

async fn post(address: SocketAddr, path: &str) -> String {
    talk(address, format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn whoever_asks_for_what_takes_too_long_is_told_so_in_time() {
    let mut server = begin_with("127.0.0.1:0".parse().unwrap(), HttpLimits::default());
    server.address = server.bound().await;
    let begun = std::time::Instant::now();
    let (late, quick) = tokio::join!(post(server.address, "/endless"), async {
        let answer = post(server.address, "/order").await;
        (answer, begun.elapsed())
    });
    assert!(late.starts_with("HTTP/1.1 504 ") && late.ends_with("\r\n\r\nit takes too long\n"), "{late}");
    assert!(begun.elapsed() >= Duration::from_secs(9), "{:?}", begun.elapsed());
    assert!(quick.0.starts_with("HTTP/1.1 202 ") && quick.1 < Duration::from_secs(9), "others are served meanwhile: {quick:?}");
}

#[tokio::test]
async fn an_order_is_carried_out_at_post_alone() {
    let server = start("127.0.0.1:0").await;
    let refused = get(server.address, "/order").await;
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.to_lowercase().contains("allow: post"), "{refused}");
    assert_eq!(server.probe.orders.load(Ordering::SeqCst), 0);
    let done = post(server.address, "/order").await;
    assert!(done.starts_with("HTTP/1.1 202 ") && done.ends_with("done\n"), "{done}");
    assert_eq!(server.probe.orders.load(Ordering::SeqCst), 1);
    assert!(post(server.address, "/other").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_port_that_is_taken_is_opened_when_it_becomes_free() {
    let occupant = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
    let address = occupant.local_addr().unwrap();
    let mut server = begin(address);
    let state = server.becomes(|state| state.error.is_some()).await;
    assert_eq!(state.bound, None);
    assert!(state.error.unwrap().starts_with(&address.to_string()));
    assert!(!server.task.is_finished());
    drop(occupant);
    assert_eq!(server.bound().await, address);
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_new_address_that_cannot_be_bound_leaves_the_old_one_in_service() {
    let mut server = start("127.0.0.1:0").await;
    let old = server.address;
    let occupant = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
    let new = occupant.local_addr().unwrap();
    server.wanted.send_replace(new);
    let error = server.becomes(|state| state.error.is_some()).await.error.unwrap();
    assert!(error.starts_with(&new.to_string()) && error.ends_with("127.0.0.1:0 stays in service"), "{error}");
    assert!(get(old, "/livez").await.starts_with("HTTP/1.1 200 "));

    // And is served when it becomes free.
    drop(occupant);
    assert_eq!(server.bound().await, new);
    assert!(get(new, "/livez").await.starts_with("HTTP/1.1 200 "));
    assert!(TcpStream::connect(old).await.is_err(), "the old one is closed");
}

#[tokio::test]
async fn back_to_the_old_address_is_well_at_once() {
    let mut server = start("127.0.0.1:0").await;
    let occupant = TcpListener::bind("127.0.0.1:0").await.unwrap();
    server.wanted.send_replace(occupant.local_addr().unwrap());
    server.becomes(|state| state.error.is_some()).await;
    server.wanted.send_replace("127.0.0.1:0".parse().unwrap());
    assert_eq!(server.bound().await, server.address);
}

#[tokio::test]
async fn one_address_of_a_port_that_was_open_at_all_and_back_again() {
    let mut server = start("0.0.0.0:0").await;
    let port = server.address.port();
    for address in [[127, 0, 0, 1], [0, 0, 0, 0], [127, 0, 0, 1]] {
        let address = SocketAddr::from((address, port));
        server.wanted.send_replace(address);
        server.becomes(|state| state.bound == Some(address) && state.error.is_none()).await;
        assert!(get(([127, 0, 0, 1], port).into(), "/livez").await.starts_with("HTTP/1.1 200 "));
    }
    assert!(TcpStream::connect(("127.0.0.2", port)).await.is_err(), "only where it is wanted");
}

#[tokio::test]
async fn slow_greedy_and_rude_clients_are_let_go() {
    let server = start("127.0.0.1:0").await;
    // Nothing sent, a header that never ends in time, and one that is too large.
    assert_eq!(talk(server.address, b"").await, "");
    let slow = talk(server.address, b"GET /livez HTTP/1.1\r\nhost:").await;
    assert!(slow.is_empty() || slow.starts_with("HTTP/1.1 408 "), "{slow}");
    let large = format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    assert!(!talk(server.address, large.as_bytes()).await.starts_with("HTTP/1.1 200 "));
    assert!(talk(server.address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    assert!(get(server.address, "/livez").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn idle_connections_do_not_lock_others_out() {
    let server = start("127.0.0.1:0").await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert!(get(server.address, "/livez").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let server = start("127.0.0.1:0").await;
    // More than the buffers of a connection hold, on every connection that is allowed.
    server.probe.large.store(true, Ordering::SeqCst);
    let mut mute = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        mute.push(stream);
    }
    assert!(get(server.address, "/livez").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn every_address_means_both_families_where_there_are_both() {
    let server = start("[::]:0").await;
    let port = server.address.port();
    assert!(get(([127, 0, 0, 1], port).into(), "/livez").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn shutdown_ends_it_also_while_it_waits_for_the_port() {
    let server = start("127.0.0.1:0").await;
    let waiting = begin(server.address);
    for server in [server, waiting] {
        server.shutdown.trigger();
        timeout(PATIENCE, server.task).await.unwrap().unwrap();
    }
}
