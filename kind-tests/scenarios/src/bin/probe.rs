//! `tapir-probe SERVER:PORT NAME`: a client that asks twenty times a second and forgives nothing.
//!
//! Each query goes out once, without a retry, from a port that was not used for ten minutes: a Service remembers by address and port of a
//! client which Pod it was sent to, for up to two minutes, and forgets a Pod that ended a moment after it ended. A port that comes back in
//! that moment loses its query, whoever ended the Pod.
//!
//! After every twenty one JSON line says how many were sent, how many are decided and how many of these got no answer with `NOERROR` within
//! three seconds. What could not be asked in time is not made up for later: then fewer are sent, and whoever reads the lines sees that.
//!
//! `tapir-probe show FILE` prints a file and `tapir-probe list FOLDER` the names in a folder, for images and Pods without a shell.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PER_LINE: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);
/// Below those that the kernel hands out by itself, and all of them are used in ten minutes.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    silent: AtomicU64,
    wrong: AtomicU64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = std::io::stdout();
    if arguments.iter().any(|argument| argument == "--version") {
        let _ = writeln!(out, "tapir-probe {}", tapir_version::LONG);
        return ExitCode::SUCCESS;
    }
    // Standard output is for counts alone.
    let _ = writeln!(std::io::stderr(), "tapir-probe {}", tapir_version::LONG);
    let [first, second] = arguments.as_slice() else {
        let _ = writeln!(std::io::stderr(), "usage: tapir-probe SERVER:PORT NAME | show FILE | list FOLDER");
        return ExitCode::from(2);
    };
    match first.as_str() {
        "show" => told(std::fs::read_to_string(second)),
        "list" => told(names(second)),
        server => ask_for_ever(server, second),
    }
}

fn told(text: std::io::Result<String>) -> ExitCode {
    match text.and_then(|text| std::io::stdout().write_all(text.as_bytes())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tapir-probe: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One a line.
fn names(folder: &str) -> std::io::Result<String> {
    std::fs::read_dir(folder)?.map(|entry| Ok(format!("{}\n", entry?.file_name().to_string_lossy()))).collect()
}

fn ask_for_ever(server: &str, name: &str) -> ExitCode {
    let mut out = std::io::stdout();
    let Some(server) = server.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()) else {
        return told(Err(std::io::Error::other(format!("{server} is no address with a port"))));
    };
    let counts = Arc::new(Counts::default());
    let mut next = Instant::now();
    for sent in 1u32.. {
        let (shared, message, port) = (Arc::clone(&counts), query(sent, name), port(sent));
        std::thread::spawn(move || {
            let count = match ask(server, port, &message) {
                Ok(true) => &shared.answered,
                Ok(false) => &shared.wrong,
                Err(_) => &shared.silent,
            };
            count.fetch_add(1, Ordering::Relaxed);
        });
        if sent.is_multiple_of(PER_LINE) {
            let [answered, silent, wrong] =
                [&counts.answered, &counts.silent, &counts.wrong].map(|count| count.load(Ordering::Relaxed));
            let decided = answered + silent + wrong;
            let line = format!(r#"{{"sent":{sent},"decided":{decided},"silent":{silent},"wrong":{wrong}}}"#);
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                return ExitCode::FAILURE;
            }
        }
        // A wake-up that comes a little late does not slow the row down; a pause is not followed by a burst.
        let now = Instant::now();
        next = (next + PAUSE).max(now.checked_sub(PAUSE).unwrap_or(now));
        std::thread::sleep(next.saturating_duration_since(now));
    }
    ExitCode::SUCCESS
}

fn port(number: u32) -> u16 {
    let step = number % u32::from(PORTS.end - PORTS.start);
    PORTS.start + u16::try_from(step).unwrap_or_default()
}

fn ask(server: SocketAddr, port: u16, message: &[u8]) -> std::io::Result<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(message)?;
    let mut answer = [0u8; 4096];
    let length = socket.recv(&mut answer)?;
    // Same identifier, a response, RCODE 0 and at least one record (RFC 1035 section 4.1.1).
    Ok(length > 12 && answer[..2] == message[..2] && answer[2] & 0x80 != 0 && answer[3] & 0x0f == 0 && answer[6..8] != [0, 0])
}

fn query(number: u32, name: &str) -> Vec<u8> {
    let [.., high, low] = number.to_be_bytes();
    let mut message = vec![high, low, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).unwrap_or(63));
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}
