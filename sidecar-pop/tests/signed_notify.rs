//! Whoever is told of a new version with a key can trust it, and is believed only when it answers with that key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/versions.rs"]
#[allow(dead_code)]
mod versions;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::RData;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tapir_pop::dns::tsig::{self, Key, Keys};
use tapir_pop::metrics::Metrics;
use tapir_pop::notify::{self, Target, Targets};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::tsig::TsigKey;
use tokio::sync::watch;
use versions::Versions;

fn key() -> TsigKey {
    TsigKey::parse("hmac-sha512:told:c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA==").unwrap()
}

fn text(metrics: &Metrics) -> String {
    let (mut registry, mut text) = (Registry::default(), String::new());
    metrics.register(&mut registry);
    encode(&mut text, &registry).unwrap();
    text
}

/// What was said, as it came, and where the answer goes.
fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 1500];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..length].to_vec(), from)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_signed_answer_to_a_signed_message_ends_the_telling() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let target = Target { address: socket.local_addr().unwrap(), key: Some(key()) };
    let listen = vec!["192.0.2.1:53".parse().unwrap(), "127.0.0.3:5359".parse().unwrap()];
    let (_targets, targets) = watch::channel(Targets { listen, targets: vec![target] });
    let (_published, published) = watch::channel(Some(Arc::new(Versions::new(vec![(77, versions::Names::new())]))));
    let (metrics, shutdown) = (Arc::new(Metrics::default()), Shutdown::manual().1);
    tokio::spawn(notify::run(targets, published, Arc::clone(&metrics), shutdown.clone()));

    let keys = Keys::first_of([Key::from(&key())]);
    let answer_to = |request: &[u8]| {
        let mut answer = Message::from_vec(request).unwrap();
        answer.metadata.message_type = hickory_proto::op::MessageType::Response;
        answer.answers.clear();
        answer.additionals.clear();
        answer.signature = None;
        answer.to_vec().unwrap()
    };
    let (first, from) = receive(&socket);
    assert_eq!(from.ip().to_string(), "127.0.0.3", "from where the resolver takes the zone");
    let message = Message::from_vec(&first).unwrap();
    assert_eq!(message.metadata.op_code, OpCode::Notify);
    assert!(matches!(&message.answers[0].data, RData::SOA(soa) if soa.serial == 77));
    assert!(keys.check(&first, tsig::now()).unwrap().is_some());
    // Anybody can send this.
    socket.send_to(&answer_to(&first), from).unwrap();

    let (mut again, mut from) = receive(&socket);
    assert!(text(&metrics).contains("outcome=\"acknowledged\"} 0"));
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let verified = keys.check(&again, tsig::now()).unwrap().unwrap();
        let mut answer = answer_to(&again);
        verified.signer(tsig::now).append(&mut answer);
        socket.send_to(&answer, from).unwrap();
        // An answer that comes late is to a message that nobody waits for any more, and another one follows.
        let mut buffer = [0; 1500];
        if let Ok((length, sender)) = socket.recv_from(&mut buffer) {
            (again, from) = (buffer[..length].to_vec(), sender);
        }
        if text(&metrics).contains("outcome=\"acknowledged\"} 1") {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "{}", text(&metrics));
    }
    shutdown.trigger();
}
