//! A process that panics on every frame, with the frame in the text of the panic: the real input over TLS and TCP and the real log, with another sink.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use tapir_edm::input::sink::FrameSink;
use tapir_edm::input::{Counts, End, Endpoint, Input, InputState, Limits, tls};
use tapir_edm::metrics::ClosedLabels;
use tapir_runtime::shutdown::Shutdown;
use tokio::sync::watch;

use super::sender::{Sender, Trust, until};
use super::support::broker::Authority;
use super::support::broker::port::free_port;

const FOLDER: &str = "TAPIR_TEST_PANICS_IN";
/// A panic with its whole backtrace takes a while.
const FRAMES: usize = 40;

/// Says in its panic what it was given.
struct Panicking;

impl FrameSink for Panicking {
    fn frames(&mut self, frames: &[&[u8]]) {
        panic!("cannot read {}", hex::encode(frames.concat()));
    }
}

/// Not a test: what panics. Without its environment it is nothing.
#[test]
fn the_one_that_panics() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let read = |name: &str| std::fs::read_to_string(Path::new(&folder).join(name)).unwrap();
    let _last_lines = tapir_runtime::logging::init("edm");
    let tls = tls::server_config(read("server.crt").as_bytes(), read("server.key").as_bytes(), None).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (counts, (_, shutdown)) = (Counts::default(), Shutdown::manual());
    let endpoints = [Endpoint::Tcp(read("tcp")), Endpoint::Tls(read("tls"), tls)];
    let senders = endpoints.map(|endpoint| {
        let (sender, wanted) = watch::channel(endpoint);
        let (state, _) = watch::channel(InputState::default());
        let input = Input { sinks: || Panicking, counts: counts.clone(), state, limits: watch::channel(Limits::default()).1 };
        runtime.spawn(input.run(wanted, shutdown.clone()));
        sender
    });
    // Until nobody sends any more; then by itself, with what it was told last.
    let mut told = String::new();
    std::io::stdin().read_to_string(&mut told).unwrap();
    assert_eq!(counts.closed.get_or_create(&ClosedLabels { end: End::Failed }).get(), FRAMES as u64, "connections that failed");
    drop(senders);
    panic!("and at last {told}");
}

/// Sends it some of the frames, and gives all that it said.
pub(super) fn output_of_the_one_that_panics(frames: &[Vec<u8>]) -> Vec<u8> {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("server"));
    let path = |name: &str| folder.path().join(name);
    let (certificate, key) = authority.issue("edm", &["localhost"]);
    let [tcp, tls]: [SocketAddr; 2] = [free_port(), free_port()].map(|port| ([127, 0, 0, 1], port).into());
    let files = [("server.crt", certificate), ("server.key", key), ("tcp", tcp.to_string()), ("tls", tls.to_string())];
    for (name, content) in files {
        std::fs::write(path(name), content).unwrap();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["panics::the_one_that_panics", "--exact", "--nocapture"])
        .env(FOLDER, folder.path())
        .env_remove("RUST_LOG")
        .env("TAPIR_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(path("stdout")).unwrap())
        .stderr(std::fs::File::create(path("stderr")).unwrap())
        .spawn()
        .unwrap();
    until("both inputs", || [tcp, tls].iter().all(|address| TcpStream::connect(address).is_ok()));
    let trust = Trust { server: authority.pem(), client: None };
    let some: Vec<_> = frames.iter().step_by(frames.len() / FRAMES).take(FRAMES).collect();
    for (number, frame) in some.iter().enumerate() {
        let mut sender = if number % 2 == 0 { Sender::tcp(tcp) } else { Sender::tls(tls, &trust).unwrap() };
        sender.shake_hands();
        sender.send(frame);
        sender.gone();
    }
    let text = hex::encode(some.into_iter().flatten().copied().collect::<Vec<u8>>());
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let status = child.wait().unwrap();
    let output = ["stdout", "stderr"].map(|name| std::fs::read(path(name)).unwrap()).concat();
    let said = String::from_utf8_lossy(&output);
    assert!(!status.success(), "{said}");
    let panics = said.lines().filter(|line| line.contains("\"message\":\"panic\"") && line.contains("backtrace")).count();
    assert_eq!(panics, FRAMES + 1, "{said}");
    output
}
