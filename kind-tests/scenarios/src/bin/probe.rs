//! `tapir-probe SERVER:PORT NAME`: a client that asks twenty times a second and forgives nothing.
//!
//! Each query goes out once, from a port of its own, without a retry. Each second one JSON line says how many were sent, how many
//! are decided and how many of these got no answer with `NOERROR` within three seconds.

use std::io::Write as _;
use std::net::UdpSocket;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PER_SECOND: u32 = 20;
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
    let [server, name] = arguments.as_slice() else {
        let _ = writeln!(std::io::stderr(), "usage: tapir-probe SERVER:PORT NAME");
        return ExitCode::from(2);
    };
    let counts = Arc::new(Counts::default());
    let start = Instant::now();
    for sent in 1u32.. {
        let (shared, server, message) = (Arc::clone(&counts), server.clone(), query(sent, name));
        std::thread::spawn(move || {
            let count = match ask(&server, &message) {
                Ok(true) => &shared.answered,
                Ok(false) => &shared.wrong,
                Err(_) => &shared.silent,
            };
            count.fetch_add(1, Ordering::Relaxed);
        });
        if sent.is_multiple_of(PER_SECOND) {
            let [answered, silent, wrong] =
                [&counts.answered, &counts.silent, &counts.wrong].map(|count| count.load(Ordering::Relaxed));
            let decided = answered + silent + wrong;
            let line = format!(r#"{{"sent":{sent},"decided":{decided},"silent":{silent},"wrong":{wrong}}}"#);
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                return ExitCode::FAILURE;
            }
        }
        std::thread::sleep((start + Duration::from_secs(1) * sent / PER_SECOND).saturating_duration_since(Instant::now()));
    }
    ExitCode::SUCCESS
}

fn ask(server: &str, message: &[u8]) -> std::io::Result<bool> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
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
