//! The way to the broker, which can be closed: nobody listens then, and connections end. The broker itself goes on, so nothing is lost by it.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use tapir_rig::free_port;

/// Both ends of each connection.
type Connections = Arc<Mutex<Vec<TcpStream>>>;

#[derive(Debug)]
pub(super) struct Gate {
    pub(super) port: u16,
    broker: SocketAddr,
    listener: Option<TcpListener>,
    connections: Connections,
}

impl Gate {
    pub(super) fn open(broker: SocketAddr) -> Result<Self> {
        let mut gate = Self { port: free_port(), broker, listener: None, connections: Connections::default() };
        gate.open_again()?;
        Ok(gate)
    }

    pub(super) fn open_again(&mut self) -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).context("listening in the broker's place")?;
        let ours = listener.try_clone().context("sharing a socket")?;
        let (broker, connections) = (self.broker, Arc::clone(&self.connections));
        thread::spawn(move || {
            // Ends when the socket is shut down.
            while let Ok((stream, _)) = ours.accept() {
                // One that cannot be made is one that ends.
                let _ = pass(stream, broker, &connections);
            }
        });
        self.listener = Some(listener);
        Ok(())
    }

    pub(super) fn close(&mut self) {
        if let Some(listener) = self.listener.take() {
            // Wakes the thread, which has the same socket (shutdown(2) of one that listens, on Linux).
            let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
        }
        for stream in lock(&self.connections).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
    }
}

fn pass(near: TcpStream, broker: SocketAddr, connections: &Connections) -> io::Result<()> {
    let far = TcpStream::connect(broker)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    lock(connections).extend([near.try_clone()?, far.try_clone()?]);
    for (mut from, mut to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn lock(connections: &Connections) -> MutexGuard<'_, Vec<TcpStream>> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_closed_gate_refuses_and_ends_what_is_open() {
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut gate = Gate::open(broker.local_addr().unwrap()).unwrap();
        for _ in 0..3 {
            let mut near = TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
            let (mut far, _) = broker.accept().unwrap();
            near.write_all(b"there").unwrap();
            let mut octets = [0; 5];
            far.read_exact(&mut octets).unwrap();
            far.write_all(&octets).unwrap();
            near.read_exact(&mut octets).unwrap();
            assert_eq!(&octets, b"there");
            gate.close();
            assert!(matches!(near.read(&mut octets), Ok(0) | Err(_)));
            assert!(matches!(far.read(&mut octets), Ok(0) | Err(_)));
            assert!(TcpStream::connect(("127.0.0.1", gate.port)).is_err());
            gate.open_again().unwrap();
        }
    }
}
