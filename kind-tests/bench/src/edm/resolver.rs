//! A resolver's end of a dnstap connection (Frame Streams, bidirectional). What it writes is there already; the time that it takes is the kernel's.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// Control frames with the content type `protobuf:dnstap.Dnstap`, and those without.
pub(super) const READY: &[u8] = b"\0\0\0\0\0\0\0\x22\0\0\0\x04\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
pub(super) const ACCEPT: &[u8] = b"\0\0\0\0\0\0\0\x22\0\0\0\x01\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
pub(super) const START: &[u8] = b"\0\0\0\0\0\0\0\x22\0\0\0\x02\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
pub(super) const STOP: &[u8] = b"\0\0\0\0\0\0\0\x04\0\0\0\x03";
pub(super) const FINISH: &[u8] = b"\0\0\0\0\0\0\0\x04\0\0\0\x05";

/// Written at a time.
const PIECE: usize = 256 << 10;
/// A reader that takes nothing for so long has stopped.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection, hands shaken.
#[derive(Debug)]
pub(super) struct Resolver(UnixStream);

impl Resolver {
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let mut stream = UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE)).context("setting up a connection")?;
        stream.set_write_timeout(Some(PATIENCE)).context("setting up a connection")?;
        stream.write_all(READY).context("greeting")?;
        expect(&mut stream, ACCEPT)?;
        stream.write_all(START).context("greeting")?;
        Ok(Self(stream))
    }

    pub(super) fn send(&mut self, octets: &[u8]) -> Result<()> {
        octets.chunks(PIECE).try_for_each(|piece| self.0.write_all(piece)).context("sending frames")
    }

    /// Everything was read when this returns.
    pub(super) fn finish(mut self) -> Result<()> {
        self.0.write_all(STOP).context("taking leave")?;
        expect(&mut self.0, FINISH)
    }
}

/// Reads exactly these octets.
pub(super) fn expect(stream: &mut UnixStream, octets: &[u8]) -> Result<()> {
    let mut read = vec![0; octets.len()];
    stream.read_exact(&mut read).context("reading a control frame")?;
    if read != octets {
        bail!("an unexpected control frame: {read:?}");
    }
    Ok(())
}
