//! What tests may change in a running Core: trusted keys, lifetimes, faults of all and of one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/running.rs"]
mod running;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::Method;
use running::*;
use serde_json::{Value, json};
use tapir_wire::enrolment::{RenewalAnswer, endpoint, renewal_request};

const NAME: &str = "a.edge.tapir.test";
const OTHER: &str = "b.edge.tapir.test";

async fn control(running: &Running, method: Method, path: &str, body: Value) -> (u16, Value) {
    let url = format!("http://{}/{path}", running.core.control);
    let answer = running.client(None).request(method, url).json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Names of the keys that a node is told to trust.
async fn trusted(running: &Running, edge: &EnrolledEdge) -> Vec<String> {
    let url = endpoint(&running.nodeman("/"), &edge.name, "configuration").unwrap();
    let configuration: Value = running.client(None).get(url).send().await.unwrap().json().await.unwrap();
    let keys = configuration["trusted_jwks"]["keys"].as_array().unwrap();
    assert!(keys.iter().all(|key| key.get("d").is_none()), "no private half is served");
    let mut kids: Vec<String> = keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    kids.sort();
    kids
}

#[tokio::test]
async fn keys_are_rotated_and_withdrawn() {
    let running = Running::start(&[]).await;
    let edge = running.enrol(NAME).await;
    let (status, shown) = control(&running, Method::POST, "keys", json!({"kid": "core-2027"})).await;
    assert_eq!((status, &shown["signing"]), (200, &json!("core-2027")));
    assert_eq!(trusted(&running, &edge).await, ["core-2027", "core-observations-ed25519", "core-observations-p256"]);
    for old in ["core-observations-ed25519", "core-observations-p256"] {
        assert_eq!(control(&running, Method::DELETE, &format!("keys/{old}"), Value::Null).await.0, 200);
    }
    assert_eq!(trusted(&running, &edge).await, ["core-2027"]);
    let (status, shown) = control(&running, Method::DELETE, "keys/core-2027", Value::Null).await;
    assert_eq!((status, shown), (200, json!({"signing": "core-2027", "trusted": []})), "it signs on, and nobody may believe it");
    assert!(trusted(&running, &edge).await.is_empty());
    assert_eq!(control(&running, Method::DELETE, "keys/core-2027", Value::Null).await.0, 404);
    assert_eq!(control(&running, Method::POST, "keys", json!({"kid": "no/name"})).await.0, 400);
    assert_eq!(control(&running, Method::POST, "keys", json!({"kid": "twice"})).await.0, 200);
    assert_eq!(control(&running, Method::POST, "keys", json!({"kid": "twice"})).await.0, 409);
}

#[tokio::test]
async fn lifetimes_change_for_certificates_to_come() {
    let running = Running::start(&[]).await;
    let edge = running.enrol(NAME).await;
    let renew = async |lifetime| {
        let body = renewal_request(&edge.data_key, &edge.tls_key.csr(&edge.name).unwrap(), Timestamp::now(), lifetime);
        let url = endpoint(&running.nodeman("/"), &edge.name, "renew").unwrap();
        let answer = running.client(None).post(url).body(body).send().await.unwrap();
        if answer.status() != 200 {
            return Err((answer.status().as_u16(), answer.text().await.unwrap()));
        }
        let answer: RenewalAnswer = answer.json().await.unwrap();
        Ok(answer.x509_certificate_not_valid_after.unwrap().duration_since(Timestamp::now()).as_secs())
    };
    assert_eq!(control(&running, Method::PUT, "certificate-lifetime", json!({"default": 100})).await.0, 200);
    assert!((90..=100).contains(&renew(None).await.unwrap()));
    // Without limits of its own a CA refuses every other wish.
    let refused = (400, r#"{"detail":"Certificate request refused"}"#.to_owned());
    assert_eq!(renew(Some(99)).await, Err(refused));
    let limits = json!({"default": 100, "minimum": 20, "maximum": 200});
    assert_eq!(control(&running, Method::PUT, "certificate-lifetime", limits.clone()).await, (200, limits));
    assert!((190..=200).contains(&renew(Some(200)).await.unwrap()));
    for bad in [json!({}), json!({"default": 0}), json!({"default": -1}), json!({"default": 9, "minimum": 2, "maximum": 1})] {
        assert_eq!(control(&running, Method::PUT, "certificate-lifetime", bad.clone()).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_fault_of_one_node_leaves_the_others_alone() {
    let running = Running::start(&[]).await;
    let (one, other) = (running.enrol(NAME).await, running.enrol(OTHER).await);
    let read = async |edge: &EnrolledEdge| {
        let url = endpoint(&running.nodeman("/"), &edge.name, "configuration").unwrap();
        running.client(None).get(url).send().await.unwrap().status().as_u16()
    };
    assert_eq!(control(&running, Method::POST, "faults", json!({"fault": "refuse", "node": NAME})).await.0, 200);
    assert_eq!([read(&one).await, read(&other).await], [404, 200]);
    let (_, shown) = control(&running, Method::GET, "faults", Value::Null).await;
    assert_eq!(shown, json!({"fault": "none", "nodes": {NAME: "refuse"}}));
    assert_eq!(control(&running, Method::POST, "faults", json!({"fault": "none", "node": NAME})).await.0, 200);
    running.fault("refuse").await;
    assert_eq!([read(&one).await, read(&other).await], [200, 404], "none exempts it");
    assert_eq!(control(&running, Method::POST, "faults", json!({"node": NAME})).await.0, 200);
    assert_eq!([read(&one).await, read(&other).await], [404, 404]);
    for bad in [json!({"fault": "offline", "node": NAME}), json!({"fault": "slow:", "node": NAME}), json!({"fault": "odd"})] {
        assert_eq!(control(&running, Method::POST, "faults", bad.clone()).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_slow_core_does_what_it_is_asked_and_answers_late() {
    let running = Running::start(&[]).await;
    let edge = running.enrol(NAME).await;
    let url = endpoint(&running.nodeman("/"), &edge.name, "configuration").unwrap();
    running.fault("slow:1").await;
    let started = Instant::now();
    assert_eq!(running.client(None).get(url.clone()).send().await.unwrap().status(), 200);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    // Whoever waits is answered as soon as Core is quick again.
    running.fault("slow:3600").await;
    let (client, slow) = (running.client(None), url.clone());
    let waiting = tokio::spawn(async move { client.get(slow).send().await.unwrap().status() });
    running.recorded(|entry| entry["fault"] == "slow:3600" && entry["status"] == 200).await;
    running.fault("none").await;
    assert_eq!(tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap(), 200);
}
