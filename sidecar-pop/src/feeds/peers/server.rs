//! What peers are told: a snapshot, line by line, so that a slow reader holds no more than a few pages of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tapir_runtime::back_off::BackOff;
use tapir_runtime::panics::contained;
use tapir_runtime::shutdown::Shutdown;
use tapir_table::Cursor as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::line::Line;
use super::{Identity, PATH};
use crate::admin::Question;
use crate::knowledge::observations::Observations;

/// Peers that are told at once; more wait.
const AT_ONCE: usize = 4;
/// Connections that wait for that.
const WAITING: usize = 16;
/// For a handshake and a request, and for each part of an answer.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_REQUEST: usize = 8192;
const PART: usize = 16 << 10;

/// Serves peers at `address` until the shutdown; while there is no identity nobody is let in.
pub async fn serve(
    address: SocketAddr,
    identity: watch::Receiver<Option<Identity>>,
    engine: mpsc::Sender<Question>,
    shutdown: Shutdown,
) {
    tokio::select! {
        () = listen(address, identity, engine) => {}
        () = shutdown.requested() => {}
    }
}

async fn listen(address: SocketAddr, identity: watch::Receiver<Option<Identity>>, engine: mpsc::Sender<Question>) {
    let mut pauses = BackOff::LOCAL.start();
    let told = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let listener = match bind(address).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(%address, %error, "peers cannot be served there, trying again");
                sleep(pauses.next_pause()).await;
                continue;
            }
        };
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            if connections.len() >= WAITING {
                connections.join_next().await;
            }
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (identity, engine, told) = (identity.borrow().clone(), engine.clone(), Arc::clone(&told));
                    connections.spawn(contained(async move {
                        if let Some(identity) = identity {
                            // Whoever goes away in between, does.
                            _ = answer(stream, &identity, &engine, &told).await;
                        }
                    }));
                }
                // No descriptors left, for example.
                Err(_) => sleep(pauses.next_pause()).await,
            }
        }
    }
}

/// Where there is no IPv6, every address is one of IPv4.
async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if error.kind() != std::io::ErrorKind::AddrInUse && address.is_ipv6() && address.ip().is_unspecified() => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

async fn answer(
    stream: TcpStream,
    identity: &Identity,
    engine: &mpsc::Sender<Question>,
    told: &Semaphore,
) -> std::io::Result<()> {
    let mut stream = timeout(PATIENCE, TlsAcceptor::from(Arc::clone(&identity.server)).accept(stream)).await??;
    if !identity.is_ours(stream.get_ref().1.peer_certificates()) {
        tracing::warn!("somebody with the certificate of another node asked for observations");
        return stream.shutdown().await;
    }
    let request = timeout(PATIENCE, request(&mut stream)).await??;
    if !request.starts_with(format!("GET {PATH} HTTP/1.").as_bytes()) {
        let status = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        timeout(PATIENCE, stream.write_all(status)).await??;
        return stream.shutdown().await;
    }
    let Ok(_permit) = told.acquire().await else { return Ok(()) };
    let (reply, observations) = oneshot::channel();
    let gone = |_| std::io::Error::other("the engine does not answer");
    engine.send(Question::Observations(reply)).await.map_err(|_| std::io::Error::other("the engine has ended"))?;
    let observations = timeout(PATIENCE, observations).await?.map_err(gone)?;
    let head =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    timeout(PATIENCE, stream.write_all(head)).await??;
    for (list, observations) in &observations {
        tell(&mut stream, list, observations).await?;
    }
    timeout(PATIENCE, stream.write_all(b"0\r\n\r\n")).await??;
    stream.shutdown().await
}

/// Up to the blank line.
async fn request(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut part).await?;
        if count == 0 || request.len() + count > LONGEST_REQUEST {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        request.extend_from_slice(part.get(..count).unwrap_or_default());
    }
    Ok(request)
}

async fn tell(stream: &mut (impl tokio::io::AsyncWrite + Unpin), list: &str, observations: &Observations) -> std::io::Result<()> {
    let mut part = Vec::with_capacity(PART + 1024);
    // What was taken back first: a name that is both is live.
    let mut guards = observations.guards().cursor();
    while guards.advance().map_err(std::io::Error::other)? {
        push(&mut part, Line::removed(list, guards.key(), guards.value()));
        send(stream, &mut part, PART).await?;
    }
    let mut live = observations.live().cursor();
    while live.advance().map_err(std::io::Error::other)? {
        push(&mut part, Line::live(list, live.key(), live.value()));
        send(stream, &mut part, PART).await?;
    }
    send(stream, &mut part, 1).await
}

fn push(part: &mut Vec<u8>, line: Option<Line>) {
    if let Some(line) = line
        && let Ok(text) = serde_json::to_vec(&line)
    {
        part.extend(text);
        part.push(b'\n');
    }
}

async fn send(stream: &mut (impl tokio::io::AsyncWrite + Unpin), part: &mut Vec<u8>, least: usize) -> std::io::Result<()> {
    if part.len() < least {
        return Ok(());
    }
    let framed = [format!("{:x}\r\n", part.len()).as_bytes(), part.as_slice(), b"\r\n"].concat();
    timeout(PATIENCE, stream.write_all(&framed)).await??;
    part.clear();
    Ok(())
}
