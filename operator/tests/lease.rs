//! Two candidates never lead at the same time, and the successor of an orderly leader does not wait.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod support;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use serde_json::json;
use support::api::Server;
use tapir_operator::leader::{End, TERM, campaign};
use tokio::time::{Instant, advance, timeout};
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
