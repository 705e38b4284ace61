//! Peers of the real binary: what another POP knows is in the zone within seconds of the start, and told on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/node.rs"]
#[allow(dead_code, reason = "nobody claims to be somebody else here")]
mod node;
#[path = "common/process.rs"]
#[allow(dead_code, reason = "nothing is asked over HTTP")]
mod process;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use node::Authority;
use process::{Pop, free_port, wait_for};
use tapir_pop::admin::Question;
use tapir_pop::feeds::peers::{ask_all, serve};
use tapir_pop::feeds::{SourceNews, channel};
use tapir_pop::knowledge::observations::{LONGEST_TTL, Observations};
use tapir_runtime::shutdown::Shutdown;
use tapir_table::KeyBuf;
use tapir_wire::name::Name;
use tapir_wire::observation::Entry;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_observation_is_in_force_in_a_new_pod_within_five_seconds_and_told_on() {
    let authority = Authority::new();
    let us = authority.node("edge.example");
    let now = Timestamp::now();
    let name = Name::parse("evil.example").unwrap();
    let entry = Entry { name, time_added: now - SignedDuration::from_mins(10), ttl: 3600, tag_mask: 4 };
    let mut knows = Observations::new(1 << 20);
    knows.add(&KeyBuf::from_text("evil.example", 200).unwrap(), &entry, LONGEST_TTL, now).unwrap();

    // The other Pod: an address that is not this one's, with the port that all of them have.
    let port = free_port();
    let other: SocketAddr = format!("127.0.0.2:{port}").parse().unwrap();
    let (_identity, identities) = watch::channel(Some(us.clone()));
    let (engine, mut questions) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(Question::Observations(reply)) = questions.recv().await {
            _ = reply.send(vec![(Arc::from("core"), knows.clone())]);
        }
    });
    let (_, shutdown) = Shutdown::manual();
    let serving = tokio::spawn(serve(other, identities, engine, shutdown.clone()));
    while tokio::net::TcpStream::connect(other).await.is_err() {
        tokio::task::yield_now().await;
    }

    let pop = Pop::new(None);
    authority.write(pop.file().parent().unwrap(), "edge.example");
    let policy = format!(
        "sources: [{{name: core, list: Doubt, core: {{}}}}]\ndoubt: [{{name: any, minTags: 1, action: DROP}}]\n\
         peers: {{service: 127.0.0.2, port: {port}}}\n"
    );
    pop.configure("one", &policy);
    let begun = Instant::now();
    let _running = pop.start();
    let record = || pop.dig(&["evil.example.dnstapir.", "CNAME", "+short"]).trim().to_owned();
    wait_for("the observation in the zone", record, |record| record == "rpz-drop.");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    // The first Pod goes, the second one has its port and tells a third.
    shutdown.trigger();
    serving.await.unwrap();
    let (_identity, identities) = watch::channel(Some(us));
    let (to, mut news) = channel();
    let (_, shutdown) = Shutdown::manual();
    let second: SocketAddr = ([127, 0, 0, 1], port).into();
    let look = move || async move { Ok(vec![second]) };
    tokio::spawn(ask_all(look, identities, to, shutdown));
    let told = timeout(Duration::from_secs(30), news.recv()).await.expect("news").unwrap();
    let SourceNews::Observed(message) = told.news else { panic!("{:?}", told.news) };
    assert_eq!((&*told.source, message.added.len(), message.added[0].tag_mask), ("core", 1, 4));
}
