//! Sidecars in the form Native: init containers that go on running.

use super::*;

const P: &str = "/api/v1/namespaces/dns/pods/p";

async fn with_native_pod() -> Scene {
    let scene = Scene::new().await;
    scene.change(EDGE, |edge| edge["spec"]["injection"] = json!({"form": "Native"}));
    let (path, mut pod) = injected_pod("p");
    let sidecars = ["edm", "pop"].map(
        |name| json!({"name": format!("tapir-{name}"), "image": format!("registry.test/{name}:1"), "restartPolicy": "Always"}),
    );
    pod["spec"]["initContainers"] = json!([{"name": "prepare"}, sidecars[0], sidecars[1]]);
    pod["spec"]["containers"] = json!([{"name": "unbound"}]);
    scene.server.put(&path, pod);
    scene.settle(EDGE).await;
    let injection = scene.server.get(EDGE).unwrap()["status"]["injection"].clone();
    scene.annotate(P, "dnstapir.se/injection-revision", injection["revision"].as_str().unwrap());
    scene.annotate(P, "dnstapir.se/injection-images", injection["imagesRevision"].as_str().unwrap());
    scene
}

#[tokio::test]
async fn native_sidecars_are_counted_touched_asked_and_in_force() {
    let scene = with_native_pod().await;
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Injected"), ("True".into(), "Injected".into()));
    let edge = scene.server.get(EDGE).unwrap();
    assert_eq!((&edge["status"]["injection"]["form"], &edge["status"]["pods"]["injected"]), (&json!("Native"), &json!(1)));
    assert!(scene.server.get(P).unwrap()["metadata"]["annotations"]["dnstapir.se/config-revision"].is_string());
    assert_eq!(scene.context.board.targets(), 2);
    for component in [Component::Edm, Component::Pop] {
        scene.reports("p", component, &scene.wanted(component));
    }
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "PolicyAccepted").0, "True");
    assert!(scene.condition(EDGE, "PolicyAccepted")["message"].as_str().unwrap().ends_with("and in force"));
    assert_eq!(scene.reason(EDGE, "CoreConnected").0, "True");
}

#[tokio::test]
async fn a_native_sidecar_that_does_not_start_is_named() {
    let scene = with_native_pod().await;
    scene.change(P, |pod| {
        pod["status"]["conditions"][0]["status"] = "False".into();
        pod["status"]["initContainerStatuses"] = json!([{"name": "tapir-pop", "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}]);
    });
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Injected"), ("False".into(), "SidecarNotRunning".into()));
    assert!(scene.condition(EDGE, "Injected")["message"].as_str().unwrap().contains("tapir-pop of Pod p"));
}

#[tokio::test]
async fn native_sidecars_hear_that_their_edge_goes_and_keep_its_configuration() {
    const MAP: &str = "/api/v1/namespaces/dns/configmaps/stockholm-pop";
    let scene = with_native_pod().await;
    scene.settle(EDGE).await;
    let touched = || scene.server.get(P).unwrap()["metadata"]["annotations"]["dnstapir.se/config-revision"].clone();
    let before = touched();
    scene.server.delete(EDGE);
    scene.once(EDGE).await.unwrap();
    assert_ne!(touched(), before);
    scene.server.destroy(EDGE);
    let map = serde_json::from_value(scene.server.get(MAP).unwrap()).unwrap();
    leftovers::configuration(Arc::new(map), Arc::clone(&scene.context)).await.unwrap();
    assert!(scene.server.get(MAP).is_some(), "a Pod mounts it");
}
