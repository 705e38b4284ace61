//! The one way in: connections to a port of the host's 127.0.0.1 are carried to the API server.
//!
//! The listening socket was made on the host and handed down as standard input; a socket stays in the network namespace that it was
//! made in, while connections made here belong to the node. So the node needs no interface that the host can see.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

const API_SERVER: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 6443);

/// Each takes two threads; the tests' clients hold a few dozen.
const CONNECTIONS: usize = 512;

pub(crate) fn start() -> Result<()> {
    let socket = io::stdin().as_fd().try_clone_to_owned().context("taking over the forwarder's socket")?;
    let listener = TcpListener::from(socket);
    thread::Builder::new().name("forwarder".into()).spawn(move || accept(&listener)).context("starting the forwarder")?;
    Ok(())
}

fn accept(listener: &TcpListener) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((outside, _)) = listener.accept() else {
            // Out of descriptors, for instance.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if open.load(Ordering::Relaxed) >= CONNECTIONS {
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let open = Arc::clone(&open);
        thread::spawn(move || {
            // Either side may go away at any time; the other one sees its connection end.
            let _ = carry(&outside);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn carry(outside: &TcpStream) -> io::Result<()> {
    let inside = TcpStream::connect(API_SERVER)?;
    for stream in [outside, &inside] {
        stream.set_nodelay(true)?;
    }
    thread::scope(|scope| {
        scope.spawn(|| one_way(outside, &inside));
        one_way(&inside, outside);
    });
    Ok(())
}

fn one_way(mut from: &TcpStream, mut to: &TcpStream) {
    let failed = io::copy(&mut from, &mut to).is_err();
    let _ = to.shutdown(Shutdown::Write);
    if failed {
        // Wakes the other direction, which may be waiting for bytes that will never come.
        let _ = from.shutdown(Shutdown::Both);
    }
}
