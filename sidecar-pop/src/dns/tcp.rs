//! Connections: several requests each, answered in order (RFC 7766), transfers streamed as the reader takes them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::access::permitted;
use super::answer::{Answer, Transport, answer};
use super::server::Service;
use super::transfer::{MESSAGE_LIMIT, Transfer};

/// Connections at once; further ones wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 64;
/// Transfers at once, each with 64 KiB of buffer; further ones wait [`TRANSFER_WAIT`], then get SERVFAIL and come again.
const MOST_TRANSFERS: usize = 8;
const TRANSFER_WAIT: Duration = Duration::from_secs(5);
/// For the next request to come, whole.
const IDLE: Duration = Duration::from_secs(10);
/// For one message of up to 64 KiB to be taken by the reader.
const WRITE: Duration = Duration::from_secs(10);
/// After an error of the listener (out of file descriptors, usually).
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until dropped; the connections end with it.
pub(super) async fn run(listener: TcpListener, service: Service) {
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let transfers = Arc::new(Semaphore::new(MOST_TRANSFERS));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a DNS connection failed");
                sleep(PAUSE).await;
                continue;
            }
        };
        if !permitted(peer) {
            service.metrics.refused("tcp");
            continue;
        }
        let (service, transfers) = (service.clone(), Arc::clone(&transfers));
        tasks.spawn(async move {
            if let Err(error) = connection(stream, &service, &transfers).await {
                tracing::debug!(%error, "DNS connection ended");
            }
            drop(permit);
        });
    }
}

async fn connection(mut stream: TcpStream, service: &Service, transfers: &Semaphore) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    while read(&mut stream, &mut request).await? {
        service.metrics.query("tcp");
        match answer(&request, Transport::Tcp, service.snapshot().as_ref()) {
            Answer::None => return Ok(()),
            Answer::Message(message) => write(&mut stream, &message).await?,
            Answer::Transfer(transfer) => {
                let Ok(Ok(_permit)) = timeout(TRANSFER_WAIT, transfers.acquire()).await else {
                    service.metrics.transfer("busy");
                    write(&mut stream, &transfer.busy()).await?;
                    continue;
                };
                let sent = send(&mut stream, &transfer).await;
                service.metrics.transfer(if sent.is_ok() { "done" } else { "broken" });
                sent?;
            }
        }
    }
    Ok(())
}

async fn send(stream: &mut TcpStream, transfer: &Transfer) -> io::Result<()> {
    for message in transfer.messages(MESSAGE_LIMIT) {
        write(stream, &message).await?;
    }
    tracing::debug!(serial = transfer.snapshot.serial.0, records = transfer.snapshot.content.records.len(), "zone transferred");
    Ok(())
}

/// `false` at the end of the stream.
async fn read(stream: &mut TcpStream, request: &mut Vec<u8>) -> io::Result<bool> {
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
    timeout(IDLE, whole).await.unwrap_or(Ok(false))
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::other("message longer than 65535 octets"))?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    timeout(WRITE, stream.write_all(&framed)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
