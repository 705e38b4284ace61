//! From Pods and slices to what is planned with. Pure.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use tapir_plan::rollout::{Images, Kind, PodView, Sidecar};

use crate::api::ANNOTATION_INJECTION;
use crate::pods::{Injection, View, is_passing, words};

/// Name of a sidecar's container.
#[must_use]
pub(super) fn container(kind: Kind) -> &'static str {
    match kind {
        Kind::Edm => "tapir-edm",
        Kind::Pop => "tapir-pop",
    }
}

/// All Pods that have not ended.
#[must_use]
pub(super) fn observe(pods: &[Pod], views: &[View]) -> Vec<PodView> {
    let view = |pod: &Pod| {
        let name = pod.name_any();
        let view = views.iter().find(|view| view.name == name)?;
        Some(one(pod, view))
    };
    pods.iter().filter_map(view).collect()
}

fn one(pod: &Pod, view: &View) -> PodView {
    let injected = view.injection == Injection::Injected;
    let image = |kind| find(pod, kind).and_then(|container| container.image.clone()).filter(|_| injected);
    let spec = pod.spec.as_ref();
    let secrets = spec.and_then(|spec| spec.image_pull_secrets.as_ref()).into_iter().flatten();
    PodView {
        name: view.name.clone(),
        uid: pod.uid().unwrap_or_default(),
        created: view.created,
        controller: view.controller.clone(),
        node: spec.and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty()),
        ready: view.ready,
        serving: true,
        terminating: view.terminating,
        injected,
        structure: pod.annotations().get(ANNOTATION_INJECTION).cloned(),
        images: Images { edm: image(Kind::Edm), pop: image(Kind::Pop) },
        sidecars: if injected { Kind::ALL.iter().filter_map(|kind| sidecar(pod, *kind)).collect() } else { Vec::new() },
        heard: None,
        pull_secrets: secrets.map(|secret| secret.name.clone()).filter(|name| !name.is_empty()).collect(),
    }
}

/// The container of a sidecar, in whichever form it was injected.
#[must_use]
pub(super) fn find(pod: &Pod, kind: Kind) -> Option<&Container> {
    let spec = pod.spec.as_ref()?;
    let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    all.find(|found| found.name == container(kind))
}

/// Whether it is an init container that goes on running.
#[must_use]
pub(super) fn is_native(pod: &Pod, kind: Kind) -> bool {
    let native = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    native.into_iter().any(|found| found.name == container(kind))
}

fn sidecar(pod: &Pod, kind: Kind) -> Option<Sidecar> {
    find(pod, kind)?;
    let status = pod.status.as_ref();
    let ordinary = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let native = status.and_then(|status| status.init_container_statuses.as_ref()).into_iter().flatten();
    let found = ordinary.chain(native).find(|status| status.name == container(kind));
    Some(Sidecar {
        kind,
        container_id: found.and_then(|status| status.container_id.clone()).unwrap_or_default(),
        running: found.and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some()),
        trouble: found.and_then(trouble),
    })
}

fn trouble(status: &ContainerStatus) -> Option<String> {
    let state = status.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().filter(|reason| !is_passing(reason))?;
        return Some(words(&format!("{reason}: {}", waiting.message.as_deref().unwrap_or("no message"))));
    }
    let ended = state.terminated.as_ref()?;
    let reason = ended.reason.as_deref().unwrap_or("ended");
    Some(words(&format!("{reason}, exit code {}: {}", ended.exit_code, ended.message.as_deref().unwrap_or("no message"))))
}

/// Marks the Pods that some Service lists as not serving. A Pod that none lists is reached by other ways, of which nothing is known.
pub(super) fn mark_serving(pods: &mut [PodView], slices: &[EndpointSlice]) {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let silent: HashSet<&str> = endpoints
        .filter(|endpoint| {
            let conditions = endpoint.conditions.as_ref();
            // What is not said counts as yes, as the API defines it.
            !conditions.and_then(|conditions| conditions.serving.or(conditions.ready)).unwrap_or(true)
        })
        .filter_map(|endpoint| endpoint.target_ref.as_ref()?.uid.as_deref())
        .collect();
    for pod in pods {
        pod.serving = !silent.contains(pod.uid.as_str());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pods::classify;

    fn view(pod: Value) -> PodView {
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let views: Vec<View> = classify(&pod, "unbound", None).into_iter().collect();
        observe(&[pod], &views).remove(0)
    }

    fn pod(native: bool, statuses: &Value) -> Value {
        let sidecars = json!([{"name": "tapir-edm", "image": "edm:1"}, {"name": "tapir-pop", "image": "pop:1"}]);
        let resolver = json!({"name": "unbound", "image": "unbound:1"});
        let mut containers = vec![resolver];
        if !native {
            containers.extend(sidecars.as_array().unwrap().clone());
        }
        let (here, there) = if native { ("initContainerStatuses", "initContainers") } else { ("containerStatuses", "nothing") };
        json!({
            "metadata": {"name": "p", "uid": "u", "annotations": {"dnstapir.se/injection-revision": "s1"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "R", "name": "r", "uid": "owner", "controller": true}]},
            "spec": {"nodeName": "n1", "containers": containers, there: sidecars, "volumes": [{"name": "tapir-no-token"}],
                "imagePullSecrets": [{"name": "registry"}]},
            "status": {"phase": "Running", here: statuses, "conditions": [{"type": "Ready", "status": "True"}]},
        })
    }

    #[test]
    fn both_forms_are_seen_alike() {
        let statuses = json!([
            {"name": "tapir-pop", "containerID": "c2", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}},
            {"name": "tapir-edm", "containerID": "c1", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}
        ]);
        for native in [false, true] {
            let seen = view(pod(native, &statuses));
            assert!(seen.injected && seen.ready && seen.answers(), "{seen:?}");
            assert_eq!(seen.images, Images { edm: Some("edm:1".into()), pop: Some("pop:1".into()) });
            assert_eq!(
                (seen.node.as_deref(), seen.controller.as_deref(), seen.structure.as_deref()),
                (Some("n1"), Some("owner"), Some("s1"))
            );
            let ids: Vec<&str> = seen.sidecars.iter().map(|sidecar| sidecar.container_id.as_str()).collect();
            assert_eq!((ids.as_slice(), seen.sidecars.iter().all(|sidecar| sidecar.running)), (&["c1", "c2"][..], true));
            assert_eq!(seen.pull_secrets, ["registry"]);
        }
    }

    #[test]
    fn a_container_s_trouble_is_told_and_its_start_is_none() {
        let status = |state: Value| json!([{"name": "tapir-pop", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]);
        let trouble = |state| view(pod(false, &status(state))).sidecars[1].trouble.clone();
        assert_eq!(trouble(json!({"waiting": {"reason": "ContainerCreating"}})), None);
        assert_eq!(
            trouble(json!({"waiting": {"reason": "ErrImagePull", "message": "not\nfound"}})).unwrap(),
            "ErrImagePull: notfound"
        );
        assert!(trouble(json!({"terminated": {"exitCode": 2, "reason": "Error"}})).unwrap().contains("exit code 2"));
        assert_eq!(trouble(json!({"running": {}})), None);
    }

    #[test]
    fn every_service_that_lists_a_pod_has_to_serve_it() {
        let slice = |conditions: Value| -> EndpointSlice {
            let endpoint = json!({"addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": {"kind": "Pod", "uid": "u"}});
            serde_json::from_value(json!({"addressType": "IPv4", "endpoints": [endpoint]})).unwrap()
        };
        let serving = |slices: &[EndpointSlice]| {
            let mut pods = vec![view(pod(false, &json!([])))];
            mark_serving(&mut pods, slices);
            pods[0].serving
        };
        assert!(serving(&[]));
        assert!(serving(&[slice(json!({"ready": false, "serving": true})), slice(json!({}))]));
        assert!(!serving(&[slice(json!({"ready": true, "serving": true})), slice(json!({"ready": true, "serving": false}))]));
        assert!(!serving(&[slice(json!({"ready": false}))]));
    }
}
