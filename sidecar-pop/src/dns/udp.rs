//! One datagram in, one out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tapir_runtime::panics::contained;
use tokio::net::UdpSocket;
use tokio::time::sleep;

use super::answer::{Answer, Transport};
use super::server::Service;
use super::zone::Zone;

/// Requests are small; what is longer is cut and answered with FORMERR.
const LONGEST_REQUEST: usize = 4096;
/// After an error of the socket, so that one which stays is no busy loop.
const PAUSE: Duration = Duration::from_millis(20);

/// Answers until dropped.
pub(super) async fn run<Z: Zone>(socket: Arc<UdpSocket>, service: Service<Z>) {
    let mut buffer = vec![0; LONGEST_REQUEST];
    loop {
        let (length, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "receiving a DNS request failed");
                sleep(PAUSE).await;
                continue;
            }
        };
        let request = buffer.get(..length).unwrap_or_default();
        service.metrics.query("udp");
        if service.reads(request) {
            // Where too many wait, this one is lost, as on the way it may be.
            if let Some(answer) = service.look_up(request, peer, Transport::Udp) {
                let socket = Arc::downgrade(&socket);
                service.threads.spawn(contained(async move {
                    let answer = answer.await.answer;
                    // The address may be another one's by now.
                    if let (Answer::Message(message), Some(socket)) = (answer, socket.upgrade()) {
                        send(&socket, &message, peer).await;
                    }
                }));
            } else {
                service.metrics.dropped.inc();
            }
            continue;
        }
        if let Answer::Message(message) = service.answer(request, peer, Transport::Udp).answer {
            send(&socket, &message, peer).await;
        }
    }
}

async fn send(socket: &UdpSocket, message: &[u8], peer: SocketAddr) {
    if let Err(error) = socket.send_to(message, peer).await {
        tracing::debug!(%error, "sending a DNS answer failed");
    }
}
