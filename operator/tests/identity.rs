//! The identity survives every crash and every lost answer, and is never made twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

#[path = "identity/adoption.rs"]
mod adoption;
#[path = "identity/renewal.rs"]
mod renewal;
#[path = "identity/replacement.rs"]
mod replacement;
mod support;

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use support::api::{Loss, Server};
use support::nodeman::Nodeman;
use tapir_operator::identity::enrol::EnrolError;
use tapir_operator::identity::from_core::{FromCore, News, WantedFromCore};
use tapir_operator::identity::keeper::{CredentialsFound, KeepError, Keeper, Kept, Wanted};
use tapir_operator::identity::leaving::Left;
use tapir_operator::identity::material::fingerprint;
use tapir_operator::identity::plan::Blocked;
use tapir_operator::leader::Leadership;
use tapir_operator::nodeman::{NodemanError, TrustAnchors};
use tapir_operator::telemetry::metrics::Metrics;
use tapir_plan::clock::{Clock, Fixed};
use tapir_wire::enrolment::Credentials;

const NODE: &str = "a.edge.test";
const EDGE: &str = "/apis/dnstapir.se/v1alpha1/namespaces/dns/tapiredges/stockholm";
const IDENTITY: &str = "/api/v1/namespaces/dns/secrets/stockholm-identity";
const PENDING: &str = "/api/v1/namespaces/dns/secrets/stockholm-pending";
const RESCUE: &str = "/api/v1/namespaces/dns/secrets/stockholm-identity-rescue";

struct Scene {
    server: Server,
    nodeman: Nodeman,
    keeper: Keeper,
    clock: Arc<Fixed>,
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

impl Scene {
    async fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = Server::default();
        server.put(EDGE, json!({"apiVersion": "dnstapir.se/v1alpha1", "kind": "TapirEdge", "metadata": {"name": "stockholm", "namespace": "dns"}}));
        let clock = Arc::new(Fixed::at(at("2026-11-21T00:24:14Z")));
        let keeper = Keeper::new(server.client(), Leadership::for_tests(), Metrics::default())
            .with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        Self { server, nodeman: Nodeman::start(NODE).await, keeper, clock }
    }

    fn wanted(&self) -> Wanted {
        let text = self.nodeman.credentials(NODE);
        let edge = self.server.get(EDGE).unwrap();
        Wanted {
            namespace: "dns".into(),
            edge: "stockholm".into(),
            edge_uid: edge["metadata"]["uid"].as_str().map(str::to_owned),
            namespace_terminating: false,
            recorded: edge["metadata"]["annotations"]["dnstapir.se/node"].as_str().map(str::to_owned),
            credentials: CredentialsFound::Valid {
                credentials: Credentials::parse(&text).unwrap(),
                fingerprint: fingerprint(&text),
                nodeman_url: self.nodeman.server.uri(),
            },
            shared_with: None,
            // Plain HTTP on loopback: no anchor is ever used.
            trust_anchors: Ok(TrustAnchors::Bundle(some_ca())),
            hold: false,
            from_core: WantedFromCore::default(),
        }
    }

    async fn keep(&self) -> Result<Kept, KeepError> {
        self.keeper.keep(&self.wanted()).await
    }

    fn stored_key(&self, path: &str) -> Option<Value> {
        let secret = self.server.get(path)?;
        let jwk = BASE64_STANDARD.decode(secret["data"]["datakey.jwk"].as_str().unwrap()).unwrap();
        Some(serde_json::from_slice::<Value>(&jwk).unwrap()["x"].clone())
    }

    /// A rescued copy that holds another key than the identity. Returns its content.
    fn put_rescue_of_another_node(&self) -> Value {
        let mut other = self.server.get(IDENTITY).unwrap();
        other["metadata"] =
            json!({"name": "stockholm-identity-rescue", "namespace": "dns", "labels": other["metadata"]["labels"]});
        let key = tapir_wire::jwk::DataKey::generate(&"b.edge.test".parse().unwrap()).unwrap();
        other["data"]["datakey.jwk"] = BASE64_STANDARD.encode(key.to_jwk().as_bytes()).into();
        self.server.put(RESCUE, other.clone());
        other["data"].clone()
    }

    fn assert_settled(&self) {
        assert_eq!(self.stored_key(IDENTITY), self.nodeman.enrolled_key(), "the identity is not the one that Core knows");
        assert!(self.server.get(PENDING).is_none() && self.server.get(RESCUE).is_none());
        let identity = self.server.get(IDENTITY).unwrap();
        assert_eq!(identity["metadata"]["finalizers"], json!(["dnstapir.se/identity"]));
        assert!(identity["metadata"]["ownerReferences"].is_null());
        assert_eq!(identity["type"], "kubernetes.io/tls");
        assert_eq!(self.server.get(EDGE).unwrap()["metadata"]["annotations"]["dnstapir.se/node"], NODE);
    }
}

fn some_ca() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec!["ca.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
}

#[tokio::test]
async fn keys_are_durable_before_nodeman_hears_of_them() {
    let scene = Scene::new().await;
    scene.keep().await.unwrap();
    scene.assert_settled();
    let secrets = "/api/v1/namespaces/dns/secrets";
    let expected = [format!("POST {secrets}"), format!("POST {secrets}"), format!("PATCH {EDGE}"), format!("DELETE {PENDING}")];
    assert_eq!(scene.server.writes(), expected);
    assert_eq!(scene.nodeman.answers(), ["enroll 200"]);
}

#[tokio::test]
async fn a_settled_identity_makes_no_write_and_no_call() {
    let scene = Scene::new().await;
    scene.keep().await.unwrap();
    scene.server.forget_writes();
    scene.keep().await.unwrap();
    assert_eq!(scene.server.writes(), [""; 0]);
    assert_eq!(scene.nodeman.answers().len(), 1);
}

#[tokio::test]
async fn whichever_write_is_lost_there_is_one_node_and_one_identity() {
    for number in 0..4 {
        for loss in [Loss::BeforeEffect, Loss::AfterEffect] {
            let scene = Scene::new().await;
            scene.server.lose(number, loss);
            assert!(scene.keep().await.is_err(), "write {number} was not lost");
            let pending = scene.stored_key(PENDING).or_else(|| scene.stored_key(IDENTITY));
            scene.keep().await.unwrap();
            scene.assert_settled();
            assert!(pending.is_none() || pending == scene.stored_key(IDENTITY), "write {number} {loss:?}: the key was made anew");
        }
    }
}

#[tokio::test]
async fn a_lost_answer_is_recovered_by_renewal_and_configuration() {
    let scene = Scene::new().await;
    scene.nodeman.lose_enrolments(1);
    let error = scene.keep().await.unwrap_err();
    assert!(matches!(error, KeepError::Enrol(EnrolError::Nodeman(NodemanError::Unreachable(_)))), "{error}");
    scene.keep().await.unwrap();
    scene.assert_settled();
    assert_eq!(scene.nodeman.answers(), ["enroll 200", "enroll 400", "renew 200", "configuration 200"]);
}

#[tokio::test]
async fn credentials_that_somebody_else_used_are_used_up() {
    let scene = Scene::new().await;
    scene.nodeman.enrol_somebody_else();
    let error = scene.keep().await.unwrap_err();
    assert!(matches!(error, KeepError::Enrol(EnrolError::CredentialsUsed(_))), "{error}");
    assert!(scene.server.get(IDENTITY).is_none());
}

#[tokio::test]
async fn a_deleted_identity_comes_back_whole_whichever_write_is_lost() {
    for number in 0..4 {
        for loss in [Loss::BeforeEffect, Loss::AfterEffect] {
            let scene = Scene::new().await;
            scene.keep().await.unwrap();
            let before = scene.server.get(IDENTITY).unwrap()["data"].clone();
            scene.server.delete(IDENTITY);
            scene.server.lose(number, loss);
            assert!(scene.keep().await.is_err());
            scene.keep().await.unwrap();
            scene.assert_settled();
            assert_eq!(scene.server.get(IDENTITY).unwrap()["data"], before, "write {number} {loss:?}");
            assert_eq!(scene.nodeman.answers().len(), 1, "nodeman was called");
        }
    }
}

#[tokio::test]
async fn a_lost_identity_is_reported_and_nothing_is_made() {
    let scene = Scene::new().await;
    scene.keep().await.unwrap();
    scene.server.destroy(IDENTITY);
    scene.server.forget_writes();
    let error = scene.keep().await.unwrap_err();
    assert!(matches!(error, KeepError::Blocked(Blocked::IdentityLost(_))), "{error}");
    assert_eq!(scene.server.writes(), [""; 0]);
}

#[tokio::test]
async fn somebody_else_s_write_in_between_is_not_overwritten() {
    let scene = Scene::new().await;
    scene.keep().await.unwrap();
    scene.server.delete(IDENTITY);
    let mut changed = scene.server.get(IDENTITY).unwrap();
    changed["data"]["tls.crt"] = scene.server.get(IDENTITY).unwrap()["data"]["ca.crt"].clone();
    // Between copy and release the Secret changes: the release must not go through on the old copy.
    scene.server.intrude(1, IDENTITY, changed.clone());
    scene.keep().await.unwrap();
    assert_eq!(scene.server.get(IDENTITY).unwrap()["data"], changed["data"]);
}

#[tokio::test]
async fn a_namespace_that_goes_gets_its_secret_released() {
    let scene = Scene::new().await;
    scene.keep().await.unwrap();
    scene.server.delete(IDENTITY);
    let kept = scene.keeper.keep(&Wanted { namespace_terminating: true, ..scene.wanted() }).await.unwrap();
    assert!(matches!(kept, Kept::Leaving));
    assert!(scene.server.get(IDENTITY).is_none() && scene.server.get(RESCUE).is_none());
}

#[tokio::test]
async fn an_edge_that_is_deleted_with_its_identity_leaves_nothing() {
    let scene = Scene::new().await;
    scene.keep().await.unwrap();
    scene.keeper.erase("dns", "stockholm", Some(NODE)).await.unwrap();
    assert!(scene.server.get(IDENTITY).is_none());
}

#[tokio::test]
async fn only_what_was_made_for_the_node_of_the_edge_goes_with_it() {
    // An edge that was never that node, one that never was any, and a Secret that somebody else put there.
    for (recorded, foreign) in [(Some("b.edge.test"), false), (None, false), (Some(NODE), true)] {
        let scene = Scene::new().await;
        scene.keep().await.unwrap();
        let mut secret = scene.server.get(IDENTITY).unwrap();
        if foreign {
            secret["metadata"]["labels"] = json!({});
        }
        scene.server.put(IDENTITY, secret.clone());
        secret["metadata"]["finalizers"] = json!([]);
        secret["metadata"]["name"] = "stockholm-pending".into();
        scene.server.put(PENDING, secret);
        scene.keeper.erase("dns", "stockholm", recorded).await.unwrap();
        assert_eq!(scene.stored_key(IDENTITY), scene.nodeman.enrolled_key(), "{recorded:?} {foreign}");
        assert!(scene.server.get(PENDING).is_some(), "{recorded:?} {foreign}");
    }
}

#[tokio::test]
async fn a_copy_of_another_node_outlives_the_identity_beside_it() {
    let scene = Scene::new().await;
    scene.keep().await.unwrap();
    let data = scene.put_rescue_of_another_node();
    scene.keeper.erase("dns", "stockholm", Some(NODE)).await.unwrap();
    let left = [RESCUE, IDENTITY].into_iter().filter_map(|path| scene.server.get(path)).find(|secret| secret["data"] == data);
    assert!(left.is_some(), "the other node's key is gone");
}

#[tokio::test]
async fn an_edge_that_goes_claims_nothing_done_while_keys_could_be_lost() {
    let scene = Scene::new().await;
    scene.keep().await.unwrap();
    scene.put_rescue_of_another_node();
    for deleted in [false, true] {
        if deleted {
            scene.server.delete(IDENTITY);
        }
        let error = scene.keeper.leave("dns", "stockholm", false).await.unwrap_err();
        assert!(matches!(error, KeepError::Blocked(Blocked::RescueConflict)), "{error}");
        assert!(scene.server.get(IDENTITY).is_some() && scene.server.get(RESCUE).is_some());
    }
    // The copy is the right one by now, and somebody else's finalizer holds the deleted original.
    let mut identity = scene.server.get(IDENTITY).unwrap();
    identity["metadata"]["finalizers"] = json!(["example.com/backup"]);
    scene.server.put(IDENTITY, identity.clone());
    let mut rescue = scene.server.get(RESCUE).unwrap();
    rescue["data"] = identity["data"].clone();
    scene.server.put(RESCUE, rescue);
    assert_eq!(scene.keeper.leave("dns", "stockholm", false).await.unwrap(), Left::Waiting);
    scene.server.destroy(IDENTITY);
    assert_eq!(scene.keeper.leave("dns", "stockholm", false).await.unwrap(), Left::Done);
    assert_eq!(scene.server.get(IDENTITY).unwrap()["metadata"]["finalizers"], json!([]), "nobody would take it off");
    scene.keep().await.unwrap();
    scene.assert_settled();
}

/// Only another key on record proves that a stored one can never be the node's.
#[tokio::test]
async fn pending_keys_of_other_credentials_go_only_when_core_has_another_key() {
    type Prepare = fn(&Scene);
    let cases: [(&str, bool, Prepare); 5] = [
        ("another key on record", true, |scene| scene.nodeman.enrol_somebody_else()),
        ("not activated", false, |_| ()),
        ("unknown", false, |scene| scene.nodeman.fault(Some((404, r#"{"detail":"Not Found"}"#)))),
        ("out of reach", false, |scene| scene.nodeman.fault(Some((503, "busy")))),
        ("enrolled", false, |scene| scene.nodeman.lose_enrolments(1)),
    ];
    for (case, goes, prepare) in cases {
        let scene = Scene::new().await;
        if case == "enrolled" {
            prepare(&scene);
            scene.keep().await.unwrap_err();
        } else {
            scene.nodeman.fault(Some((503, "busy")));
            scene.keep().await.unwrap_err();
            scene.nodeman.fault(None);
            prepare(&scene);
        }
        let key = scene.stored_key(PENDING).unwrap();
        let text = scene.nodeman.credentials("b.edge.test");
        let other = CredentialsFound::Valid {
            credentials: Credentials::parse(&text).unwrap(),
            fingerprint: fingerprint(&text),
            nodeman_url: scene.nodeman.server.uri(),
        };
        scene.keeper.keep(&Wanted { credentials: other, ..scene.wanted() }).await.unwrap_err();
        assert_eq!(scene.stored_key(PENDING) != Some(key), goes, "{case}");
    }
}

#[tokio::test]
async fn nodeman_s_bad_answers_are_told_apart_and_leave_the_keys() {
    let scene = Scene::new().await;
    for (fault, reason) in [
        ((200, "<html>"), "Nonsense"),
        ((200, "{}"), "Nonsense"),
        ((302, ""), "Nonsense"),
        ((503, "busy"), "Unreachable"),
        ((500, "Internal Server Error"), "Refused"),
        ((404, r#"{"detail":"Not Found"}"#), "Refused"),
    ] {
        scene.nodeman.fault(Some(fault));
        let KeepError::Enrol(EnrolError::Nodeman(error)) = scene.keep().await.unwrap_err() else { panic!("{fault:?}") };
        assert_eq!(<&str>::from(&error), reason, "{fault:?}");
        assert!(scene.server.get(PENDING).is_some());
    }
    scene.nodeman.fault(None);
    scene.keep().await.unwrap();
    scene.assert_settled();
}

#[tokio::test]
async fn while_on_hold_nodeman_is_left_alone() {
    let scene = Scene::new().await;
    let error = scene.keeper.keep(&Wanted { hold: true, ..scene.wanted() }).await.unwrap_err();
    assert!(matches!(error, KeepError::Held));
    assert_eq!(scene.nodeman.answers(), [""; 0]);
}
