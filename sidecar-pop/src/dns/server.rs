//! Listens where the configuration says, for as long as it says so.

use std::net::SocketAddr;
use std::sync::Arc;

use tapir_runtime::back_off::BackOff;
use tapir_runtime::shutdown::Shutdown;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{tcp, udp};
use crate::metrics::Metrics;
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

/// Serves until shutdown. An address that cannot be bound is tried again for ever.
pub async fn serve(mut listen: watch::Receiver<SocketAddr>, published: Published, metrics: Arc<Metrics>, shutdown: Shutdown) {
    let service = Service { published, metrics };
    while !shutdown.is_triggered() {
        let address = *listen.borrow_and_update();
        tokio::select! {
            never = serve_on(address, &service) => match never {},
            () = changed(&mut listen, address) => tracing::info!(%address, "address of the zone changed"),
            () = shutdown.requested() => {}
        }
    }
}

async fn serve_on(address: SocketAddr, service: &Service) -> std::convert::Infallible {
    let mut pauses = BackOff::LOCAL.start();
    loop {
        match bind(address).await {
            Ok((socket, listener)) => {
                tracing::info!(%address, "serving the zone");
                service.metrics.listening.set(1);
                // Neither ends by itself.
                tokio::join!(udp::run(Arc::new(socket), service.clone()), tcp::run(listener, service.clone()));
            }
            Err(error) => {
                service.metrics.listening.set(0);
                tracing::error!(%error, %address, "cannot bind the address of the zone, trying again");
            }
        }
        sleep(pauses.next_pause()).await;
    }
}

async fn bind(address: SocketAddr) -> std::io::Result<(UdpSocket, TcpListener)> {
    Ok((UdpSocket::bind(address).await?, TcpListener::bind(address).await?))
}

async fn changed(listen: &mut watch::Receiver<SocketAddr>, current: SocketAddr) {
    if listen.wait_for(|listen| *listen != current).await.is_err() {
        std::future::pending::<()>().await;
    }
}
