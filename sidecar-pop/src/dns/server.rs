//! Listens where the configuration says, for as long as it says so.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tapir_runtime::back_off::BackOff;
use tapir_runtime::shutdown::Shutdown;
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use super::answer::Transport;
use super::guard::{Guard, Guarded};
use super::records::WireName;
use super::zone::Zone;
use super::{tcp, udp};
use crate::metrics::Metrics;
use crate::setup::CONNECTIONS;
use crate::state::blocking;
use crate::status::{Telemetry, Trouble};
use crate::threads::Threads;
use crate::zone::Snapshot;

/// The newest published version; `None` before the first.
pub type Published<Z = Snapshot> = watch::Receiver<Option<Arc<Z>>>;

/// Octets that the kernel takes for each connection, and doubles: without it one slow reader would have 4 MiB there.
const SEND_BUFFER: u32 = 128 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Names of the zone that are looked up at once.
const LOOKUPS: usize = 16;
/// Octets before the question.
const HEADER: usize = 12;

/// What a request needs.
#[derive(Debug)]
pub(super) struct Service<Z> {
    published: Published<Z>,
    guard: watch::Receiver<Arc<Guard>>,
    pub(super) metrics: Arc<Metrics>,
    /// Where transfers run, and what reads the zone.
    pub(super) threads: Handle,
    lookups: Arc<Semaphore>,
}

impl<Z> Clone for Service<Z> {
    fn clone(&self) -> Self {
        Self {
            published: self.published.clone(),
            guard: self.guard.clone(),
            metrics: Arc::clone(&self.metrics),
            threads: self.threads.clone(),
            lookups: Arc::clone(&self.lookups),
        }
    }
}

impl<Z: Zone> Service<Z> {
    pub(super) fn may_come(&self, peer: SocketAddr) -> bool {
        let guard = self.guard.borrow();
        guard.acl.permits(peer.ip()) || guard.notified.is_primary(peer.ip())
    }

    /// TCP connections at each address, now.
    pub(super) fn most_connections(&self) -> usize {
        self.guard.borrow().connections.unwrap_or(CONNECTIONS)
    }

    pub(super) fn answer(&self, request: &[u8], peer: SocketAddr, transport: Transport) -> Guarded<Z> {
        let (guard, zone) = (Arc::clone(&self.guard.borrow()), self.published.borrow().clone());
        let guarded = guard.answer(request, peer.ip(), transport, zone.as_ref());
        if guarded.refused.is_some() {
            self.metrics.refused(if transport == Transport::Udp { "udp" } else { "tcp" });
        }
        guarded
    }

    /// Whether what is asked for stands in the zone's files: a name below it. The zone's own records are in memory.
    pub(super) fn reads(&self, request: &[u8]) -> bool {
        let name = request.get(HEADER..).and_then(question).and_then(|name| WireName::from_wire(name).ok());
        let zone = self.published.borrow();
        name.zip(zone.as_ref()).is_some_and(|(name, zone)| name.below(&zone.apex().name).is_some_and(|labels| !labels.is_empty()))
    }

    /// Answers it where a disk that hangs is waited for by nobody else. `None`: as many wait there as may.
    pub(super) fn look_up(
        &self,
        request: &[u8],
        peer: SocketAddr,
        transport: Transport,
    ) -> Option<impl Future<Output = Guarded<Z>> + Send + 'static + use<Z>> {
        let permit = Arc::clone(&self.lookups).try_acquire_owned().ok()?;
        let (service, request) = (self.clone(), request.to_owned());
        Some(async move {
            let answer = blocking(|| service.answer(&request, peer, transport));
            drop(permit);
            answer
        })
    }
}

/// The name that a question begins with.
fn question(octets: &[u8]) -> Option<&[u8]> {
    let mut end = 0;
    loop {
        match usize::from(*octets.get(end)?) {
            0 => return octets.get(..=end),
            label @ 1..64 => end += 1 + label,
            _ => return None,
        }
    }
}

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;
type All = BTreeMap<SocketAddr, Serving>;

/// Serves this host until shutdown.
pub async fn serve<Z: Zone>(
    listen: watch::Receiver<Vec<SocketAddr>>,
    published: Published<Z>,
    telemetry: Arc<Telemetry>,
    shutdown: Shutdown,
) {
    let (_keep, guard) = watch::channel(Arc::default());
    serve_guarded(listen, guard, published, telemetry, shutdown).await;
}

/// Serves whom `guard` lets in until shutdown. An address that cannot be bound is tried again for ever; meanwhile those of before
/// are served on.
pub async fn serve_guarded<Z: Zone>(
    mut listen: watch::Receiver<Vec<SocketAddr>>,
    guard: watch::Receiver<Arc<Guard>>,
    published: Published<Z>,
    telemetry: Arc<Telemetry>,
    shutdown: Shutdown,
) {
    let (transfers, lookups) = (Threads::begin("transfer"), Arc::new(Semaphore::new(LOOKUPS)));
    let service =
        Service { published, guard, metrics: Arc::new(telemetry.metrics.clone()), threads: transfers.handle(), lookups };
    let mut serving = All::new();
    let mut pauses = BackOff::LOCAL.start();
    while !shutdown.is_triggered() {
        let wanted = listen.borrow_and_update().clone();
        let mut retry = None;
        match take_over(&mut serving, &wanted, &service).await {
            Ok(()) => {
                telemetry.trouble(Trouble::Listen, None);
                pauses.reset();
            }
            Err((address, error)) => {
                tracing::error!(%error, %address, served = ?serving.keys(), "cannot bind the address of the zone, trying again");
                telemetry.trouble(Trouble::Listen, Some(format!("cannot bind the address of the zone, {address}: {error}")));
                retry = Some(pauses.next_pause());
            }
        }
        service.metrics.listening.set(i64::try_from(serving.len()).unwrap_or(i64::MAX));
        tokio::select! {
            () = run(&mut serving) => {}
            () = changed_from(&mut listen, &wanted) => pauses.reset(),
            () = pause(retry) => {}
            () = shutdown.requested() => {}
        }
    }
}

/// Binds what is new before what is old is given up, except where they exclude each other.
async fn take_over<Z: Zone>(
    serving: &mut All,
    wanted: &[SocketAddr],
    service: &Service<Z>,
) -> Result<(), (SocketAddr, io::Error)> {
    let mut failed = None;
    for address in wanted {
        if serving.contains_key(address) {
            continue;
        }
        match bind_in_place(serving, wanted, *address, service).await {
            Ok(()) => tracing::info!(%address, "serving the zone"),
            Err(error) => failed = failed.or(Some((*address, error))),
        }
    }
    match failed {
        Some(failed) => Err(failed),
        None => {
            serving.retain(|address, _| wanted.contains(address));
            Ok(())
        }
    }
}

async fn bind_in_place<Z: Zone>(
    serving: &mut All,
    wanted: &[SocketAddr],
    address: SocketAddr,
    service: &Service<Z>,
) -> io::Result<()> {
    let error = match bind(address).await {
        Ok(sockets) => {
            serving.insert(address, answers(sockets, service));
            return Ok(());
        }
        Err(error) => error,
    };
    let in_the_way = |old: &&SocketAddr| !wanted.contains(old) && overlap(**old, address);
    let old: Vec<SocketAddr> = serving.keys().filter(in_the_way).copied().collect();
    if old.is_empty() {
        return Err(error);
    }
    serving.retain(|address, _| !old.contains(address));
    let bound = bind(address).await.map(|sockets| serving.insert(address, answers(sockets, service)));
    if bound.is_err() {
        for address in old {
            if let Ok(sockets) = bind(address).await {
                serving.insert(address, answers(sockets, service));
            }
        }
    }
    bound.map(|_| ())
}

fn answers<Z: Zone>((socket, listener): (UdpSocket, TcpListener), service: &Service<Z>) -> Serving {
    let (udp, tcp) = (udp::run(Arc::new(socket), service.clone()), tcp::run(listener, service.clone()));
    Box::pin(async move {
        // Neither ends by itself.
        tokio::join!(udp, tcp);
    })
}

/// Whether two addresses cannot be bound at the same time although they are not the same.
pub(crate) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && (one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// All of them. Each is a few sockets, so going through all when one wakes costs nothing.
async fn run(serving: &mut All) {
    std::future::poll_fn(|context| {
        for answers in serving.values_mut() {
            if answers.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
}

async fn pause(length: Option<Duration>) {
    match length {
        Some(length) => sleep(length).await,
        None => std::future::pending().await,
    }
}

async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let tcp = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    tcp.set_reuseaddr(true)?;
    // Connections take it over.
    tcp.set_send_buffer_size(SEND_BUFFER)?;
    let udp = UdpSocket::bind(address).await?;
    tcp.bind(address)?;
    Ok((udp, tcp.listen(BACKLOG)?))
}

async fn changed_from(listen: &mut watch::Receiver<Vec<SocketAddr>>, current: &[SocketAddr]) {
    if listen.wait_for(|listen| *listen != current).await.is_err() {
        std::future::pending::<()>().await;
    }
}
