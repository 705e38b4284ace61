//! What an edge says of EDM on its way there: lists and anchors are copied, and the secret of pseudonyms while EDM makes any.

use super::scene::*;
use super::*;

const MAP: &str = "/api/v1/namespaces/dns/configmaps/stockholm-edm";
const KEYS: &str = "/api/v1/namespaces/dns/secrets/stockholm-edm-keys";

fn say(scene: &Scene, edm: &Value) {
    scene.change(EDGE, |edge| {
        edge["metadata"]["generation"] = (edge["metadata"]["generation"].as_i64().unwrap() + 1).into();
        edge["spec"]["edm"] = edm.clone();
    });
}

fn file(scene: &Scene, name: &str) -> String {
    scene.server.get(MAP).unwrap()["data"][name].as_str().unwrap_or_default().to_owned()
}

fn touched(scene: &Scene, pod: &str) -> Value {
    scene.server.get(pod).unwrap()["metadata"]["annotations"]["dnstapir.se/config-revision"].clone()
}

#[tokio::test]
async fn edm_has_the_secret_of_pseudonyms_while_it_makes_any_and_only_then() {
    let scene = Scene::new().await;
    let (pod, object) = injected_pod("p");
    scene.server.put(&pod, object);
    scene.settle(EDGE).await;
    assert!(scene.server.get(KEYS).is_none() && !file(&scene, "edm.toml").contains("session"), "off where nothing is said");
    let before = touched(&scene, &pod);

    say(&scene, &json!({"sessions": {"enabled": true}}));
    scene.settle(EDGE).await;
    let identity = scene.server.get(IDENTITY).unwrap();
    assert!(identity["data"]["cryptopan.key"].is_string());
    assert_eq!(
        scene.server.get(KEYS).unwrap()["data"],
        json!({"cryptopan.key": identity["data"]["cryptopan.key"]}),
        "that alone"
    );
    assert!(file(&scene, "edm.toml").contains("disable-session-files = false"));
    assert_ne!(touched(&scene, &pod), before, "running Pods are to mount it");

    say(&scene, &json!({"enabled": false, "sessions": {"enabled": true}}));
    scene.settle(EDGE).await;
    assert!(scene.server.get(KEYS).is_none(), "nobody needs it any more");
    say(&scene, &json!({"sessions": {"enabled": true}}));
    scene.settle(EDGE).await;
    assert!(scene.server.get(KEYS).is_some());
    scene.server.delete(EDGE);
    scene.settle(EDGE).await;
    assert!(scene.server.get(KEYS).is_none(), "nor does anybody after the edge");
}

#[tokio::test]
async fn lists_and_anchors_are_copied_and_a_change_of_them_reaches_running_pods() {
    let scene = Scene::new().await;
    let (pod, object) = injected_pod("p");
    scene.server.put(&pod, object);
    say(&scene, &json!({"ignoredClients": ["192.0.2.0/24"], "ignoredNames": [".internal.example."]}));
    scene.settle(EDGE).await;
    assert_eq!(file(&scene, "ignored-clients.txt"), "192.0.2.0/24\n");
    assert_eq!(file(&scene, "ignored-names.txt"), ".internal.example.\n");
    let anchors = scene.server.get(BUNDLE).unwrap()["data"]["ca.crt"].as_str().unwrap().to_owned();
    assert_eq!(file(&scene, "core-ca.crt"), anchors);
    let before = touched(&scene, &pod);

    scene.change(BUNDLE, |bundle| bundle["data"]["ca.crt"] = format!("{anchors}\n").into());
    scene.settle(EDGE).await;
    assert_eq!(file(&scene, "core-ca.crt"), format!("{anchors}\n"));
    assert_ne!(touched(&scene, &pod), before);

    scene.server.destroy(BUNDLE);
    say(&scene, &json!({"ignoredClients": ["192.0.2.0/25"]}));
    scene.settle(EDGE).await;
    assert_eq!(
        file(&scene, "ignored-clients.txt"),
        "192.0.2.0/25\n",
        "clients to leave out are left out, whatever else is missing"
    );
    assert_eq!(file(&scene, "core-ca.crt"), format!("{anchors}\n"), "EDM goes on with what it has");
    assert!(file(&scene, "edm.toml").contains("http-ca-file"));
    say(
        &scene,
        &json!({"ignoredClients": ["192.0.2.0/25"], "wellKnownDomains": {"configMapRef": {"name": "lists", "key": "all.dawg"}}}),
    );
    scene.settle(EDGE).await;
    let told = scene.server.get(EDGE).unwrap()["status"]["conditions"].to_string();
    assert!(told.contains("spec.core.caBundle") && told.contains("spec.edm.wellKnownDomains"), "{told}");
    say(&scene, &json!({"ignoredClients": ["192.0.2.0/25"]}));
    scene.server.destroy(MAP);
    scene.settle(EDGE).await;
    assert!(scene.server.get(MAP).is_none(), "without anchors there is nothing to begin with");
    say(&scene, &json!({"enabled": false}));
    scene.settle(EDGE).await;
    assert!(file(&scene, "edm.toml").contains("disabled = true"), "nothing that is missing keeps it from being switched off");
}
