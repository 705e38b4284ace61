//! NOTIFY to resolvers (RFC 1996): one task a target, the newest serial wins.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use tapir_runtime::shutdown::Shutdown;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::dns::answer::{soa, wire_name};
use crate::dns::server::Published;
use crate::metrics::Metrics;
use crate::zone::Snapshot;

/// Waiting times for a response. RFC 1996 section 3.6 begins at 60 s for targets far away; these are on this host, and a
/// resolver that is still starting should not wait. After the last one its own refresh (60 s) takes over.
const WAITS: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(32),
];
const LONGEST_RESPONSE: usize = 1500;

/// Whom to tell, and from which address the zone is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Address of the zone.
    pub listen: SocketAddr,
    /// Resolvers.
    pub targets: Vec<SocketAddr>,
}

/// Notifies until shutdown.
pub async fn run(mut targets: watch::Receiver<Targets>, published: Published, metrics: Arc<Metrics>, shutdown: Shutdown) {
    loop {
        let Targets { listen, targets: addresses } = targets.borrow_and_update().clone();
        let mut tasks = JoinSet::new();
        for target in addresses {
            tasks.spawn(one_target(target, listen, published.clone(), Arc::clone(&metrics)));
        }
        tokio::select! {
            () = shutdown.requested() => return,
            changed = targets.changed() => if changed.is_err() {
                shutdown.requested().await;
                return;
            },
        }
    }
}

async fn one_target(target: SocketAddr, listen: SocketAddr, mut published: Published, metrics: Arc<Metrics>) {
    loop {
        let snapshot = published.borrow_and_update().clone();
        let told = async {
            match &snapshot {
                Some(snapshot) => tell(target, listen, snapshot, &metrics).await,
                None => std::future::pending().await,
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = told => {}
            changed = published.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Sends until there is a response, or it is time to give up.
async fn tell(target: SocketAddr, listen: SocketAddr, snapshot: &Snapshot, metrics: &Metrics) {
    let Some(request) = request(snapshot, rand_id()) else { return };
    let Ok(bytes) = request.to_vec() else { return };
    for wait in WAITS {
        metrics.notify("sent");
        let attempt = attempt(target, listen, &request, &bytes);
        match timeout(wait, attempt).await {
            Ok(Response::Taken) => {
                metrics.notify("acknowledged");
                tracing::debug!(%target, serial = snapshot.serial.0, "NOTIFY acknowledged");
                return;
            }
            Ok(Response::Refused(code)) => {
                metrics.notify("refused");
                tracing::warn!(%target, %code, "NOTIFY refused; is the zone configured there, with this address as primary?");
                return;
            }
            Err(_) => metrics.notify("timeout"),
        }
    }
    metrics.notify("given_up");
    tracing::warn!(%target, serial = snapshot.serial.0, "NOTIFY not answered, leaving it to the resolver's refresh");
}

enum Response {
    Taken,
    Refused(ResponseCode),
}

/// One datagram, then waits for what belongs to it. Errors of the socket (nobody listens there yet, usually) are waited out.
async fn attempt(target: SocketAddr, listen: SocketAddr, request: &Message, bytes: &[u8]) -> Response {
    let Ok(socket) = UdpSocket::bind((source(target, listen), 0)).await else { return std::future::pending().await };
    if socket.connect(target).await.is_err() || socket.send(bytes).await.is_err() {
        return std::future::pending().await;
    }
    let mut buffer = [0; LONGEST_RESPONSE];
    loop {
        let Ok(length) = socket.recv(&mut buffer).await else { return std::future::pending().await };
        if let Some(response) = buffer.get(..length).and_then(|bytes| response(request, bytes)) {
            return response;
        }
    }
}

/// unbound takes a NOTIFY only from the address that it has as primary.
fn source(target: SocketAddr, listen: SocketAddr) -> IpAddr {
    let unspecified = if target.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let same_host = target.ip().is_loopback() && listen.ip().is_loopback() && target.is_ipv4() == listen.is_ipv4();
    if same_host { listen.ip() } else { unspecified }
}

/// With the SOA in the answer section (RFC 1996 section 3.7), so that the receiver knows whether it must ask.
fn request(snapshot: &Snapshot, id: u16) -> Option<Message> {
    let zone = &snapshot.content.zone;
    let mut message = Message::new(id, MessageType::Query, OpCode::Notify);
    message.metadata.authoritative = true;
    message.add_query(Query::query(wire_name(zone.name())?, RecordType::SOA));
    message.add_answer(soa(zone, snapshot.serial)?);
    Some(message)
}

fn response(request: &Message, bytes: &[u8]) -> Option<Response> {
    let message = Message::from_vec(bytes).ok()?;
    let ours = message.metadata.message_type == MessageType::Response
        && message.metadata.op_code == OpCode::Notify
        && message.metadata.id == request.metadata.id
        && (message.queries.is_empty() || message.queries == request.queries);
    ours.then_some(match message.metadata.response_code {
        ResponseCode::NoError => Response::Taken,
        code => Response::Refused(code),
    })
}

fn rand_id() -> u16 {
    Message::query().metadata.id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ZoneName;
    use crate::zone::{Content, Serial};
    use tapir_wire::name::Name;

    fn snapshot() -> Snapshot {
        let zone = ZoneName::new(Name::parse("dnstapir").unwrap()).unwrap();
        Snapshot { serial: Serial(17), content: Content { zone, record_ttl: 3600, locals: Arc::new([]), records: [].into() } }
    }

    #[test]
    fn responses_must_belong_to_the_request() {
        let request = request(&snapshot(), 0x1234).unwrap();
        let taken = |hex: &str| match response(&request, &hex::decode(hex).unwrap()) {
            Some(Response::Taken) => "taken",
            Some(Response::Refused(_)) => "refused",
            None => "not ours",
        };
        assert_eq!(taken("1234a400000100000000000008646e7374617069720000060001"), "taken");
        assert_eq!(taken("1234a405000100000000000008646e7374617069720000060001"), "refused");
        assert_eq!(taken("12348000000100000000000008646e7374617069720000060001"), "not ours", "another opcode");
        assert_eq!(taken("1235a400000100000000000008646e7374617069720000060001"), "not ours", "another id");
        assert_eq!(taken("12342400000100000000000008646e7374617069720000060001"), "not ours", "a request");
    }

    #[test]
    fn the_source_is_the_primary_that_the_resolver_knows() {
        let check = |target: &str, listen: &str, expected: &str| {
            assert_eq!(source(target.parse().unwrap(), listen.parse().unwrap()).to_string(), expected);
        };
        check("127.0.0.1:53", "127.0.0.2:5359", "127.0.0.2");
        check("192.0.2.1:53", "127.0.0.1:5359", "0.0.0.0");
        check("[::1]:53", "127.0.0.1:5359", "::");
        check("[::1]:53", "[::1]:5359", "::1");
    }
}
