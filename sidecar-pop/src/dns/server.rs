//! Listens where the configuration says, for as long as it says so.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tapir_runtime::back_off::BackOff;
use tapir_runtime::shutdown::Shutdown;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{tcp, udp};
use crate::metrics::Metrics;
use crate::status::{Telemetry, Trouble};
use crate::zone::Snapshot;

/// The newest published version; `None` before the first.
pub type Published = watch::Receiver<Option<Arc<Snapshot>>>;

/// What a request needs.
#[derive(Clone, Debug)]
pub(super) struct Service {
    published: Published,
    pub(super) metrics: Arc<Metrics>,
}

impl Service {
    pub(super) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.published.borrow().clone()
    }
}

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves until shutdown. An address that cannot be bound is tried again for ever; meanwhile the old one is served on.
pub async fn serve(mut listen: watch::Receiver<SocketAddr>, published: Published, telemetry: Arc<Telemetry>, shutdown: Shutdown) {
    let service = Service { published, metrics: Arc::new(telemetry.metrics.clone()) };
    let mut current: Option<(SocketAddr, Serving)> = None;
    let mut pauses = BackOff::LOCAL.start();
    while !shutdown.is_triggered() {
        let wanted = *listen.borrow_and_update();
        let mut retry = None;
        if current.as_ref().is_some_and(|(address, _)| *address == wanted) {
            telemetry.trouble(Trouble::Listen, None);
        } else if let Err(error) = take_over(&mut current, wanted, &service).await {
            let old = current.as_ref().map(|(address, _)| *address);
            tracing::error!(%error, address = %wanted, served = ?old, "cannot bind the address of the zone, trying again");
            telemetry.trouble(Trouble::Listen, Some(format!("cannot bind the address of the zone, {wanted}: {error}")));
            retry = Some(pauses.next_pause());
        } else {
            tracing::info!(address = %wanted, "serving the zone");
            telemetry.trouble(Trouble::Listen, None);
            pauses.reset();
        }
        service.metrics.listening.set(i64::from(current.is_some()));
        tokio::select! {
            () = run(current.as_mut().map(|(_, serving)| serving)) => {}
            () = changed(&mut listen, wanted) => pauses.reset(),
            () = pause(retry) => {}
            () = shutdown.requested() => {}
        }
    }
}

/// Binds the new address before the old one is given up, except where they exclude each other.
async fn take_over(current: &mut Option<(SocketAddr, Serving)>, wanted: SocketAddr, service: &Service) -> io::Result<()> {
    let error = match bind(wanted).await {
        Ok(sockets) => {
            *current = Some((wanted, serving(sockets, service)));
            return Ok(());
        }
        Err(error) => error,
    };
    let Some((old, _)) = current.as_ref().filter(|(old, _)| overlap(*old, wanted)) else { return Err(error) };
    let old = *old;
    *current = None;
    match bind(wanted).await {
        Ok(sockets) => {
            *current = Some((wanted, serving(sockets, service)));
            Ok(())
        }
        Err(error) => {
            *current = bind(old).await.ok().map(|sockets| (old, serving(sockets, service)));
            Err(error)
        }
    }
}

fn serving((socket, listener): (UdpSocket, TcpListener), service: &Service) -> Serving {
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

async fn run(serving: Option<&mut Serving>) {
    match serving {
        Some(serving) => serving.await,
        None => std::future::pending().await,
    }
}

async fn pause(length: Option<Duration>) {
    match length {
        Some(length) => sleep(length).await,
        None => std::future::pending().await,
    }
}

async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    Ok((UdpSocket::bind(address).await?, TcpListener::bind(address).await?))
}

pub(crate) async fn changed(listen: &mut watch::Receiver<SocketAddr>, current: SocketAddr) {
    if listen.wait_for(|listen| *listen != current).await.is_err() {
        std::future::pending::<()>().await;
    }
}
