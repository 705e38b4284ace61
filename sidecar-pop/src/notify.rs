//! NOTIFY to resolvers (RFC 1996): one task a target, the newest serial wins.

mod from;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use tapir_runtime::back_off::BackOff;
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::tsig::TsigKey;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::dns::server::Published;
use crate::dns::tsig::{self, Key, Untrusted};
use crate::dns::zone::{Zone, name};
use crate::metrics::Metrics;

/// Waiting times for a response, each shortened by chance by up to half, so that resolvers which did not answer are not all told again in one
/// moment. RFC 1996 section 3.6 begins at 60 s for targets far away; these are on this host, and a resolver that is still starting should not
/// wait. After the last one its own refresh (60 s) takes over.
const WAITS: BackOff = BackOff { min: Duration::from_secs(1), max: Duration::from_secs(32) };
const ATTEMPTS: u32 = 6;
const LONGEST_RESPONSE: usize = 1500;

/// Whom to tell, and from which address the zone is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Addresses of the zone.
    pub listen: Vec<SocketAddr>,
    /// Resolvers.
    pub targets: Vec<Target>,
}

/// One resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// What the message is signed with.
    pub key: Option<TsigKey>,
}

/// Notifies until shutdown.
pub async fn run<Z: Zone>(
    mut targets: watch::Receiver<Targets>,
    published: Published<Z>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
) {
    loop {
        let Targets { listen, targets: addresses } = targets.borrow_and_update().clone();
        metrics.targets.are(addresses.iter().map(|target| target.address));
        let mut tasks = JoinSet::new();
        for target in addresses {
            tasks.spawn(one_target(target, listen.clone(), published.clone(), Arc::clone(&metrics)));
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

async fn one_target<Z: Zone>(target: Target, listen: Vec<SocketAddr>, mut published: Published<Z>, metrics: Arc<Metrics>) {
    let key = target.key.as_ref().map(|key| Arc::new(Key::from(key)));
    let to = To { address: target.address, listen, key };
    loop {
        let zone = published.borrow_and_update().clone();
        let told = async {
            match &zone {
                Some(zone) => tell(&to, zone.as_ref(), &metrics).await,
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

/// Whom, where the zone is served, and how.
struct To {
    address: SocketAddr,
    listen: Vec<SocketAddr>,
    key: Option<Arc<Key>>,
}

/// Sends until there is a response, or it is time to give up.
async fn tell(to: &To, zone: &impl Zone, metrics: &Metrics) {
    let target = to.address;
    let request = request(zone, rand_id());
    let Ok(bytes) = request.to_vec() else { return };
    let mut waits = WAITS.start();
    for _ in 0..ATTEMPTS {
        let wait = waits.next_pause();
        metrics.notify(target, "sent");
        let attempt = attempt(to, &request, &bytes);
        match timeout(wait, attempt).await {
            Ok(Response::Taken) => {
                metrics.notify(target, "acknowledged");
                tracing::debug!(%target, serial = zone.serial().0, "NOTIFY acknowledged");
                return;
            }
            Ok(Response::Refused(code)) => {
                metrics.notify(target, "refused");
                tracing::warn!(%target, %code, "NOTIFY refused; is the zone configured there, with this address as primary?");
                return;
            }
            Err(_) => metrics.notify(target, "timeout"),
        }
    }
    metrics.notify(target, "given_up");
    tracing::warn!(%target, serial = zone.serial().0, "NOTIFY not answered, leaving it to the resolver's refresh");
}

enum Response {
    Taken,
    Refused(ResponseCode),
}

/// One datagram, then waits for what belongs to it. Errors of the socket (nobody listens there yet, usually) are waited out.
async fn attempt(to: &To, request: &Message, bytes: &[u8]) -> Response {
    // Each time anew: routes change.
    let Ok(socket) = UdpSocket::bind(from::address(to.address, &to.listen)).await else { return std::future::pending().await };
    // Signed for each attempt: the time is part of it.
    let mut bytes = bytes.to_vec();
    let mut verifier = to.key.as_ref().map(|key| tsig::request(&mut bytes, key, tsig::now));
    if socket.connect(to.address).await.is_err() || socket.send(&bytes).await.is_err() {
        return std::future::pending().await;
    }
    let mut buffer = [0; LONGEST_RESPONSE];
    loop {
        let Ok(length) = socket.recv(&mut buffer).await else { return std::future::pending().await };
        let Some(response) = buffer.get(..length).and_then(|bytes| response(request, bytes)) else { continue };
        // A response that says "not signed well" is not signed well itself: worth saying, and nothing else follows from it.
        let checked = verifier.as_mut().map(|verifier| verifier.check(buffer.get(..length).unwrap_or_default(), tsig::now()));
        match (checked.transpose(), response) {
            (Ok(_), response) | (Err(Untrusted::Remote(_)), response @ Response::Refused(_)) => return response,
            (Err(error), _) => tracing::debug!(%error, target = %to.address, "response to a NOTIFY not taken"),
        }
    }
}

/// With the SOA in the answer section (RFC 1996 section 3.7), so that the receiver knows whether it must ask.
fn request(zone: &impl Zone, id: u16) -> Message {
    let apex = zone.apex();
    let mut message = Message::new(id, MessageType::Query, OpCode::Notify);
    message.metadata.authoritative = true;
    message.add_query(Query::query(name(&apex.name), RecordType::SOA));
    message.add_answer(apex.soa(zone.serial()));
    message
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
    use crate::dns::records::WireName;
    use crate::dns::zone::Apex;
    use crate::state::zone_log::Past;
    use crate::zone::layers::Layers;
    use crate::zone::{Serial, Size, Snapshot};
    use std::net::Ipv4Addr;
    use tapir_wire::name::Name;

    fn snapshot() -> Snapshot {
        let layers = Layers::new(crate::zone::nothing().unwrap());
        let apex = Apex::new(WireName::from(&Name::parse("dnstapir").unwrap()), 3600);
        Snapshot::new(Serial(17), Arc::new(apex), Arc::default(), (layers, Size::default()), Past::default())
    }

    /// Resolvers that never answer: how long after the first message the second one comes.
    #[tokio::test]
    async fn resolvers_that_do_not_answer_are_not_all_told_again_in_one_moment() {
        let mut sockets = Vec::new();
        for _ in 0..8 {
            sockets.push(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        }
        let target = |socket: &UdpSocket| Target { address: socket.local_addr().unwrap(), key: None };
        let targets = Targets { listen: Vec::new(), targets: sockets.iter().map(target).collect() };
        let (_targets, targets) = watch::channel(targets);
        let (_zone, published) = watch::channel(Some(Arc::new(snapshot())));
        let shutdown = Shutdown::manual().1;
        let metrics = Arc::new(crate::status::Telemetry::new(None, None).metrics.clone());
        tokio::spawn(run(targets, published, metrics, shutdown.clone()));
        let mut gaps = JoinSet::new();
        for socket in sockets {
            gaps.spawn(async move {
                let mut buffer = [0; LONGEST_RESPONSE];
                socket.recv(&mut buffer).await.unwrap();
                let first = tokio::time::Instant::now();
                socket.recv(&mut buffer).await.unwrap();
                first.elapsed()
            });
        }
        let gaps = gaps.join_all().await;
        let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(*most - *least > Duration::from_millis(30), "{gaps:?}");
        assert!(*least > Duration::from_millis(400), "{gaps:?}");
        shutdown.trigger();
    }

    /// What the kernel chooses by itself would be 127.0.0.1 for each of them.
    #[tokio::test]
    async fn a_resolver_is_told_from_the_address_that_the_zone_is_served_at() {
        let here = [127, 0, 0, 1];
        for (listen, at, expected) in
            [([127, 0, 0, 2], here, [127, 0, 0, 2]), (here, [127, 0, 0, 2], here), ([0, 0, 0, 0], here, here)]
        {
            let resolver = UdpSocket::bind(SocketAddr::from((at, 0))).await.unwrap();
            let targets = vec![Target { address: resolver.local_addr().unwrap(), key: None }];
            let listen = vec![SocketAddr::from(([0_u16, 0, 0, 0, 0, 0, 0, 1], 5359)), SocketAddr::from((listen, 5359))];
            let (_targets, targets) = watch::channel(Targets { listen, targets });
            let (_zone, published) = watch::channel(Some(Arc::new(snapshot())));
            let shutdown = Shutdown::manual().1;
            let metrics = Arc::new(crate::status::Telemetry::new(None, None).metrics.clone());
            tokio::spawn(run(targets, published, metrics, shutdown.clone()));
            let mut buffer = [0; LONGEST_RESPONSE];
            let (_, from) = resolver.recv_from(&mut buffer).await.unwrap();
            assert_eq!(from.ip(), std::net::IpAddr::from(expected));
            shutdown.trigger();
        }
    }

    #[test]
    fn responses_must_belong_to_the_request() {
        let request = request(&snapshot(), 0x1234);
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
}
