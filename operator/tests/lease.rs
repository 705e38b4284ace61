//! Two candidates never lead at the same time, and the successor of an orderly leader does not wait.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod support;

use std::time::Duration;

use http::{Method, Request, Response};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::client::Body;
use serde_json::json;
use support::api::Server;
use tapir_operator::leader::{
    DRAIN_LIMIT, End, Leadership, MARGIN, RELEASE_LIMIT, Served, TERM, WRITE_LIMIT, campaign, fenced, serve,
};
use tokio::sync::Notify;
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_util::sync::CancellationToken;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/tapir/leases/tapir-operator";
const NAME: &str = "tapir-operator";
const A_WHILE: Duration = Duration::from_secs(10);

fn api(server: &Server) -> Api<Lease> {
    Api::namespaced(server.client(), "tapir")
}

#[tokio::test]
async fn the_first_candidate_leads_and_the_second_waits() {
    let server = Server::default();
    let held = campaign(api(&server), NAME, "one", || {}).await;
    held.leadership().outlasts(Duration::from_secs(12)).unwrap();
    let second = timeout(Duration::from_millis(200), campaign(api(&server), NAME, "two", || {})).await;
    assert!(second.is_err(), "two leaders");
    assert_eq!(server.get(LEASE).unwrap()["spec"]["holderIdentity"], "one");
}

#[tokio::test]
async fn an_orderly_end_lets_the_successor_in_at_once() {
    let server = Server::default();
    let held = campaign(api(&server), NAME, "one", || {}).await;
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(held.keep(stop).await, End::Released);
    timeout(A_WHILE, campaign(api(&server), NAME, "two", || {})).await.unwrap();
    assert_eq!(server.get(LEASE).unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_else_took_ends_the_leadership() {
    let server = Server::default();
    let held = campaign(api(&server), NAME, "one", || {}).await;
    server.put(LEASE, json!({"metadata": {"name": "tapir-operator", "namespace": "tapir"}, "spec": {"holderIdentity": "two"}}));
    assert_eq!(held.keep(CancellationToken::new()).await, End::Lost);
    assert_eq!(server.get(LEASE).unwrap()["spec"]["holderIdentity"], "two");
}

#[tokio::test(start_paused = true)]
async fn renewals_are_conditional_and_keep_the_leadership_alive() {
    let server = Server::default();
    let held = campaign(api(&server), NAME, "one", || {}).await;
    let (leadership, stop) = (held.leadership(), CancellationToken::new());
    let keeping = tokio::spawn(held.keep(stop.clone()));
    for _ in 0..20 {
        advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    leadership.outlasts(Duration::from_secs(12)).unwrap();
    assert!(server.writes().iter().filter(|write| write.starts_with("PUT")).count() >= 2, "{:?}", server.writes());
    stop.cancel();
    assert_eq!(keeping.await.unwrap(), End::Released);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_anybody_else_may_begin() {
    let server = Server::default();
    let held = campaign(api(&server), NAME, "one", || {}).await;
    let (leadership, began) = (held.leadership(), Instant::now());
    server.refuse_writes();
    assert_eq!(held.keep(CancellationToken::new()).await, End::Lost);
    assert!(began.elapsed() < TERM, "{:?}", began.elapsed());
    assert!(leadership.outlasts(Duration::ZERO).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_silent_leader_is_replaced_after_its_term() {
    let server = Server::default();
    let silent = campaign(api(&server), NAME, "one", || {}).await;
    let began = Instant::now();
    campaign(api(&server), NAME, "two", || {}).await;
    assert!(began.elapsed() >= TERM, "{:?}", began.elapsed());
    assert!(silent.leadership().outlasts(Duration::ZERO).is_err());
}

#[tokio::test]
async fn operators_with_leases_of_their_own_do_not_wait_for_each_other() {
    let server = Server::default();
    let held = campaign(api(&server), NAME, "one", || {}).await;
    timeout(A_WHILE, campaign(api(&server), "another-release", "two", || {})).await.unwrap();
    assert_eq!(server.get(LEASE).unwrap()["spec"]["holderIdentity"], "one");
    held.leadership().outlasts(Duration::ZERO).unwrap();
}

/// A leader's client, and what makes one write of it.
fn under_the_lease(server: &Server, leadership: &Leadership) -> Api<ConfigMap> {
    Api::namespaced(fenced(&server.client(), leadership.clone()), "dns")
}

async fn write(api: &Api<ConfigMap>, name: &str) -> Result<(), String> {
    let map =
        ConfigMap { metadata: kube::api::ObjectMeta { name: Some(name.into()), ..Default::default() }, ..ConfigMap::default() };
    api.create(&PostParams::default(), &map).await.map(drop).map_err(|error| error.to_string())
}

fn written(server: &Server) -> Vec<String> {
    server.writes().into_iter().filter(|write| !write.contains("/leases")).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_when_the_lease_is_about_to_end_and_everything_is_read() {
    let server = Server::default();
    let held = campaign(api(&server), NAME, "one", || {}).await;
    let (leadership, began) = (held.leadership(), Instant::now());
    let maps = under_the_lease(&server, &leadership);
    let keeping = tokio::spawn(held.keep(CancellationToken::new()));
    server.refuse(Some(("/leases", 500)));
    sleep(TERM - MARGIN - WRITE_LIMIT - Duration::from_millis(100)).await;
    write(&maps, "early").await.unwrap();
    sleep(Duration::from_millis(200)).await;
    assert!(began.elapsed() < TERM - MARGIN - Duration::from_secs(4), "the lease is held still");
    let refused = write(&maps, "late").await.unwrap_err();
    assert!(refused.contains("lease"), "{refused}");
    maps.get("early").await.unwrap();
    assert_eq!(written(&server).len(), 1, "{:?}", written(&server));
    assert_eq!(keeping.await.unwrap(), End::Lost);
}

/// Time jumps as it does for a process that is stopped and goes on: whoever comes first finds the fence closed.
#[tokio::test(start_paused = true)]
async fn a_leader_that_slept_writes_again_after_it_has_renewed() {
    let server = Server::default();
    let held = campaign(api(&server), NAME, "one", || {}).await;
    let leadership = held.leadership();
    let maps = under_the_lease(&server, &leadership);
    let keeping = tokio::spawn(held.keep(CancellationToken::new()));
    sleep(Duration::from_secs(4)).await;
    write(&maps, "before").await.unwrap();
    server.refuse(Some(("/leases", 500)));
    // Far less than the term.
    advance(Duration::from_secs(5)).await;
    write(&maps, "at-once").await.unwrap_err();
    sleep(Duration::from_secs(5)).await;
    write(&maps, "without-renewal").await.unwrap_err();
    assert!(leadership.outlasts(Duration::ZERO).is_err(), "calls to Core wait too");
    server.refuse(None);
    // Renewed at the next beat, not when it would have been time.
    sleep(Duration::from_millis(1500)).await;
    write(&maps, "after").await.unwrap();
    assert_eq!(written(&server).len(), 2, "{:?}", written(&server));
    assert!(!keeping.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_slept_while_another_began_writes_nothing() {
    let server = Server::default();
    let held = campaign(api(&server), NAME, "one", || {}).await;
    let maps = under_the_lease(&server, &held.leadership());
    let keeping = tokio::spawn(held.keep(CancellationToken::new()));
    sleep(Duration::from_secs(4)).await;
    server.put(LEASE, json!({"metadata": {"name": "tapir-operator", "namespace": "tapir"}, "spec": {"holderIdentity": "two"}}));
    advance(Duration::from_secs(5)).await;
    write(&maps, "at-once").await.unwrap_err();
    assert_eq!(keeping.await.unwrap(), End::Lost);
    write(&maps, "at-the-end").await.unwrap_err();
    assert_eq!(written(&server), Vec::<String>::new());
}

/// A connection is being made when the process is stopped: the request must not follow when it goes on.
#[tokio::test(start_paused = true)]
async fn a_write_that_waits_for_its_connection_is_not_sent_after_a_sleep() {
    let server = Server::default();
    let held = campaign(api(&server), NAME, "one", || {}).await;
    let leadership = held.leadership();
    let (connected, sent) = (std::sync::Arc::new(Notify::new()), std::sync::Arc::new(Notify::new()));
    let service = {
        let (connected, sent) = (connected.clone(), sent.clone());
        tower::service_fn(move |request: Request<Body>| {
            let (connected, sent) = (connected.clone(), sent.clone());
            async move {
                connected.notified().await;
                assert_eq!(request.method(), Method::POST);
                sent.notify_one();
                Ok::<_, std::convert::Infallible>(Response::new(Body::from(b"{}".to_vec())))
            }
        })
    };
    let maps = Api::namespaced(fenced(&Client::new(service, "dns"), leadership), "dns");
    let writing = tokio::spawn(async move { write(&maps, "slow").await });
    sleep(Duration::from_secs(1)).await;
    advance(Duration::from_secs(5)).await;
    connected.notify_one();
    let refused = writing.await.unwrap().unwrap_err();
    assert!(refused.contains("lease"), "{refused}");
    assert!(timeout(Duration::from_secs(1), sent.notified()).await.is_err(), "it was sent");
}

#[tokio::test(start_paused = true)]
async fn from_the_release_on_nothing_is_written() {
    let server = Server::default();
    let held = campaign(api(&server), NAME, "one", || {}).await;
    let maps = under_the_lease(&server, &held.leadership());
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(held.keep(stop).await, End::Released);
    write(&maps, "late").await.unwrap_err();
    assert_eq!(written(&server), Vec::<String>::new());
}

/// Work that hears of the end, and ends after a while.
async fn work_that_ends_after(pause: Duration, stop: CancellationToken) {
    stop.cancelled().await;
    sleep(pause).await;
}

/// How it ended, and how long after the end was asked for.
async fn ended(server: &Server, pause: Duration) -> (Served<()>, Duration) {
    let held = campaign(api(server), NAME, "one", || {}).await;
    let stop = CancellationToken::new();
    let asking = async {
        // Longer than a term: it is renewed meanwhile, and nothing is drained before it is asked for.
        sleep(TERM * 2).await;
        stop.cancel();
        Instant::now()
    };
    let (served, asked) = tokio::join!(serve(held, work_that_ends_after(pause, stop.clone()), &stop), asking);
    (served, asked.elapsed())
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_ends_before_the_lease_is_released() {
    let server = Server::default();
    let pause = DRAIN_LIMIT - Duration::from_secs(1);
    assert_eq!(ended(&server, pause).await, (Served::Done(()), pause));
    assert_eq!(server.get(LEASE).unwrap()["spec"]["holderIdentity"], "");
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_dropped_and_the_lease_released() {
    let server = Server::default();
    assert_eq!(ended(&server, TERM * 10).await, (Served::CutShort, DRAIN_LIMIT));
    assert_eq!(server.get(LEASE).unwrap()["spec"]["holderIdentity"], "");
    assert!(DRAIN_LIMIT + RELEASE_LIMIT < Duration::from_secs(30), "the chart's grace period");
}
