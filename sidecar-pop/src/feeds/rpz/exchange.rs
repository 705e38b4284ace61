//! Questions to a primary: which version it has (SOA, RFC 1034 section 4.3.5), and a transfer.
//!
//! Blocking, on a thread of its own: a transfer goes record by record into the sorter, and the network waits for that.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tapir_runtime::shutdown::Shutdown;

use crate::dns::records::{
    CLASS_IN, Event, HEADER, Incoming, Limits, Malformed, Outcome, Progress, Reader, Section, Soa, TransferError, Wanted,
    WireName, kind,
};
use crate::dns::tsig::{self, Key, Untrusted};
use crate::feeds::store::Leave;

/// How long an answer to a datagram is waited for, and how often it is sent.
const DATAGRAM: Duration = Duration::from_secs(2);
const DATAGRAMS: u32 = 2;
/// How long a connection may take, and how long it may be silent.
const CONNECT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(10);
/// The longest that a transfer takes: whoever sends an octet now and then is no use.
const TRANSFER: Duration = Duration::from_secs(15 * 60);
/// How often a wait looks whether it is time to end.
const LOOK: Duration = Duration::from_millis(250);
/// Answer to a question, without what comes behind it in transfers.
const LONGEST_DATAGRAM: usize = 4096;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the transfer was cut off")]
    Cut,
    #[error("the primary was silent for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the transfer takes more than {} minutes", TRANSFER.as_secs() / 60)]
    Slow,
    #[error("the primary refuses with code {0}; does it know this address and key?")]
    Refused(u8),
    #[error("the primary has no SOA of the zone")]
    NoSoa,
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    #[error("POP is stopping")]
    Stopping,
}

impl From<Malformed> for ExchangeError {
    fn from(error: Malformed) -> Self {
        Self::Transfer(error.into())
    }
}

/// Whom to ask for what.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) primary: SocketAddr,
    pub(super) zone: WireName,
    pub(super) key: Option<Arc<Key>>,
    pub(super) limits: Limits,
    pub(super) shutdown: Shutdown,
    pub(super) leave: Leave,
}

impl Asked {
    /// Whether nobody wants to know any more.
    fn stops(&self) -> bool {
        self.shutdown.is_triggered() || self.leave.has_left()
    }

    /// Which version the primary has: by a datagram, over TCP where that does not fit or does not come.
    pub(super) fn probe(&self) -> Result<Soa, ExchangeError> {
        for _ in 0..DATAGRAMS {
            match self.probe_datagram() {
                Ok(Some(soa)) => return Ok(soa),
                Ok(None) => break,
                // Nobody there, or nobody who answers: a firewall may let only TCP through.
                Err(ExchangeError::Silent | ExchangeError::Io(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let (id, request, mut verifier) = self.request(kind::SOA, None)?;
        let mut connection = Connection::open(self, &request)?;
        let mut message = connection.message()?;
        if let Some(verifier) = &mut verifier {
            verifier.open(&mut message, tsig::now())?;
        }
        self.soa_of(&message, id)?.ok_or(ExchangeError::NoSoa)
    }

    /// `None`: it does not fit into a datagram.
    fn probe_datagram(&self) -> Result<Option<Soa>, ExchangeError> {
        let any: SocketAddr = if self.primary.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(self.primary)?;
        let (id, request, mut verifier) = self.request(kind::SOA, None)?;
        socket.send(&request)?;
        let end = Instant::now() + DATAGRAM;
        let mut buffer = [0; LONGEST_DATAGRAM];
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if self.stops() {
                return Err(ExchangeError::Stopping);
            }
            socket.set_read_timeout(Some(left.min(LOOK)))?;
            let length = match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if is_wait(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut message = buffer.get(..length).unwrap_or_default().to_vec();
            // Somebody else's datagram is none.
            if message.first_chunk() != Some(&id.to_be_bytes()) {
                continue;
            }
            if let Some(verifier) = &mut verifier {
                verifier.open(&mut message, tsig::now())?;
            }
            return self.soa_of(&message, id);
        }
        Err(ExchangeError::Silent)
    }

    /// `None`: it was cut.
    fn soa_of(&self, message: &[u8], id: u16) -> Result<Option<Soa>, ExchangeError> {
        let mut reader = Reader::new(message)?;
        let header = *reader.header();
        let same = reader.question().is_none_or(|question| question.name == self.zone && question.kind == kind::SOA);
        if !header.is_response() || header.opcode() != 0 || header.id != id || !same {
            return Err(TransferError::Unasked.into());
        }
        if header.code() != 0 {
            return Err(ExchangeError::Refused(header.code()));
        }
        if header.is_truncated() {
            return Ok(None);
        }
        while let Some(record) = reader.next()? {
            if record.section == Section::Answer
                && record.kind == kind::SOA
                && record.class == CLASS_IN
                && record.owner == self.zone
            {
                return Ok(Some(record.soa()?));
            }
        }
        Err(ExchangeError::NoSoa)
    }

    /// Transfers. `each` gets what comes; nothing of it may count before this returns without an error.
    pub(super) fn transfer<E>(
        &self,
        wanted: Wanted,
        mut each: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<Outcome, TransferFailed<E>> {
        let (kind, held) = match wanted {
            Wanted::Whole => (kind::AXFR, None),
            Wanted::Since(held) => (kind::IXFR, Some(held.0)),
        };
        let (id, request, mut verifier) = self.request(kind, held)?;
        let mut connection = Connection::open(self, &request)?;
        let mut incoming = Incoming::new(self.zone, id, wanted, self.limits);
        loop {
            let mut message = connection.message()?;
            if let Some(verifier) = &mut verifier {
                verifier.open(&mut message, tsig::now()).map_err(ExchangeError::from)?;
            }
            let taken = incoming.take(&message, |event| each(event).map_err(Stopped::Each));
            match taken {
                Ok(Progress::More) => {}
                Ok(Progress::Done(outcome)) => {
                    if let Some(verifier) = verifier {
                        verifier.finish().map_err(ExchangeError::from)?;
                    }
                    return Ok(outcome);
                }
                Err(Stopped::Each(error)) => return Err(TransferFailed::Each(error)),
                Err(Stopped::Transfer(error)) => return Err(ExchangeError::from(error).into()),
            }
        }
    }

    fn request(&self, kind: u16, held: Option<u32>) -> Result<(u16, Vec<u8>, Option<tsig::Verifier>), ExchangeError> {
        let mut id = [0; 2];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| io::Error::other("no random number to be had"))?;
        let mut message = Vec::with_capacity(512);
        message.extend(id);
        message.extend([0, 0, 0, 1, 0, 0, 0, u8::from(held.is_some()), 0, 0]);
        message.extend(self.zone.as_bytes());
        message.extend(kind.to_be_bytes());
        message.extend(CLASS_IN.to_be_bytes());
        if let Some(serial) = held {
            // The SOA of what is held (RFC 1995 section 3); nobody reads more of it than the number.
            let [high, low] = [0xc0, u8::try_from(HEADER).unwrap_or_default()];
            message.extend([high, low]);
            message.extend(kind::SOA.to_be_bytes());
            message.extend(CLASS_IN.to_be_bytes());
            message.extend([0, 0, 0, 0, 0, 22, 0, 0]);
            message.extend(serial.to_be_bytes());
            message.extend([0; 16]);
        }
        let verifier = self.key.as_ref().map(|key| tsig::request(&mut message, key, tsig::now));
        Ok((u16::from_be_bytes(id), message, verifier))
    }
}

/// Why a transfer counts for nothing.
#[derive(Debug)]
pub(super) enum TransferFailed<E> {
    /// The other side, or the way to it.
    Exchange(ExchangeError),
    /// What came could not be taken.
    Each(E),
}

impl<E> From<ExchangeError> for TransferFailed<E> {
    fn from(error: ExchangeError) -> Self {
        Self::Exchange(error)
    }
}

enum Stopped<E> {
    Transfer(TransferError),
    Each(E),
}

impl<E> From<TransferError> for Stopped<E> {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

struct Connection<'a> {
    stream: TcpStream,
    end: Instant,
    asked: &'a Asked,
}

impl<'a> Connection<'a> {
    fn open(asked: &'a Asked, request: &[u8]) -> Result<Self, ExchangeError> {
        let mut stream = TcpStream::connect_timeout(&asked.primary, CONNECT)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(SILENCE))?;
        let length = u16::try_from(request.len()).map_err(io::Error::other)?;
        // In one piece: some servers want length and message in one segment.
        stream.write_all(&[&length.to_be_bytes(), request].concat())?;
        Ok(Self { stream, end: Instant::now() + TRANSFER, asked })
    }

    fn message(&mut self) -> Result<Vec<u8>, ExchangeError> {
        let mut length = [0; 2];
        self.fill(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        self.fill(&mut message)?;
        Ok(message)
    }

    fn fill(&mut self, mut rest: &mut [u8]) -> Result<(), ExchangeError> {
        let mut heard = Instant::now();
        while !rest.is_empty() {
            match self.stream.read(rest) {
                Ok(0) => return Err(ExchangeError::Cut),
                Ok(count) => {
                    heard = Instant::now();
                    rest = rest.get_mut(count..).unwrap_or_default();
                }
                Err(error) if is_wait(&error) => {}
                Err(error) => return Err(error.into()),
            }
            let now = Instant::now();
            if self.asked.stops() {
                return Err(ExchangeError::Stopping);
            }
            if now > self.end {
                return Err(ExchangeError::Slow);
            }
            if now.duration_since(heard) > SILENCE {
                return Err(ExchangeError::Silent);
            }
        }
        Ok(())
    }
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
