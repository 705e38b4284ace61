//! The other end of a connection, over a unix socket, TCP or TLS: reads and writes that end in time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustls::{ServerConfig, ServerConnection};

use super::end::End;
use super::tls;

/// A TCP peer that is silent for so long is asked whether it is still there,
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(30);
/// again after so long,
const KEEP_ALIVE_PAUSE: Duration = Duration::from_secs(10);
/// and is gone if it does not answer so often.
const KEEP_ALIVE_PROBES: u32 = 3;

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    /// On this machine.
    Unix(UnixStream),
    /// Over the network.
    Tcp(TcpStream),
}

impl Socket {
    /// Ready to be waited for; a TCP peer that vanishes is noticed.
    pub(super) fn prepare(&self) -> io::Result<()> {
        self.set_nonblocking(false)?;
        if let Self::Tcp(stream) = self {
            sockopt::set_socket_keepalive(stream, true)?;
            sockopt::set_tcp_keepidle(stream, KEEP_ALIVE_AFTER)?;
            sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE_PAUSE)?;
            sockopt::set_tcp_keepcnt(stream, KEEP_ALIVE_PROBES)?;
            stream.set_nodelay(true)?;
        }
        Ok(())
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
        }
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_nonblocking(nonblocking),
            Self::Tcp(stream) => stream.set_nonblocking(nonblocking),
        }
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(timeout),
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
        }
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_write_timeout(timeout),
            Self::Tcp(stream) => stream.set_write_timeout(timeout),
        }
    }

    /// Ends reading, or both directions. What was received already can still be read.
    pub(super) fn shut(&self, how: Shutdown) {
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(how),
            Self::Tcp(stream) => stream.shutdown(how),
        };
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(room),
            Self::Tcp(stream) => stream.read(room),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(octets),
            Self::Tcp(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What of a connection is spoken to.
#[derive(Debug)]
pub(super) enum Peer {
    Plain(Socket),
    Tls(TcpStream, Box<ServerConnection>),
}

impl Peer {
    pub(super) fn new(socket: Socket, tls: Option<Arc<ServerConfig>>) -> Result<Self, End> {
        match (socket, tls) {
            (Socket::Tcp(stream), Some(config)) => {
                let session = ServerConnection::new(config).map_err(|_| End::Failed)?;
                Ok(Self::Tls(stream, Box::new(session)))
            }
            (socket, _) => Ok(Self::Plain(socket)),
        }
    }

    /// Agrees upon TLS, if there is to be any.
    pub(super) fn shake_hands(&mut self, deadline: Instant) -> Result<(), End> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream, session) => tls::shake_hands(session, stream, deadline),
        }
    }

    /// How long a read without a deadline waits.
    pub(super) fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.set_read_timeout(patience),
            Self::Tls(stream, _) => stream.set_read_timeout(patience),
        }
    }

    /// Reads something. Zero is the end.
    pub(super) fn read(&mut self, room: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        let wait_no_longer = |socket: &dyn Fn(Option<Duration>) -> io::Result<()>| match deadline {
            Some(deadline) => socket(Some(remaining(deadline).map_err(|_| io::ErrorKind::TimedOut)?)),
            None => Ok(()),
        };
        match self {
            Self::Plain(socket) => {
                wait_no_longer(&|timeout| socket.set_read_timeout(timeout))?;
                socket.read(room)
            }
            Self::Tls(stream, session) => loop {
                match session.reader().read(room) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // Without the farewell of TLS: the frames that came are whole all the same.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                    outcome => return outcome,
                }
                wait_no_longer(&|timeout| stream.set_read_timeout(timeout))?;
                // An end is what the next look at the plain text tells of.
                session.read_tls(stream)?;
                session.process_new_packets().map_err(|_| io::ErrorKind::InvalidData)?;
                if session.wants_write() {
                    session.write_tls(stream)?;
                }
            },
        }
    }

    /// Sends all of it.
    pub(super) fn write(&mut self, mut octets: &[u8], deadline: Instant) -> Result<(), End> {
        match self {
            Self::Tls(stream, session) => {
                session.writer().write_all(octets).map_err(|_| End::Broken)?;
                tls::write_all(session, stream, deadline)
            }
            Self::Plain(socket) => {
                while !octets.is_empty() {
                    socket.set_write_timeout(Some(remaining(deadline)?)).map_err(|_| End::Broken)?;
                    match socket.write(octets) {
                        Ok(0) => return Err(End::Broken),
                        Ok(count) => octets = octets.get(count..).unwrap_or_default(),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(end_of(&error, End::HandshakeTimeout)),
                    }
                }
                Ok(())
            }
        }
    }

    /// Says farewell, where that is usual.
    pub(super) fn close(&mut self, deadline: Instant) {
        if let Self::Tls(stream, session) = self {
            session.send_close_notify();
            let _ = tls::write_all(session, stream, deadline);
        }
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.set_nonblocking(nonblocking),
            Self::Tls(stream, _) => stream.set_nonblocking(nonblocking),
        }
    }

    /// Octets that were received and not read: `SIOCINQ`. Over TLS, with its envelopes.
    pub(super) fn waiting(&self) -> u64 {
        let fd = match self {
            Self::Plain(socket) => socket.fd(),
            Self::Tls(stream, _) => stream.as_fd(),
        };
        rustix::io::ioctl_fionread(fd).unwrap_or(0)
    }
}

/// What is left until then; none is the end.
pub(super) fn remaining(deadline: Instant) -> Result<Duration, End> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(End::HandshakeTimeout) } else { Ok(left) }
}

/// What becomes of a connection after this error; `late` is what a time-out means.
pub(super) fn end_of(error: &io::Error, late: End) -> End {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => late,
        io::ErrorKind::InvalidData => End::Tls,
        _ => End::Broken,
    }
}
