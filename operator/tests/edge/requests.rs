//! What a change costs the API server, until all is silent again.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kube::core::DeserializeGuard;
use serde_json::{Value, json};
use tapir_operator::edge::{Settled, reconcile};
use tapir_operator::identity::calls::Calls;
use tapir_operator::identity::keeper::Keeper;
use tapir_operator::leader::Leadership;
use tapir_plan::clock::Clock;

use super::scene::*;
use super::settled::settled;

/// With one Pod, and a CA of Core's own, which each of two rounds reads for EDM.
const MOST_FOR_A_POLICY: usize = 13;

/// A settled edge whose policy has no lists of its own.
async fn plain() -> Scene {
    let scene = settled().await;
    scene.change(POLICY, |policy| {
        policy["metadata"]["generation"] = 2.into();
        policy["spec"]["sources"] = json!([{"name": "core", "list": "Doubt", "core": {}}]);
    });
    until_silent(&scene).await;
    scene.pop_reports("p", Some(&scene.revision()));
    until_silent(&scene).await;
    scene
}

fn change_policy(scene: &Scene, generation: i32) {
    scene.change(POLICY, |policy| {
        policy["metadata"]["generation"] = generation.into();
        policy["spec"]["mode"] = if generation % 2 == 0 { "Enforce" } else { "Observe" }.into();
    });
}

/// Looks of both controllers, each told by all that was written before, until nothing is asked any more.
async fn until_silent(scene: &Scene) -> Vec<String> {
    let mut asked = Vec::new();
    for _ in 0..10 {
        scene.server.forget_writes();
        scene.look_at_identity(EDGE).await.unwrap();
        scene.once_without_identity(EDGE).await.unwrap();
        if scene.server.requests() == 0 {
            return asked;
        }
        asked.extend(scene.server.asked());
    }
    panic!("never silent: {asked:#?}");
}

#[tokio::test]
async fn a_policy_that_changes_costs_a_dozen_requests_an_edge() {
    let scene = plain().await;
    change_policy(&scene, 3);
    let mut asked = until_silent(&scene).await;
    assert_eq!(scene.reason(EDGE, "PolicyAccepted").0, "Unknown", "POP has not told yet");
    scene.pop_reports("p", Some(&scene.revision()));
    asked.extend(until_silent(&scene).await);
    assert_eq!(scene.reason(EDGE, "PolicyAccepted").0, "True");
    assert!(asked.len() <= MOST_FOR_A_POLICY, "{}: {asked:#?}", asked.len());
    let secrets: Vec<&String> = asked.iter().filter(|asked| asked.contains("/secrets/")).collect();
    assert!(secrets.is_empty(), "a policy concerns no Secret: {secrets:?}");
}

/// The events of what a round wrote come one after the other, and each of them names the edge.
#[tokio::test]
async fn own_writes_cost_nothing_in_whatever_order_they_come_back() {
    let scene = plain().await;
    let before = scene.server.get(EDGE).unwrap();
    change_policy(&scene, 3);
    scene.once_without_identity(EDGE).await.unwrap();
    let look = async |edge: &Value| {
        let edge: DeserializeGuard<_> = serde_json::from_value(edge.clone()).unwrap();
        scene.server.forget_writes();
        reconcile(Arc::new(edge), Arc::clone(&scene.context)).await.unwrap();
        scene.server.asked()
    };
    let after = scene.server.get(EDGE).unwrap();
    assert_ne!(before, after, "a status was written");
    assert_eq!(look(&before).await, [""; 0], "nothing has come back");
    assert_eq!(look(&after).await, [""; 0], "the status has come back");
    scene.watch();
    assert_eq!(look(&before).await, [""; 0], "all but the status has come back");
    assert_eq!(look(&after).await, [""; 0], "all has come back");
    // Somebody puts back what was there before.
    let mut restored = after.clone();
    restored["status"] = before["status"].clone();
    scene.server.put(EDGE, restored);
    assert_ne!(look(&scene.server.get(EDGE).unwrap()).await, [""; 0]);
    assert_eq!(scene.server.get(EDGE).unwrap()["status"]["policy"], after["status"]["policy"]);
}

/// An edge that Core is asked for whenever it is looked at.
async fn always_due() -> Scene {
    let mut scene = Scene::new().await;
    let context = Arc::get_mut(&mut scene.context).unwrap();
    context.keeper.calls = Calls::every(Duration::ZERO);
    scene.settle(EDGE).await;
    // By then everything that was written has come back.
    scene.look_at_identity(EDGE).await.unwrap();
    scene
}

async fn look(scene: &Scene) -> (usize, usize) {
    scene.server.forget_writes();
    scene.nodeman.forget_answers();
    scene.look_at_identity(EDGE).await.unwrap();
    (scene.server.requests(), scene.nodeman.answers().len())
}

#[tokio::test]
async fn while_nothing_changes_core_alone_is_asked() {
    let scene = always_due().await;
    for _ in 0..5 {
        assert_eq!(look(&scene).await, (0, 1), "{:?}", scene.server.asked());
        scene.nodeman.trust(&["core"]);
    }
    // Something here is another one: a key that Core does not list was put back from a backup.
    scene.change(IDENTITY, |secret| secret["data"]["trusted-jwks.json"] = BASE64_STANDARD.encode("{\"keys\":[]}").into());
    assert!(look(&scene).await.0 > 0);
    assert!(scene.server.writes().iter().any(|write| write.contains("stockholm-identity")), "{:?}", scene.server.writes());
    look(&scene).await;
    assert_eq!(look(&scene).await, (0, 1));
    // After some hours everything is compared with reality.
    scene.clock.set(scene.context.keeper.clock.now() + Duration::from_hours(6));
    assert!(look(&scene).await.0 > 0);
    assert_eq!(scene.server.writes(), [""; 0]);
    assert_eq!(look(&scene).await, (0, 1));
}

#[tokio::test]
async fn what_core_says_anew_is_followed_at_once() {
    let scene = always_due().await;
    let keys = |scene: &Scene| scene.server.get(IDENTITY).unwrap()["data"]["trusted-jwks.json"].clone();
    let before = keys(&scene);
    scene.nodeman.trust(&["core", "another"]);
    assert!(look(&scene).await.0 > 0);
    assert_ne!(keys(&scene), before);
    look(&scene).await;
    assert_eq!(look(&scene).await, (0, 1));
    // A word of Core about this node leads to a whole round, which has it said again; silence does not make it ask twice.
    scene.nodeman.fault(Some((503, "busy")));
    assert!(look(&scene).await.0 > 0);
    assert_eq!(scene.nodeman.answers(), ["configuration 503"]);
    scene.nodeman.fault(None);
    let scene = always_due().await;
    scene.nodeman.remove(NODE);
    look(&scene).await;
    scene.once_without_identity(EDGE).await.unwrap();
    assert_eq!(scene.reason(EDGE, "Enrolled").1, "NodeRemoved");
}

#[tokio::test]
async fn a_certificate_that_is_due_ends_the_silence() {
    let mut scene = Scene::new().await;
    let start = scene.context.keeper.clock.now();
    Arc::get_mut(&mut scene.context).unwrap().keeper.calls = Calls::every(Duration::ZERO);
    scene.nodeman.issue_for(start, start + Duration::from_hours(4));
    scene.settle(EDGE).await;
    scene.look_at_identity(EDGE).await.unwrap();
    assert_eq!(look(&scene).await, (0, 1));
    scene.clock.set(start + Duration::from_hours(3));
    scene.nodeman.issue_for(start, start + Duration::from_hours(40));
    look(&scene).await;
    assert!(scene.nodeman.answers().contains(&"renew 200".to_owned()), "{:?}", scene.nodeman.answers());
}

#[tokio::test]
async fn who_writes_over_a_configuration_meanwhile_is_seen() {
    const MAP: &str = "/api/v1/namespaces/dns/configmaps/stockholm-pop";
    let scene = plain().await;
    change_policy(&scene, 3);
    // Between the operator's last look at it and its write.
    scene.server.intrude(0, MAP, {
        let mut map = scene.server.get(MAP).unwrap();
        map["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "somebody".into();
        map
    });
    scene.once_without_identity(EDGE).await.unwrap();
    assert_eq!(scene.server.get(MAP).unwrap()["metadata"]["labels"]["app.kubernetes.io/managed-by"], "somebody");
    assert_eq!(scene.reason(EDGE, "Injected").1, "NameTaken");
}

#[tokio::test]
async fn the_first_look_at_core_after_a_start_asks_core_alone() {
    let mut scene = Scene::new().await;
    scene.settle(EDGE).await;
    let start = |scene: &mut Scene| {
        let context = Arc::get_mut(&mut scene.context).unwrap();
        let keeper = Keeper::new(context.client.clone(), Leadership::for_tests(), context.metrics.clone());
        context.keeper = keeper.with_clock(Arc::clone(&scene.clock) as Arc<dyn Clock>);
        context.keeper.calls = Calls::every(Duration::from_hours(1));
        (context.settled, context.settled_identities) = (Settled::default(), Settled::default());
    };
    start(&mut scene);
    let (asked, of_core) = look(&scene).await;
    assert!(asked > 0 && of_core == 0, "all is read, and it is not time to ask Core: {:?}", scene.nodeman.answers());
    // Some minutes later it is.
    let due = |scene: &mut Scene| {
        let context = Arc::get_mut(&mut scene.context).unwrap();
        context.keeper.calls = Calls::every(Duration::ZERO);
        context.settled_identities = Settled::default();
    };
    due(&mut scene);
    assert_eq!(look(&scene).await, (0, 1), "{:?}", scene.server.asked());
    // What Core lists by then is followed.
    start(&mut scene);
    look(&scene).await;
    scene.nodeman.trust(&["another"]);
    due(&mut scene);
    assert!(look(&scene).await.0 > 0);
    assert!(scene.server.writes().iter().any(|write| write.contains("stockholm-identity")), "{:?}", scene.server.writes());
}

#[tokio::test]
async fn who_waits_for_its_turn_at_core_asks_for_nothing_meanwhile() {
    const OTHER: &str = "/apis/dnstapir.se/v1alpha1/namespaces/dns/tapiredges/uppsala";
    let mut scene = Scene::new().await;
    let context = Arc::get_mut(&mut scene.context).unwrap();
    context.keeper = context.keeper.clone().with_calls_per_second(1);
    context.keeper.calls = Calls::every(Duration::ZERO);
    scene.settle(EDGE).await;
    scene.nodeman.add("b.edge.test");
    let mut credentials = secret(&scene.nodeman.credentials("b.edge.test"));
    credentials["metadata"]["name"] = "enrol-b".into();
    scene.server.put("/api/v1/namespaces/dns/secrets/enrol-b", credentials);
    let mut other = edge("uppsala", "2026-11-21T00:00:00Z");
    other["spec"]["enrollment"]["credentialsSecretRef"]["name"] = "enrol-b".into();
    scene.server.put(OTHER, other);
    scene.once_without_identity(OTHER).await.unwrap();
    // Until Core has had all the calls that it gets at once.
    while look(&scene).await.1 > 0 {}
    let (mut looks, mut dear) = (0, 0);
    while !scene.nodeman.answers().contains(&"enroll 200".to_owned()) {
        scene.server.forget_writes();
        scene.look_at_identity(OTHER).await.unwrap();
        looks += 1;
        dear += usize::from(scene.server.requests() > 0);
        let enrolled = scene.server.get("/api/v1/namespaces/dns/secrets/uppsala-identity").is_some();
        let keys = scene.server.get("/api/v1/namespaces/dns/secrets/uppsala-pending").is_some();
        assert!(enrolled || !keys, "keys are made when the turn has come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(looks > 10, "it had to wait");
    // That it has to wait, that what it wrote for that has come back, and its turn.
    assert!(dear <= 3, "{dear} of {looks} looks");
}
