//! A resolver that takes NOTIFY (RFC 1996) and answers, and remembers when it came.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::reader;

/// When which serial was told.
#[derive(Debug)]
pub(super) struct Notified {
    pub(super) address: SocketAddr,
    told: Receiver<(Instant, u32)>,
}

impl Notified {
    /// Answers until this process ends.
    pub(super) fn start() -> Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).context("binding a socket for NOTIFY")?;
        let address = socket.local_addr().context("binding a socket for NOTIFY")?;
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let now = Instant::now();
                let Some(message) = buffer.get_mut(..length) else { continue };
                let serial = reader::soa(message).and_then(|soa| soa.first_chunk().map(|serial| u32::from_be_bytes(*serial)));
                // It is a response now (QR).
                if let Some(flags) = message.get_mut(2) {
                    *flags |= 0x80;
                }
                let _ = socket.send_to(message, from);
                if let Some(serial) = serial
                    && tell.send((now, serial)).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { address, told })
    }

    /// What was told so far is of no interest.
    pub(super) fn drain(&self) {
        while self.told.try_recv().is_ok() {}
    }

    /// When another serial than this was told first, and which.
    pub(super) fn after(&self, serial: u32, within: Duration) -> Option<(Instant, u32)> {
        let end = Instant::now() + within;
        while let Ok((at, told)) = self.told.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if told != serial {
                return Some((at, told));
            }
        }
        None
    }
}
