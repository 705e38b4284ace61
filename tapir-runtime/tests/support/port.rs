//! Ports for servers that cannot be given a bound socket.
#![allow(dead_code, unreachable_pub)]

use std::hash::{BuildHasher as _, RandomState};
use std::net::{TcpListener, UdpSocket};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range that the kernel takes ports from for whoever asks for any: a port from that range may be the source of somebody's
/// connection a moment later, even of one to itself.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// Each process begins elsewhere.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(RandomState::new().hash_one(std::process::id()) as u16));

/// A port of the loopback address that is free for UDP and TCP, and never given out twice by this process.
pub fn free_port() -> u16 {
    loop {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let (tcp, udp) = (TcpListener::bind(("127.0.0.1", port)), UdpSocket::bind(("127.0.0.1", port)));
        if tcp.is_ok() && udp.is_ok() {
            return port;
        }
    }
}
