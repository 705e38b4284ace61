//! An edge that needs nothing asks for nothing, and each thing that it depends on makes it look again.

use super::scene::*;
use super::*;

const POD: &str = "/api/v1/namespaces/dns/pods/p";
const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/dns/endpointslices/stockholm-peers-1";

const LIST: &str = "/api/v1/namespaces/dns/configmaps/mine";

/// A settled edge with one Pod that is well.
pub(super) async fn settled() -> Scene {
    let scene = Scene::new().await;
    let mut policy = scene.server.get(POLICY).unwrap();
    policy["metadata"]["generation"] = 1.into();
    policy["spec"]["sources"] = json!([{"name": "mine", "list": "Deny", "configMapRef": {"name": "mine", "key": "list"}}]);
    scene.server.put(POLICY, policy);
    let map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "mine", "namespace": "dns"}, "data": {"list": "bad.test\n"}});
    scene.server.put(LIST, map);
    scene.settle(EDGE).await;
    let injection = scene.server.get(EDGE).unwrap()["status"]["injection"].clone();
    let (path, mut pod) = injected_pod("p");
    pod["metadata"]["annotations"] = json!({"dnstapir.se/injection-revision": injection["revision"], "dnstapir.se/injection-images": injection["imagesRevision"]});
    scene.server.put(&path, pod);
    let uid = scene.server.get(POD).unwrap()["metadata"]["uid"].clone();
    scene.server.put(SLICE, slice(&uid, true));
    scene.settle(EDGE).await;
    for component in [Component::Edm, Component::Pop] {
        scene.reports("p", component, &scene.wanted(component));
    }
    for _ in 0..20 {
        scene.server.forget_writes();
        scene.once(EDGE).await.unwrap();
        if scene.server.requests() == 0 {
            return scene;
        }
    }
    panic!("never settled");
}

fn slice(uid: &Value, serving: bool) -> Value {
    json!({"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4",
        "metadata": {"name": "stockholm-peers-1", "namespace": "dns", "labels": {"dnstapir.se/edge": "stockholm", "kubernetes.io/service-name": "stockholm-peers"}},
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true, "serving": serving}, "targetRef": {"kind": "Pod", "uid": uid}}]})
}

/// How many requests each controller makes.
async fn requests(scene: &Scene) -> (usize, usize) {
    scene.server.forget_writes();
    scene.look_at_identity(EDGE).await.unwrap();
    let identity = scene.server.requests();
    scene.once_without_identity(EDGE).await.unwrap();
    (identity, scene.server.requests() - identity)
}

#[tokio::test]
async fn what_concerns_nobody_costs_nothing() {
    type Change = fn(&mut Value);
    let scene = settled().await;
    assert_eq!(scene.reason(EDGE, "Injected").0, "True");
    assert_eq!(
        scene.server.get(EDGE).unwrap()["status"]["pods"],
        json!({"matched": 1, "injected": 1, "current": 1, "updated": 1})
    );
    assert!(scene.context.metrics.render().contains("tapir_operator_settled_edges 1"));
    let foreign: [(&str, Change); 5] = [
        (EDGE, |edge| edge["metadata"]["labels"]["theirs"] = "1".into()),
        (EDGE, |edge| edge["metadata"]["annotations"]["their.example/note"] = "1".into()),
        (POD, |pod| pod["metadata"]["labels"]["theirs"] = "1".into()),
        (NAMESPACE, |namespace| namespace["metadata"]["labels"]["theirs"] = "1".into()),
        // The status of a policy is written all the time.
        (POLICY, |policy| policy["status"]["usedBy"] = json!(["stockholm"])),
    ];
    for (path, change) in foreign {
        scene.change(path, change);
        assert_eq!(requests(&scene).await, (0, 0), "{path}");
    }
}

#[tokio::test]
async fn whatever_an_edge_depends_on_makes_it_look_again() {
    type Change = fn(&Scene);
    // Name, change, whether the identity controller and the edge controller have to look.
    let changes: [(&str, Change, bool, bool); 24] = [
        ("generation", |scene| scene.change(EDGE, |edge| edge["metadata"]["generation"] = 2.into()), true, true),
        ("deletion", |scene| scene.server.delete(EDGE), true, true),
        (
            "finalizers",
            |scene| scene.change(EDGE, |edge| edge["metadata"]["finalizers"] = json!(["x", "dnstapir.se/offboard"])),
            true,
            true,
        ),
        (
            "our annotation",
            |scene| scene.change(EDGE, |edge| edge["metadata"]["annotations"]["dnstapir.se/reconcile-now"] = "1".into()),
            true,
            true,
        ),
        ("status", |scene| scene.change(EDGE, |edge| edge["status"]["pods"]["matched"] = 7.into()), false, true),
        (
            "injection that somebody changed",
            |scene| scene.change(EDGE, |edge| edge["status"]["injection"]["container"] = "x".into()),
            false,
            true,
        ),
        (
            "node in the status",
            |scene| scene.change(EDGE, |edge| edge["status"]["node"]["name"] = "b.edge.test".into()),
            true,
            true,
        ),
        (
            "word of Core in the status",
            |scene| {
                scene.change(EDGE, |edge| {
                    for condition in edge["status"]["conditions"].as_array_mut().unwrap() {
                        if condition["type"] == "Enrolled" {
                            condition["reason"] = "NodeRemoved".into();
                        }
                    }
                });
            },
            true,
            true,
        ),
        ("status that is gone", |scene| scene.change(EDGE, |edge| edge["status"] = json!({})), true, true),
        (
            "credentials",
            |scene| scene.change(CREDENTIALS, |secret| secret["metadata"]["labels"]["theirs"] = "2".into()),
            true,
            true,
        ),
        ("identity", |scene| scene.change(IDENTITY, |secret| secret["metadata"]["labels"]["theirs"] = "2".into()), true, false),
        ("identity that is gone", |scene| scene.server.destroy(IDENTITY), true, false),
        ("bundle", |scene| scene.change(BUNDLE, |map| map["metadata"]["labels"]["theirs"] = "2".into()), true, true),
        ("policy", |scene| scene.change(POLICY, |policy| policy["metadata"]["generation"] = 2.into()), false, true),
        ("policy that is gone", |scene| scene.server.destroy(POLICY), false, true),
        ("source of the policy", |scene| scene.change(LIST, |map| map["data"]["list"] = "worse.test\n".into()), false, true),
        (
            "rendered configuration",
            |scene| scene.change("/api/v1/namespaces/dns/configmaps/stockholm-edm", |map| map["data"] = json!({})),
            false,
            true,
        ),
        (
            "configuration that is gone",
            |scene| scene.server.destroy("/api/v1/namespaces/dns/configmaps/stockholm-pop"),
            false,
            true,
        ),
        ("binding", |scene| scene.change(BINDING, |binding| binding["spec"] = json!({})), false, true),
        (
            "namespace that goes",
            |scene| {
                scene.change(NAMESPACE, |namespace| namespace["metadata"]["deletionTimestamp"] = "2026-11-22T00:00:00Z".into())
            },
            true,
            true,
        ),
        (
            "new Pod",
            |scene| {
                let (path, pod) = injected_pod("q");
                scene.server.put(&path, pod);
            },
            false,
            true,
        ),
        ("Pod that is gone", |scene| scene.server.destroy(POD), false, true),
        (
            "Pod that does not serve",
            |scene| {
                let uid = scene.server.get(POD).unwrap()["metadata"]["uid"].clone();
                scene.server.put(SLICE, slice(&uid, false));
            },
            false,
            true,
        ),
        ("answer of a sidecar", |scene| scene.reports("p", Component::Pop, "older"), false, true),
    ];
    for (name, change, identity, edge) in changes {
        let scene = settled().await;
        change(&scene);
        let _ = scene.look_at_identity(EDGE).await;
        assert_eq!(scene.server.requests() > 0, identity, "{name}: identity");
        scene.server.forget_writes();
        let _ = scene.once_without_identity(EDGE).await;
        let looked = scene.server.requests() > 0;
        assert!(looked || !edge, "{name}: edge");
    }
}

#[tokio::test]
async fn a_pod_that_is_not_well_is_read_whole() {
    let scene = settled().await;
    let uid = scene.server.get(POD).unwrap()["metadata"]["uid"].clone();
    scene.server.put(SLICE, slice(&uid, false));
    scene.change(POD, |pod| {
        pod["status"]["containerStatuses"] =
            json!([{"name": "tapir-pop", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]);
    });
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Injected"), ("False".to_owned(), "ImagePullFailed".to_owned()));
    // Its status is written without anything else changing.
    scene.change(POD, |pod| pod["status"]["containerStatuses"] = json!([]));
    scene.server.put(SLICE, slice(&uid, true));
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Injected").0, "True");
}

#[tokio::test]
async fn a_forced_look_asks_and_writes_nothing() {
    let scene = settled().await;
    scene.hours_pass();
    scene.server.forget_writes();
    scene.once(EDGE).await.unwrap();
    assert!(scene.server.requests() > 0 && scene.server.writes().is_empty(), "{:?}", scene.server.writes());
}

#[tokio::test]
async fn what_is_as_it_was_left_is_not_even_asked_for() {
    let scene = settled().await;
    let maps = |scene: &Scene| scene.server.asked().into_iter().filter(|asked| asked.contains("configmaps/stockholm-")).count();
    scene.hours_pass();
    scene.server.forget_writes();
    scene.once(EDGE).await.unwrap();
    assert_eq!(maps(&scene), 0, "{:?}", scene.server.asked());
    scene.change("/api/v1/namespaces/dns/configmaps/stockholm-edm", |map| map["data"] = json!({}));
    scene.server.forget_writes();
    scene.once(EDGE).await.unwrap();
    assert_eq!(maps(&scene), 2, "looked at and brought back: {:?}", scene.server.asked());
    scene.settle(EDGE).await;
    scene.change(EDGE, |edge| edge["metadata"]["annotations"]["dnstapir.se/reconcile-now"] = "please".into());
    scene.server.forget_writes();
    scene.once(EDGE).await.unwrap();
    assert_eq!(maps(&scene), 2, "everything is looked at when somebody asks: {:?}", scene.server.asked());
    assert_eq!(scene.server.get(EDGE).unwrap()["status"]["handled"]["reconcileNow"], "please");
}

/// What waits for a worker is counted until one has it; what is gone meanwhile waits for none.
#[tokio::test]
async fn nothing_waits_for_ever_in_the_queue_that_metrics_tell_of() {
    let scene = settled().await;
    for name in ["stockholm", "gone"] {
        scene.context.cache.changed_edges().push(EdgeKey { namespace: "dns".into(), name: name.into() });
    }
    let stop = tokio_util::sync::CancellationToken::new();
    let emptied = async {
        while !scene.context.metrics.render().contains("workqueue_depth{name=\"edge\"} 0") {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let both = futures::future::join(tapir_operator::edge::run(Arc::clone(&scene.context), stop.clone()), emptied);
    tokio::time::timeout(std::time::Duration::from_secs(20), both).await.expect("one waits still");
    let told = scene.context.metrics.render();
    assert!(told.contains("controller_runtime_active_workers{controller=\"edge\"} 0"), "{told}");
}
