//! A policy's way to POP: lists and keys are copied, what is missing is said, and what is in force stays until something better comes.

use super::scene::*;
use super::*;

const MAP: &str = "/api/v1/namespaces/dns/configmaps/stockholm-pop";
const KEYS: &str = "/api/v1/namespaces/dns/secrets/stockholm-pop-keys";
const DATA_KEY: &str = "/api/v1/namespaces/dns/secrets/stockholm-pop-datakey";
const PEERS: &str = "/api/v1/namespaces/dns/services/stockholm-peers";
const LISTS: &str = "/api/v1/namespaces/dns/configmaps/lists";
const TSIG: &str = "/api/v1/namespaces/dns/secrets/tsig";
const SECRET_WORD: &str = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";

fn lists(text: &str) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "lists", "namespace": "dns"}, "data": {"deny.txt": text}})
}

fn tsig(text: &str) -> Value {
    json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "tsig", "namespace": "dns"}, "data": {"tsig.key": BASE64_STANDARD.encode(text)}})
}

fn policy(sources: &Value) -> Value {
    json!({"kind": "TapirPolicy", "apiVersion": "dnstapir.se/v1alpha1", "metadata": {"name": "default", "namespace": "dns"}, "spec": {"sources": sources}})
}

fn from_map() -> Value {
    policy(&json!([{"name": "own", "list": "Deny", "configMapRef": {"name": "lists", "key": "deny.txt"}}]))
}

fn from_zone() -> Value {
    policy(
        &json!([{"name": "feed", "list": "Deny", "rpz": {"primary": "192.0.2.1:53", "zone": "feed.example.", "tsigSecretRef": {"name": "tsig"}}}]),
    )
}

fn touched(scene: &Scene, pod: &str) -> Value {
    scene.server.get(pod).unwrap()["metadata"]["annotations"]["dnstapir.se/config-revision"].clone()
}

#[tokio::test]
async fn a_list_is_copied_and_a_change_of_it_reaches_running_pods() {
    let scene = Scene::new().await;
    let (pod, object) = injected_pod("p");
    scene.server.put(&pod, object);
    scene.server.put(POLICY, from_map());
    scene.server.put(LISTS, lists("bad.example\n!!rubbish!!\n"));
    scene.settle(EDGE).await;
    let data = scene.server.get(MAP).unwrap()["data"].clone();
    assert_eq!(data["list-own"], "bad.example\n!!rubbish!!\n", "rubbish is POP's to judge");
    assert!(data["pop.yaml"].as_str().unwrap().contains("path: list-own"), "{data}");
    let before = (touched(&scene, &pod), scene.revision());
    scene.server.put(LISTS, lists("worse.example\n"));
    scene.settle(EDGE).await;
    assert_eq!(scene.server.get(MAP).unwrap()["data"]["list-own"], "worse.example\n");
    let after = (touched(&scene, &pod), scene.revision());
    assert!(before.0 != after.0 && before.1 != after.1, "{before:?} {after:?}");
}

#[tokio::test]
async fn a_missing_list_is_named_and_the_last_good_one_stays() {
    let scene = Scene::new().await;
    scene.server.put(POLICY, from_map());
    scene.server.put(LISTS, lists("bad.example\n"));
    scene.settle(EDGE).await;
    let in_force = scene.server.get(MAP).unwrap();
    scene.server.destroy(LISTS);
    scene.check_bad("PolicyAccepted", "SourceMissing", |scene| {
        let message = scene.condition(EDGE, "PolicyAccepted")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("source own: there is no ConfigMap lists") && message.contains("last good one"), "{message}");
        assert_eq!(scene.server.get(MAP).unwrap(), in_force);
        scene.server.put(LISTS, json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "lists", "namespace": "dns"}, "data": {"deny.txt": "bad.example\n"}}));
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_not_in_the_map_is_missing_too() {
    let scene = Scene::new().await;
    scene.server.put(POLICY, from_map());
    scene.server.put(LISTS, json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "lists", "namespace": "dns"}, "data": {"allow.txt": ""}}));
    scene.check_bad("PolicyAccepted", "SourceMissing", |scene| scene.server.put(LISTS, lists("bad.example\n"))).await;
}

#[tokio::test]
async fn lists_that_do_not_fit_are_refused() {
    let scene = Scene::new().await;
    scene.server.put(POLICY, from_map());
    scene.server.put(LISTS, lists(&"a".repeat(1024 * 1024)));
    scene.check_bad("PolicyAccepted", "ListTooLarge", |scene| scene.server.put(LISTS, lists("bad.example\n"))).await;
}

#[tokio::test]
async fn a_policy_deleted_while_in_use_stays_in_force_and_an_event_warns() {
    let scene = Scene::new().await;
    scene.server.put(POLICY, from_map());
    scene.server.put(LISTS, lists("bad.example\n"));
    scene.settle(EDGE).await;
    let in_force = scene.server.get(MAP).unwrap();
    scene.server.destroy(POLICY);
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "PolicyAccepted"), ("False".to_owned(), "PolicyNotFound".to_owned()));
    assert_eq!(scene.server.get(MAP).unwrap(), in_force);
    let warned = scene.server.dump_without("nothing");
    let event = warned.lines().find(|line| line.contains("/events/") && line.contains("PolicyNotFound")).unwrap();
    assert!(event.contains("\"Warning\""), "{event}");
}

#[tokio::test]
async fn a_transfer_key_is_copied_changed_and_removed() {
    let scene = Scene::new().await;
    let (pod, object) = injected_pod("p");
    scene.server.put(&pod, object);
    scene.server.put(POLICY, from_zone());
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "PolicyAccepted"), ("False".to_owned(), "SourceMissing".to_owned()));
    scene.server.put(TSIG, tsig(&format!("k.example:{SECRET_WORD}")));
    scene.settle(EDGE).await;
    let copied = scene.server.get(KEYS).unwrap()["data"]["tsig-feed"].clone();
    assert_eq!(copied, BASE64_STANDARD.encode(format!("k.example:{SECRET_WORD}")));
    assert!(scene.server.get(MAP).unwrap()["data"]["pop.yaml"].as_str().unwrap().contains("tsigKeyFile: tsig-feed"));
    let before = touched(&scene, &pod);
    scene.server.put(TSIG, tsig(&format!("other.example:{SECRET_WORD}")));
    scene.settle(EDGE).await;
    assert_ne!(scene.server.get(KEYS).unwrap()["data"]["tsig-feed"], copied);
    assert_ne!(touched(&scene, &pod), before, "running Pods are to mount it");

    scene.server.put(TSIG, tsig(&format!("no key at all {SECRET_WORD}")));
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "PolicyAccepted"), ("False".to_owned(), "PolicyInvalid".to_owned()));
    let shown = scene.server.dump_without("/secrets/");
    assert!(!shown.contains(SECRET_WORD), "a key is shown");
    assert!(scene.server.get(KEYS).is_some(), "the last good one stays");

    scene.server.put(POLICY, from_map());
    scene.server.put(LISTS, lists("bad.example\n"));
    scene.settle(EDGE).await;
    assert!(scene.server.get(KEYS).is_none(), "nobody needs it any more");
}

fn telemetry(scene: &Scene, enabled: bool) {
    scene.change(EDGE, |edge| {
        edge["metadata"]["generation"] = (edge["metadata"]["generation"].as_i64().unwrap() + 1).into();
        edge["spec"]["pop"]["telemetry"] = json!({"enabled": enabled});
    });
}

#[tokio::test]
async fn pop_has_the_data_key_while_it_tells_core_and_only_then() {
    let scene = Scene::new().await;
    let (pod, object) = injected_pod("p");
    scene.server.put(&pod, object);
    scene.server.put(POLICY, from_map());
    scene.server.put(LISTS, lists("bad.example\n"));
    scene.settle(EDGE).await;
    assert!(scene.server.get(DATA_KEY).is_none(), "off where nothing is said");
    let before = touched(&scene, &pod);

    telemetry(&scene, true);
    scene.settle(EDGE).await;
    let identity = scene.server.get(IDENTITY).unwrap();
    let copied = scene.server.get(DATA_KEY).unwrap();
    assert!(identity["data"]["datakey.jwk"].is_string());
    assert_eq!(copied["data"], json!({"datakey.jwk": identity["data"]["datakey.jwk"]}), "that, and nothing else");
    assert!(scene.server.get(MAP).unwrap()["data"]["pop.yaml"].as_str().unwrap().contains("telemetry:"));
    assert_ne!(touched(&scene, &pod), before, "running Pods are to mount it");

    telemetry(&scene, false);
    scene.settle(EDGE).await;
    assert!(scene.server.get(DATA_KEY).is_none(), "nobody needs it any more");
    telemetry(&scene, true);
    scene.settle(EDGE).await;
    assert!(scene.server.get(DATA_KEY).is_some());
    scene.server.delete(EDGE);
    scene.settle(EDGE).await;
    assert!(scene.server.get(DATA_KEY).is_none(), "nor does anybody after the edge");
}

#[tokio::test]
async fn the_peers_have_a_service_while_the_edge_lives() {
    let scene = Scene::new().await;
    scene.server.put(POLICY, from_zone());
    scene.server.put(TSIG, tsig(&format!("k.example:{SECRET_WORD}")));
    scene.settle(EDGE).await;
    let service = scene.server.get(PEERS).unwrap();
    assert_eq!(service["metadata"]["labels"]["dnstapir.se/edge"], "stockholm");
    assert_eq!(service["spec"]["selector"], json!({"dnstapir.se/edge": "stockholm"}));
    assert_eq!((&service["spec"]["clusterIP"], &service["spec"]["publishNotReadyAddresses"]), (&json!("None"), &json!(true)));
    scene.server.delete(EDGE);
    scene.settle(EDGE).await;
    assert!(scene.server.get(EDGE).is_none_or(|edge| edge["metadata"]["finalizers"] == json!([])));
    assert_eq!((scene.server.get(PEERS), scene.server.get(KEYS)), (None, None));
    assert!(scene.server.get(MAP).unwrap()["data"]["pop.yaml"].as_str().unwrap().contains("disabled: true"));
}

#[tokio::test]
async fn somebody_else_s_service_is_left_alone_and_said() {
    let scene = Scene::new().await;
    let theirs = json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "stockholm-peers", "namespace": "dns"}, "spec": {"ports": [{"port": 80}]}});
    scene.server.put(PEERS, theirs);
    let before = scene.server.get(PEERS).unwrap();
    let (path, pod) = injected_pod("p");
    scene.server.put(&path, pod);
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Injected"), ("False".to_owned(), "NameTaken".to_owned()));
    scene.server.delete(EDGE);
    scene.settle(EDGE).await;
    assert_eq!(scene.server.get(PEERS).unwrap(), before);
}
