//! What one POP knows, another of the same node is told within seconds; nobody else is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/node.rs"]
#[allow(dead_code, reason = "servers of other kinds are elsewhere")]
mod node;
#[path = "../../tapir-runtime/tests/support/port.rs"]
mod port;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use node::Authority;
use port::free_port;
use tapir_pop::admin::Question;
use tapir_pop::feeds::peers::{Identity, ask_all, serve};
use tapir_pop::feeds::{SourceNews, Told, channel};
use tapir_pop::knowledge::observations::{LONGEST_TTL, Observations};
use tapir_runtime::shutdown::Shutdown;
use tapir_table::KeyBuf;
use tapir_wire::name::Name;
use tapir_wire::observation::Entry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

fn key(name: &str) -> KeyBuf {
    KeyBuf::from_text(name, 200).unwrap()
}

fn entry(name: &str, age: i64, ttl: u32, tag_mask: u32) -> Entry {
    Entry { name: Name::parse(name).unwrap(), time_added: Timestamp::now() - SignedDuration::from_secs(age), ttl, tag_mask }
}

/// A POP that knows this.
fn knowing(entries: &[Entry], removed: &[Entry]) -> Observations {
    let mut observations = Observations::new(64 << 20);
    for entry in entries {
        observations.add(&key(entry.name.as_str()), entry, LONGEST_TTL, Timestamp::now()).unwrap();
    }
    for entry in removed {
        observations.remove(&key(entry.name.as_str()), entry, Timestamp::now()).unwrap();
    }
    observations
}

/// Serves until the end of the test.
async fn serving(us: Option<Identity>, knows: Observations) -> (SocketAddr, watch::Sender<Option<Identity>>) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let (identity, identities) = watch::channel(us);
    let (engine, mut questions) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            if let Question::Observations(reply) = question {
                _ = reply.send(vec![(Arc::from("core"), knows.clone())]);
            }
        }
    });
    let (_, shutdown) = Shutdown::manual();
    tokio::spawn(serve(address, identities, engine, shutdown));
    while TcpStream::connect(address).await.is_err() {
        tokio::task::yield_now().await;
    }
    (address, identity)
}

/// What a starting POP is told by these, which may change.
fn asking(us: Identity, found: &Arc<Mutex<Vec<SocketAddr>>>) -> mpsc::Receiver<Told> {
    let (_identity, identities) = watch::channel(Some(us));
    let (to, news) = channel();
    let (_, shutdown) = Shutdown::manual();
    let found = Arc::clone(found);
    let look = move || {
        let found = found.lock().unwrap().clone();
        async move { Ok(found) }
    };
    tokio::spawn(async move {
        ask_all(look, identities, to, shutdown).await;
        drop(_identity);
    });
    news
}

/// Applies what is told until this name is known, or what was known of it is gone.
async fn until(news: &mut mpsc::Receiver<Told>, held: &mut Observations, name: &str, known: bool) {
    while held.live().get(key(name).as_bytes()).is_some() != known {
        let told = timeout(Duration::from_secs(60), news.recv()).await.expect("news").unwrap();
        assert_eq!(&*told.source, "core");
        let SourceNews::Observed(message) = told.news else { panic!("{:?}", told.news) };
        for entry in &message.added {
            _ = held.add(&key(entry.name.as_str()), entry, LONGEST_TTL, Timestamp::now());
        }
        for entry in &message.removed {
            _ = held.remove(&key(entry.name.as_str()), entry, Timestamp::now());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_observation_is_in_force_in_a_new_pod_within_seconds() {
    let authority = Authority::new();
    let names: Vec<Entry> = (0..5000).map(|number| entry(&format!("n{number}.example"), 100, 3600, number)).collect();
    let (address, _identity) = serving(Some(authority.node("edge.example")), knowing(&names, &[])).await;
    let begun = Instant::now();
    let found = Arc::new(Mutex::new(vec![address]));
    let mut news = asking(authority.node("edge.example"), &found);
    let mut held = Observations::new(64 << 20);
    for name in ["n0.example", "n999.example", "n4999.example"] {
        until(&mut news, &mut held, name, true).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    while held.live().len() < 5000 {
        let name = names.iter().find(|entry| held.live().get(key(entry.name.as_str()).as_bytes()).is_none()).unwrap();
        until(&mut news, &mut held, name.name.as_str(), true).await;
    }
    let (one, other) = (knowing(&names, &[]), held);
    let sighting = |observations: &Observations| observations.live().get(key("n77.example").as_bytes()).unwrap();
    assert_eq!((sighting(&one).tags, sighting(&one).expires), (sighting(&other).tags, sighting(&other).expires));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_of_several_counts_and_what_was_taken_back_stays_away() {
    let authority = Authority::new();
    let old = [entry("both.example", 100, 3600, 1), entry("gone.example", 100, 3600, 1)];
    let new = [entry("both.example", 50, 3600, 2), entry("gone.example", 100, 3600, 1)];
    let removed = [entry("gone.example", 50, 3600, 0)];
    let (one, _one) = serving(Some(authority.node("edge.example")), knowing(&old, &[])).await;
    let (two, _two) = serving(Some(authority.node("edge.example")), knowing(&new, &removed)).await;
    let found = Arc::new(Mutex::new(vec![one]));
    let mut news = asking(authority.node("edge.example"), &found);
    let mut held = Observations::new(1 << 20);
    until(&mut news, &mut held, "gone.example", true).await;
    // The second Pod appears later, and is asked then.
    found.lock().unwrap().push(two);
    until(&mut news, &mut held, "gone.example", false).await;
    assert_eq!(held.live().get(key("both.example").as_bytes()).unwrap().tags, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_same_node_tells_and_is_told() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let secret = [entry("known.example", 10, 3600, 1)];
    let good = authority.node("edge.example");
    // Another node of the same CA, and the same name of another CA, on either side.
    let impostor = authority.impostor("edge.example", "other.example");
    for other in [authority.node("other.example"), stranger.node("edge.example"), impostor] {
        let (theirs, _identity) = serving(Some(other.clone()), knowing(&secret, &[])).await;
        let (ours, _ours) = serving(Some(good.clone()), knowing(&secret, &[])).await;
        for (asks, asked) in [(good.clone(), theirs), (other, ours)] {
            let mut news = asking(asks, &Arc::new(Mutex::new(vec![asked])));
            assert!(timeout(Duration::from_millis(1500), news.recv()).await.is_err(), "told");
        }
    }
    // Before there is an identity nobody is let in; then the same client is.
    let (address, identity) = serving(None, knowing(&secret, &[])).await;
    let mut news = asking(good.clone(), &Arc::new(Mutex::new(vec![address])));
    assert!(timeout(Duration::from_millis(1500), news.recv()).await.is_err());
    identity.send_replace(Some(good));
    until(&mut news, &mut Observations::new(1 << 20), "known.example", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_with_open_connections_keep_nobody_away_for_long() {
    let authority = Authority::new();
    let us = authority.node("edge.example");
    let (address, _identity) = serving(Some(us.clone()), knowing(&[entry("known.example", 10, 3600, 1)], &[])).await;
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        open.push(stream);
    }
    let mut news = asking(us, &Arc::new(Mutex::new(vec![address])));
    until(&mut news, &mut Observations::new(1 << 20), "known.example", true).await;
    for mut stream in open {
        let mut answer = Vec::new();
        _ = timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await.expect("closed");
        assert!(!answer.windows(5).any(|part| part == b"known"));
    }
}
