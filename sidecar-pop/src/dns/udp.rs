//! One datagram in, one out.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::sleep;

use super::access::permitted;
use super::answer::{Answer, Transport, answer, refused};
use super::server::Service;

/// Requests are small; what is longer is cut and answered with FORMERR.
const LONGEST_REQUEST: usize = 4096;
/// After an error of the socket, so that one which stays is no busy loop.
const PAUSE: Duration = Duration::from_millis(20);

/// Answers until dropped.
pub(super) async fn run(socket: Arc<UdpSocket>, service: Service) {
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
        let answered = if permitted(peer) {
            answer(request, Transport::Udp, service.snapshot().as_ref())
        } else {
            service.metrics.refused("udp");
            refused(request)
        };
        if let Answer::Message(message) = answered
            && let Err(error) = socket.send_to(&message, peer).await
        {
            tracing::debug!(%error, "sending a DNS answer failed");
        }
    }
}
