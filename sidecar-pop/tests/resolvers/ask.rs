//! Asks resolvers many names at once, and answers what resolvers ask: any name has the same address.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What the Internet would say.
pub(crate) const USUAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Longer than that, and it counts as no answer.
const SILENCE: Duration = Duration::from_secs(1);
/// For a name that should be answered, so that a busy machine is no reason to fail.
const PATIENCE: [Duration; 4] = [SILENCE, SILENCE, Duration::from_secs(3), Duration::from_secs(6)];
/// Few enough that no socket's buffer runs over.
const AT_ONCE: usize = 100;

/// What became of a question for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As if there were no policy.
    Usual,
    Nxdomain,
    Nodata,
    /// No answer.
    Silence,
    /// To be asked over TCP.
    Truncated,
    /// SERVFAIL.
    Failed,
    /// This address, directly.
    Address(Ipv4Addr),
    /// Another name, and what that has.
    Alias,
    Other,
}

/// Asks all of them. `silent` tells for each name whether no answer is what is expected, and so is not waited for longer.
pub(crate) async fn ask(port: u16, names: &[(Vec<u8>, bool)]) -> Vec<Outcome> {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    socket.connect(("127.0.0.1", port)).await.unwrap();
    let waiting: Arc<Mutex<HashMap<u16, oneshot::Sender<Message>>>> = Arc::default();
    let (inbox, takers) = (Arc::clone(&socket), Arc::clone(&waiting));
    let receiver = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            // Refused while the resolver starts.
            let Ok(length) = inbox.recv(&mut buffer).await else { continue };
            let Ok(message) = Message::from_vec(&buffer[..length]) else { continue };
            if let Some(taker) = takers.lock().unwrap().remove(&message.metadata.id) {
                let _ = taker.send(message);
            }
        }
    });
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for (index, (name, silent)) in names.iter().enumerate() {
        let (name, silent) = (Name::read_from(name), *silent);
        let (socket, waiting, room) = (Arc::clone(&socket), Arc::clone(&waiting), Arc::clone(&room));
        tasks.spawn(async move {
            let mut permit = room.acquire_owned().await.ok();
            let id = u16::try_from(index).unwrap();
            let mut request = Message::new(id, MessageType::Query, OpCode::Query);
            request.metadata.recursion_desired = true;
            request.add_query(Query::query(name.clone(), RecordType::A));
            let request = request.to_vec().unwrap();
            for wait in &PATIENCE[..if silent { 1 } else { PATIENCE.len() }] {
                let (taker, answer) = oneshot::channel();
                waiting.lock().unwrap().insert(id, taker);
                let _ = socket.send(&request).await;
                let mut answer = std::pin::pin!(answer);
                let begin = Instant::now();
                if let Ok(Ok(answer)) = timeout(*wait / 10, &mut answer).await {
                    return (index, outcome(&answer, &name));
                }
                // Whoever only waits takes nobody's place.
                permit = permit.filter(|_| !silent);
                if let Ok(Ok(answer)) = timeout(wait.saturating_sub(begin.elapsed()), answer).await {
                    return (index, outcome(&answer, &name));
                }
            }
            drop(permit);
            (index, Outcome::Silence)
        });
    }
    let mut outcomes = vec![Outcome::Other; names.len()];
    while let Some(done) = tasks.join_next().await {
        let (index, outcome) = done.unwrap();
        outcomes[index] = outcome;
    }
    receiver.abort();
    outcomes
}

fn outcome(answer: &Message, name: &Name) -> Outcome {
    assert_eq!(answer.queries.first().map(|query| query.name()), Some(name));
    if answer.metadata.truncation {
        return Outcome::Truncated;
    }
    match answer.metadata.response_code {
        ResponseCode::NXDomain => return Outcome::Nxdomain,
        ResponseCode::ServFail => return Outcome::Failed,
        ResponseCode::NoError => {}
        _ => return Outcome::Other,
    }
    match answer.answers.first().map(|record| &record.data) {
        None => Outcome::Nodata,
        Some(RData::A(address)) if address.0 == USUAL => Outcome::Usual,
        Some(RData::A(address)) => Outcome::Address(address.0),
        Some(RData::CNAME(target)) if target.0.to_ascii() == super::worlds::GARDEN => {
            let last = answer.answers.last().map(|record| &record.data);
            if matches!(last, Some(RData::A(address)) if address.0 == USUAL) { Outcome::Alias } else { Outcome::Other }
        }
        Some(_) => Outcome::Other,
    }
}

trait FromWire {
    fn read_from(wire: &[u8]) -> Self;
}

impl FromWire for Name {
    fn read_from(wire: &[u8]) -> Self {
        let mut decoder = hickory_proto::serialize::binary::BinDecoder::new(wire);
        hickory_proto::serialize::binary::BinDecodable::read(&mut decoder).unwrap()
    }
}

/// All that is behind the resolvers: every name has one address, and nothing else. A thread of its own, so that no resolver ever finds it
/// slow and leaves it alone for a while. It ends with the process.
pub(crate) fn internet() -> SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            if let Some(answer) = answer(&buffer[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    address
}

fn answer(request: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    while *request.get(end)? != 0 {
        end += 1 + usize::from(request[end]);
    }
    let question = request.get(12..end + 5)?;
    let has = question.ends_with(&[0, 1, 0, 1]);
    let mut answer = request[..2].to_vec();
    // QR, AA, RD, RA.
    answer.extend([0x85, 0x80, 0, 1, 0, u8::from(has), 0, 0, 0, 0]);
    answer.extend(question);
    if has {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(USUAL.octets());
    }
    Some(answer)
}
