//! Connections: several requests each, answered in order (RFC 7766), transfers streamed as the reader takes them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tapir_runtime::panics::contained;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::answer::{Answer, Transport, header_only};
use super::connections::Waiting;
use super::guard::Guarded;
use super::server::Service;
use super::stream::{self, Limits, SendError, Windows};
use super::transfer::Transfer;
use super::tsig::Signer;
use super::zone::Zone;
use crate::state::blocking;
use crate::threads;

/// Transfers at once, and never on all connections that there may be; further ones wait [`TRANSFER_WAIT`], then get SERVFAIL and come
/// again.
const MOST_TRANSFERS: usize = 16;
/// Of which so many have 128 KiB to be rendered into at a time.
const MOST_WINDOWS: usize = 8;
const TRANSFER_WAIT: Duration = Duration::from_secs(5);
/// For the next request to come, whole.
const IDLE: Duration = Duration::from_secs(10);
/// For a single message to be taken by the reader.
const WRITE: Duration = Duration::from_secs(10);
/// How soon it is seen that one more connection waits, and may go.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// After an error of the listener (out of file descriptors, usually).
const PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
#[derive(Debug)]
struct Shared {
    waiting: Waiting,
    transfers: Semaphore,
    windows: Windows,
    limits: Limits,
}

/// Accepts until dropped; the connections end with it.
pub(super) async fn run<Z: Zone>(listener: TcpListener, service: Service<Z>) {
    let shared = Arc::new(Shared {
        waiting: Waiting::default(),
        transfers: Semaphore::new(MOST_TRANSFERS),
        windows: Windows::new(MOST_WINDOWS),
        limits: Limits::default(),
    });
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a DNS connection failed");
                sleep(PAUSE).await;
                continue;
            }
        };
        if !service.may_come(peer) {
            service.metrics.refused("tcp");
            continue;
        }
        // The one that has waited longest goes; also more than one, where there may be fewer than there were.
        while tasks.len() >= service.most_connections() {
            shared.waiting.dismiss_one();
            _ = timeout(LOOK_AGAIN, tasks.join_next()).await;
        }
        let (service, shared) = (service.clone(), Arc::clone(&shared));
        tasks.spawn(contained(async move {
            if let Err(error) = connection(stream, peer, &service, &shared).await {
                tracing::debug!(%error, "DNS connection ended");
            }
        }));
    }
}

async fn connection<Z: Zone>(
    mut stream: TcpStream,
    peer: SocketAddr,
    service: &Service<Z>,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    while read(&mut stream, &mut request, &shared.waiting).await? {
        service.metrics.query("tcp");
        let Guarded { answer, signer, .. } = answer(service, &request, peer).await;
        match answer {
            Answer::None => return Ok(()),
            Answer::Message(message) => write(&mut stream, &message).await?,
            Answer::Transfer(transfer) => {
                let (kind, turn) = (transfer.kind(), turn(service, shared).await);
                let Turn::Ours(_permit) = turn else {
                    service.metrics.transfer(kind, "busy", 0);
                    let mut busy = transfer.busy();
                    if let Some(mut signer) = signer {
                        signer.append(&mut busy);
                    }
                    write(&mut stream, &busy).await?;
                    match turn {
                        Turn::Dismissed => return Ok(()),
                        _ => continue,
                    }
                };
                let (back, (octets, sent)) = elsewhere(&service.threads, stream, transfer, signer, Arc::clone(shared)).await?;
                stream = back;
                service.metrics.transfer(kind, sent.as_ref().map_or_else(Into::into, |()| "done"), octets);
                if let Err(SendError::Unreadable(error)) = &sent {
                    tracing::error!(%error, "a transfer was broken off: the zone cannot be read");
                }
                sent.map_err(io::Error::other)?;
                tracing::debug!(octets, "zone transferred");
            }
        }
    }
    Ok(())
}

async fn answer<Z: Zone>(service: &Service<Z>, request: &[u8], peer: SocketAddr) -> Guarded<Z> {
    if !service.reads(request) {
        return service.answer(request, peer, Transport::Tcp);
    }
    let answer = match service.look_up(request, peer, Transport::Tcp) {
        Some(answer) => threads::run(&service.threads, answer).await.ok(),
        None => None,
    };
    let later = || Guarded { answer: header_only(request, ResponseCode::ServFail), signer: None, refused: None };
    answer.unwrap_or_else(later)
}

/// What came of waiting to be sent the zone.
enum Turn<'a> {
    Ours(SemaphorePermit<'a>),
    /// Others were not done in time.
    Late,
    /// Another connection needs the place: whoever only asks for the SOA is never kept out by those who take the zone slowly.
    Dismissed,
}

async fn turn<'a, Z: Zone>(service: &Service<Z>, shared: &'a Shared) -> Turn<'a> {
    let waiting = shared.waiting.begin();
    // Where there are few connections each transfer counts for several, so that a quarter of them stays for others.
    let most = (service.most_connections() * 3 / 4).clamp(1, MOST_TRANSFERS);
    let counts_for = u32::try_from(MOST_TRANSFERS.div_ceil(most)).unwrap_or(1);
    tokio::select! {
        biased;
        permit = timeout(TRANSFER_WAIT, shared.transfers.acquire_many(counts_for)) => match permit {
            Ok(Ok(permit)) => Turn::Ours(permit),
            _ => Turn::Late,
        },
        () = waiting.dismissed() => Turn::Dismissed,
    }
}

/// Octets that went out, and how it ended.
type Sent = (u64, Result<(), SendError>);

/// Sends it from the threads of transfers; the connection comes back.
async fn elsewhere<Z: Zone>(
    handle: &Handle,
    stream: TcpStream,
    transfer: Transfer<Z>,
    signer: Option<Signer>,
    shared: Arc<Shared>,
) -> io::Result<(TcpStream, Sent)> {
    let stream = stream.into_std()?;
    let sent = threads::run(handle, async move {
        let stream = TcpStream::from_std(stream)?;
        let sent = send(&stream, transfer, signer, &shared).await;
        Ok::<_, io::Error>((stream.into_std()?, sent))
    });
    let (stream, sent) = sent.await??;
    Ok((TcpStream::from_std(stream)?, sent))
}

async fn send<Z: Zone>(stream: &TcpStream, transfer: Transfer<Z>, signer: Option<Signer>, shared: &Shared) -> Sent {
    // Changes may have to be condensed first.
    let mut outgoing = match blocking(|| transfer.begin(signer)) {
        Ok(outgoing) => outgoing,
        Err(error) => return (0, Err(error.into())),
    };
    stream::send(stream, outgoing.as_mut(), &shared.windows, &shared.limits).await
}

/// `false` at the end of the stream, after too long a silence, and when another connection needs the place.
async fn read(stream: &mut TcpStream, request: &mut Vec<u8>, waiting: &Waiting) -> io::Result<bool> {
    let turn = waiting.begin();
    let whole = async {
        let mut length = [0; 2];
        match stream.read_exact(&mut length).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
        request.resize(usize::from(u16::from_be_bytes(length)), 0);
        stream.read_exact(request).await.map(|_| true)
    };
    tokio::select! {
        biased;
        read = timeout(IDLE, whole) => read.unwrap_or(Ok(false)),
        () = turn.dismissed() => Ok(false),
    }
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::other("message longer than 65535 octets"))?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    timeout(WRITE, stream.write_all(&framed)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
