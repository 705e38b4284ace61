//! The listening socket. One that replaces another is bound before the other is dropped; until it is, the other stays in service.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::back_off::{BackOff, Pauses};

/// Where the port stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpState {
    /// The address in service.
    pub bound: Option<SocketAddr>,
    /// Why it is not the one that is wanted.
    pub error: Option<String>,
}

/// Follows the wanted address.
#[derive(Debug)]
pub(super) struct Listener {
    wanted: watch::Receiver<SocketAddr>,
    serving: Option<Serving>,
    state: watch::Sender<HttpState>,
    pauses: Pauses,
    /// When to try again after a failure.
    again: Option<Instant>,
}

#[derive(Debug)]
struct Serving {
    /// As it was asked for: the port may be 0.
    address: SocketAddr,
    listener: TcpListener,
}

impl Serving {
    async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { address, listener: bind(address).await? })
    }

    fn port(&self) -> Option<u16> {
        self.listener.local_addr().ok().map(|address| address.port())
    }
}

impl Listener {
    pub(super) fn new(wanted: watch::Receiver<SocketAddr>, state: watch::Sender<HttpState>, back_off: BackOff) -> Self {
        Self { wanted, serving: None, state, pauses: back_off.start(), again: None }
    }

    /// The next connection, through whatever socket is in service by then.
    pub(super) async fn accept(&mut self) -> io::Result<TcpStream> {
        loop {
            self.follow().await;
            tokio::select! {
                accepted = accept(self.serving.as_ref()) => return accepted,
                () = due(self.again) => self.again = None,
                Ok(()) = self.wanted.changed() => {
                    self.again = None;
                    self.pauses.reset();
                }
            }
        }
    }

    async fn follow(&mut self) {
        if self.again.is_some_and(|again| again > Instant::now()) {
            return;
        }
        let wanted = *self.wanted.borrow_and_update();
        let there = self.serving.as_ref().is_some_and(|serving| serving.address == wanted);
        let error = if there { None } else { self.replace(wanted).await.err() };
        let Some(error) = error else {
            self.again = None;
            self.pauses.reset();
            return self.tell(None);
        };
        let pause = self.pauses.next_pause();
        self.again = Some(Instant::now() + pause);
        let in_service = self.serving.as_ref().map(|serving| serving.address.to_string());
        tracing::warn!(error = %error, listen = %wanted, in_service, pause_ms = pause.as_millis(), "HTTP port cannot be opened, trying again");
        let stays = in_service.map(|address| format!("; {address} stays in service")).unwrap_or_default();
        self.tell(Some(format!("{wanted}: {error}{stays}")));
    }

    async fn replace(&mut self, wanted: SocketAddr) -> io::Result<()> {
        let refused = match Serving::bind(wanted).await {
            Ok(new) => return self.take(new),
            Err(refused) => refused,
        };
        // One port for all addresses and for one of them cannot be bound side by side, so the old one has to make room.
        let in_the_way = |old: &mut Serving| refused.kind() == io::ErrorKind::AddrInUse && old.port() == Some(wanted.port());
        let Some(Serving { address: old, listener }) = self.serving.take_if(in_the_way) else { return Err(refused) };
        drop(listener);
        match Serving::bind(wanted).await {
            Ok(new) => self.take(new),
            Err(refused) => {
                let again = bind(SocketAddr::new(old.ip(), wanted.port())).await;
                self.serving = again.ok().map(|listener| Serving { address: old, listener });
                Err(refused)
            }
        }
    }

    fn take(&mut self, new: Serving) -> io::Result<()> {
        tracing::info!(listen = %new.address, "HTTP port open");
        self.serving = Some(new);
        Ok(())
    }

    fn tell(&self, error: Option<String>) {
        let bound = self.serving.as_ref().and_then(|serving| serving.listener.local_addr().ok());
        let new = HttpState { bound, error };
        self.state.send_if_modified(|state| {
            let modified = *state != new;
            *state = new;
            modified
        });
    }
}

async fn accept(serving: Option<&Serving>) -> io::Result<TcpStream> {
    match serving {
        Some(serving) => serving.listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn due(again: Option<Instant>) {
    match again {
        Some(again) => sleep_until(again).await,
        None => std::future::pending().await,
    }
}

/// `[::]` means every address of both families; where IPv6 is switched off it means every IPv4 address.
async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(listen).await {
        Err(error) if listen.is_ipv6() && listen.ip().is_unspecified() && error.kind() != io::ErrorKind::AddrInUse => {
            let fallback = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), listen.port());
            TcpListener::bind(fallback).await.map_err(|_| error)
        }
        result => result,
    }
}
