//! Of a Pod the operator may change the images of its sidecars and annotations of its own, and nothing else, whatever its rights say.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tapir_rig::client::{Api, PODS, text};
use tapir_rig::{Method, PATIENCE, Rig, Site, wait};

/// A request that is tried without effect.
#[derive(Clone, Debug)]
enum Request {
    /// JSON patch of a Pod.
    Patch(&'static str, Value),
    Create(Value),
    Delete(&'static str),
}

/// Status and words.
fn tried(api: &Api, namespace: &str, request: &Request) -> Result<(u16, String)> {
    let at = |pod: &str| format!("/api/v1/namespaces/{namespace}/pods{pod}?dryRun=All");
    let answer = match request {
        Request::Patch(pod, patch) => {
            api.raw(Method::PATCH, &at(&format!("/{pod}")), Some(("application/json-patch+json", patch)))
        }
        Request::Create(pod) => api.raw(Method::POST, &at(""), Some(("application/json", pod))),
        Request::Delete(pod) => api.raw(Method::DELETE, &at(&format!("/{pod}")), None),
    }?;
    Ok((answer.status, text(&answer.json()["message"])))
}

/// An injected Pod, one with a container that only has our name, one without the label, and one that waits for a gate.
fn pods() -> [Value; 4] {
    let pod = |name: &str, labels: Value, injected: bool| {
        let volumes = if injected { json!([{"name": "tapir-no-token", "emptyDir": {}}]) } else { json!([]) };
        json!({"metadata": {"name": name, "labels": labels, "annotations": {"theirs": "1", "dnstapir.se/injection-revision": "a"}},
            "spec": {"initContainers": [{"name": "first", "image": "first:1"}], "volumes": volumes,
                "containers": [{"name": "unbound", "image": "unbound:1"}, {"name": "tapir-edm", "image": "edm:1"}, {"name": "tapir-pop", "image": "pop:1"}]}})
    };
    let ours = json!({"dnstapir.se/edge": "demo", "app": "dns"});
    let mut gated = pod("gated", ours.clone(), true);
    gated["spec"]["schedulingGates"] = json!([{"name": "example.org/wait"}]);
    [
        pod("injected", ours.clone(), true),
        pod("never-injected", ours, false),
        pod("somebody-s", json!({"app": "dns"}), true),
        gated,
    ]
}

/// A Pod that pulls an image.
fn pull(change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({"metadata": {"name": "tapir-pull-1234", "labels": {"dnstapir.se/pull-for": "demo"}},
        "spec": {"nodeName": "node", "restartPolicy": "Never", "activeDeadlineSeconds": 300, "automountServiceAccountToken": false,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "pull", "image": "edm:2", "command": ["/usr/bin/tapir-init", "--version"],
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}}]}});
    change(&mut pod);
    pod
}

fn replace(path: &str, value: impl Into<Value>) -> Value {
    let value: Value = value.into();
    json!({"op": "replace", "path": path, "value": value})
}

fn add(path: &str, value: impl Into<Value>) -> Value {
    let value: Value = value.into();
    json!({"op": "add", "path": path, "value": value})
}

/// What nobody but a bug or a thief would try as the operator, with words of the refusal.
fn forbidden() -> Vec<(Request, &'static str)> {
    let injected = |patch: Value| Request::Patch("injected", json!([patch]));
    let image = |path: &str| replace(path, json!("evil:1"));
    let create = |change: fn(&mut Value)| Request::Create(pull(change));
    let (others, placement, meta) =
        ("and of no other container", "neither deadlines", "neither labels nor finalizers nor owners");
    let (annotations, runs, nothing, host) =
        ("and no others", "and nothing else", "no volumes, no token and no environment", "no privileges");
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u"}]);
    vec![
        (injected(image("/spec/containers/0/image")), others),
        (injected(image("/spec/initContainers/0/image")), "and of no other init container"),
        (Request::Patch("never-injected", json!([image("/spec/containers/1/image")])), others),
        (injected(add("/spec/activeDeadlineSeconds", json!(1))), placement),
        (injected(add("/spec/tolerations/-", json!({"operator": "Exists"}))), placement),
        (Request::Patch("gated", json!([replace("/spec/schedulingGates", json!([]))])), placement),
        (Request::Patch("gated", json!([add("/spec/nodeSelector", json!({"disk": "slow"}))])), placement),
        (injected(replace("/metadata/labels/app", json!("other"))), meta),
        (injected(json!({"op": "remove", "path": "/metadata/labels/dnstapir.se~1edge"})), meta),
        (injected(add("/metadata/finalizers", json!(["example.org/never"]))), meta),
        (injected(add("/metadata/ownerReferences", owner)), meta),
        (injected(add("/metadata/annotations/more", json!("1"))), annotations),
        (injected(replace("/metadata/annotations/theirs", json!("2"))), annotations),
        (injected(json!({"op": "remove", "path": "/metadata/annotations/theirs"})), annotations),
        (
            Request::Patch("somebody-s", json!([add("/metadata/annotations/dnstapir.se~1config-revision", json!("1"))])),
            "and no others",
        ),
        (create(|pod| pod["metadata"]["name"] = json!("shell")), "and no others"),
        (create(|pod| pod["metadata"]["labels"]["dnstapir.se/edge"] = json!("demo")), "and no others"),
        (create(|pod| pod["spec"]["containers"][0]["command"] = json!(["/bin/sh"])), runs),
        (create(|pod| pod["spec"]["containers"][0]["args"] = json!(["--", "/bin/sh"])), runs),
        (create(|pod| pod["spec"]["initContainers"] = json!([{"name": "i", "image": "evil:1"}])), runs),
        (
            create(|pod| pod["spec"]["containers"][0]["lifecycle"] = json!({"postStart": {"exec": {"command": ["/bin/sh"]}}})),
            runs,
        ),
        (create(|pod| pod["spec"]["volumes"] = json!([{"name": "s", "secret": {"secretName": "s"}}])), nothing),
        (create(|pod| pod["spec"]["automountServiceAccountToken"] = json!(true)), nothing),
        (create(|pod| pod["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "s"}}])), nothing),
        (create(|pod| pod["spec"]["restartPolicy"] = json!("Always")), "ends by itself"),
        (create(|pod| pod["spec"]["activeDeadlineSeconds"] = Value::Null), "ends by itself"),
        (create(|pod| pod["spec"]["hostNetwork"] = json!(true)), host),
        (create(|pod| pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true)), host),
        (create(|pod| pod["spec"]["containers"][0]["securityContext"]["runAsNonRoot"] = json!(false)), host),
        (create(|pod| pod["spec"]["containers"][0]["securityContext"]["capabilities"] = json!({"add": ["NET_ADMIN"]})), host),
        (Request::Delete("injected"), "resolvers are evicted"),
    ]
}

/// What it does.
fn allowed() -> Vec<Request> {
    let both = json!([
        replace("/spec/containers/1/image", json!("edm:2")),
        replace("/spec/containers/2/image", json!("pop:2")),
        add("/metadata/annotations/dnstapir.se~1injection-images", json!("b"))
    ]);
    vec![
        Request::Patch("injected", both),
        Request::Patch("injected", json!([add("/metadata/annotations/dnstapir.se~1config-revision", json!("1"))])),
        Request::Patch(
            "injected",
            json!([json!({"op": "remove", "path": "/metadata/annotations/dnstapir.se~1injection-revision"})]),
        ),
        Request::Patch("gated", json!([replace("/spec/containers/1/image", json!("edm:2"))])),
        Request::Create(pull(|_| {})),
        Request::Delete("tapir-pull-there"),
    ]
}

fn holds_on(rig: &Rig) -> Result<()> {
    let site = Site::new(rig, "limits", &[("rollout.prePull", "true")])?;
    let (admin, operator, namespace) = (site.admin(), site.as_operator()?, site.namespace.as_str());
    for pod in pods() {
        admin.create(PODS, namespace, &pod)?;
    }
    admin.create(PODS, namespace, &pull(|pod| pod["metadata"]["name"] = json!("tapir-pull-there")))?;
    // Policies come into force a moment after they are written, each by itself.
    for (request, _) in [forbidden().swap_remove(0), forbidden().swap_remove(15), forbidden().pop().unwrap()] {
        wait::until_true("the policies to be in force", PATIENCE, || {
            Ok(tried(&operator, namespace, &request)?.0 != 200 && tried(&operator, namespace, &request)?.0 != 201)
        })?;
    }
    let mut wrong = Vec::new();
    for (request, words) in forbidden() {
        let (status, message) = tried(&operator, namespace, &request)?;
        if status != 422 || !message.contains(words) {
            wrong.push(format!("{request:?}: {status} {message}, expected {words:?}"));
        }
        // It was our policy that refused it: somebody else may.
        let (status, message) = tried(admin, namespace, &request)?;
        if status >= 300 {
            wrong.push(format!("{request:?} by somebody else: {status} {message}"));
        }
    }
    for request in allowed() {
        let (status, message) = tried(&operator, namespace, &request)?;
        if status >= 300 {
            wrong.push(format!("{request:?}: {status} {message}, though it may"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(forbidden().len() > 20);

    // An eviction is no deletion of the operator's.
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "injected", "namespace": namespace}});
    let path = format!("/api/v1/namespaces/{namespace}/pods/injected/eviction");
    let answer = operator.raw(Method::POST, &path, Some(("application/json", &eviction)))?;
    ensure!(answer.status == 201, "{}", answer.text);
    site.passed()
}

#[test]
fn the_operator_changes_images_of_sidecars_and_its_own_annotations_and_nothing_else_of_pods() -> Result<()> {
    holds_on(Rig::shared()?)
}
