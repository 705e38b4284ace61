//! Writes down what is about to happen, then does it.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Map, Value, json};
use tapir_plan::rollout::{Images, Kind};

use super::observe::{container, find, is_native};
use crate::api::{ANNOTATION_IMAGES, FIELD_MANAGER, RolloutStatus, TapirEdge, TapirEdgeStatus};

/// What came of a write with a precondition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Yes,
    /// The object is another one by now, or gone: look again.
    Changed,
}

/// Writes the state into the status of the edge as it was looked at. The whole status goes with it, as the reconciler writes it too: one
/// manager owns it, and what is left out would be taken for removed.
///
/// # Errors
/// When the API server refuses.
pub(super) async fn write_ahead(api: &Api<TapirEdge>, edge: &TapirEdge, rollout: &RolloutStatus) -> Result<Written, kube::Error> {
    let status = TapirEdgeStatus { rollout: Some(rollout.clone()), ..edge.status.clone().unwrap_or_default() };
    let document = json!({
        "apiVersion": TapirEdge::api_version(&()),
        "kind": TapirEdge::kind(&()),
        "metadata": {"name": edge.name_any(), "uid": edge.uid(), "resourceVersion": edge.resource_version()},
        "status": status,
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    written(api.patch_status(&edge.name_any(), &parameters, &Patch::Apply(document)).await.map(drop))
}

/// Changes the images of the sidecars, all in one request, in exactly the Pod that was looked at.
///
/// # Errors
/// When the API server refuses.
pub(super) async fn change_images(api: &Api<Pod>, pod: &Pod, images: &Images, revision: &str) -> Result<Written, kube::Error> {
    let patch = patch(pod, images, revision);
    written(api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await.map(drop))
}

fn patch(pod: &Pod, images: &Images, revision: &str) -> Value {
    let mut spec = Map::new();
    for kind in Kind::ALL {
        let Some((image, found)) = images.get(kind).zip(find(pod, kind)) else { continue };
        if found.image.as_deref() == Some(image) {
            continue;
        }
        let list = spec.entry(if is_native(pod, kind) { "initContainers" } else { "containers" }).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!({"name": container(kind), "image": image}));
        }
    }
    json!({
        "metadata": {"uid": pod.uid(), "resourceVersion": pod.resource_version(), "annotations": {ANNOTATION_IMAGES: revision}},
        "spec": spec,
    })
}

fn written(answer: Result<(), kube::Error>) -> Result<Written, kube::Error> {
    match answer {
        Ok(()) => Ok(Written::Yes),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Written::Changed),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_that_differ_are_patched_where_they_are() {
        let sidecars = json!([{"name": "tapir-edm", "image": "edm:1"}, {"name": "tapir-pop", "image": "pop:1"}]);
        let images = Images { edm: Some("edm:1".into()), pop: Some("pop:2".into()) };
        for list in ["containers", "initContainers"] {
            let mut spec = json!({"containers": []});
            spec[list] = sidecars.clone();
            let pod: Pod =
                serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u", "resourceVersion": "7"}, "spec": spec}))
                    .unwrap();
            let patch = patch(&pod, &images, "abc");
            assert_eq!(patch["spec"], json!({list: [{"name": "tapir-pop", "image": "pop:2"}]}));
            assert_eq!(
                patch["metadata"],
                json!({"uid": "u", "resourceVersion": "7", "annotations": {"dnstapir.se/injection-images": "abc"}})
            );
        }
    }
}
