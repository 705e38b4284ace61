//! Makes the kubelet refresh the volumes of Pods at once after what they mount has changed: any update of a Pod does, so one
//! annotation is touched. Without it a new configuration takes up to the kubelet's sync period, a minute and more.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use sha2::{Digest as _, Sha256};

use crate::api::ANNOTATION_CONFIG;
use crate::pods::{Injection, View};

/// Hash of what the Pods mount. A hash only: the annotation of a Pod is no place for more.
#[must_use]
pub(super) fn mounted_revision(config_maps: &[&ConfigMap], identity: Option<&Secret>) -> String {
    let mut hash = Sha256::new();
    let mut add = |name: &str, bytes: &[u8]| {
        hash.update(name.len().to_be_bytes());
        hash.update(name);
        hash.update(bytes.len().to_be_bytes());
        hash.update(bytes);
    };
    for map in config_maps {
        map.data.iter().flatten().for_each(|(name, text)| add(name, text.as_bytes()));
        map.binary_data.iter().flatten().for_each(|(name, ByteString(bytes))| add(name, bytes));
    }
    if let Some(identity) = identity {
        identity.data.iter().flatten().for_each(|(name, ByteString(bytes))| add(name, bytes));
    }
    hex::encode(&hash.finalize()[..8])
}

/// Injected Pods that mount something older.
#[must_use]
fn outdated<'a>(pods: &'a [Pod], views: &[View], revision: &str) -> Vec<&'a Pod> {
    let injected = |pod: &Pod| {
        let name = pod.name_any();
        views.iter().any(|view| view.name == name && view.injection == Injection::Injected && !view.terminating)
    };
    pods.iter()
        .filter(|pod| injected(pod) && pod.annotations().get(ANNOTATION_CONFIG).is_none_or(|seen| seen != revision))
        .collect()
}

/// Touches every Pod that mounts something older. Returns the first refusal, after having tried all of them.
pub(super) async fn touch_all(api: &Api<Pod>, pods: &[Pod], views: &[View], revision: &str) -> Option<kube::Error> {
    let mut first = None;
    for pod in outdated(pods, views, revision) {
        if let Err(error) = touch(api, pod, revision).await {
            first.get_or_insert(error);
        }
    }
    first
}

/// A Pod that is gone is no error.
async fn touch(api: &Api<Pod>, pod: &Pod, revision: &str) -> Result<(), kube::Error> {
    let patch = serde_json::json!({"metadata": {"uid": pod.uid(), "annotations": {ANNOTATION_CONFIG: revision}}});
    match api.patch_metadata(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, text: &str) -> ConfigMap {
        ConfigMap { data: Some([(name.to_owned(), text.to_owned())].into()), ..ConfigMap::default() }
    }

    #[test]
    fn every_change_of_what_is_mounted_shows() {
        let secret = Secret { data: Some([("tls.key".to_owned(), ByteString(b"k".to_vec()))].into()), ..Secret::default() };
        let before = mounted_revision(&[&map("edm.toml", "a")], None);
        assert_eq!(before, mounted_revision(&[&map("edm.toml", "a")], None));
        assert_ne!(before, mounted_revision(&[&map("edm.toml", "b")], None));
        assert_ne!(before, mounted_revision(&[&map("edm.toml", "a")], Some(&secret)));
    }
}
