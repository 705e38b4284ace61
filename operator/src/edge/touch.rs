//! Makes the kubelet refresh the volumes of Pods at once after what they mount has changed: any update of a Pod does, so one
//! annotation is touched. Without it a new configuration takes up to the kubelet's sync period, a minute and more.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};

use crate::api::ANNOTATION_CONFIG;
use crate::digest;
use crate::pods::{Injection, View};

/// Between the two parts of the annotation.
const SEPARATOR: char = '.';

/// Hashes of what the Pods mount. Hashes only: the annotation of a Pod is no place for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    configuration: String,
    /// None while the identity is not there or not known: nothing new of it is to be mounted, and what a Pod was touched for stays said.
    identity: Option<String>,
}

impl Mounted {
    /// Of these objects.
    #[must_use]
    pub(super) fn of(config_maps: &[&ConfigMap], keys: Option<&str>, identity: Option<String>) -> Self {
        let configuration = config_maps.iter().flat_map(|map| {
            let text = map.data.iter().flatten().map(|(name, text)| (name, text.as_bytes()));
            text.chain(map.binary_data.iter().flatten().map(|(name, ByteString(bytes))| (name, bytes.as_slice())))
        });
        let mut configuration = digest::members(configuration);
        if let Some(keys) = keys {
            configuration = digest::members([(&configuration, keys.as_bytes())].into_iter());
        }
        Self { configuration, identity }
    }

    /// The annotation that a Pod is to have, from the one it has.
    fn annotation(&self, present: Option<&str>) -> String {
        let before = present.and_then(|present| present.split_once(SEPARATOR)).map(|(_, identity)| identity);
        let identity = self.identity.as_deref().or(before).unwrap_or_default();
        format!("{}{SEPARATOR}{identity}", self.configuration)
    }
}

/// Injected Pods that mount something older, each with the annotation that it is to have.
fn outdated<'a>(pods: &'a [Pod], views: &[View], mounted: &Mounted) -> Vec<(&'a Pod, String)> {
    let injected = |pod: &&Pod| {
        let name = pod.name_any();
        views.iter().any(|view| view.name == name && view.injection == Injection::Injected && !view.terminating)
    };
    let wanted = |pod: &'a Pod| {
        let present = pod.annotations().get(ANNOTATION_CONFIG).map(String::as_str);
        let wanted = mounted.annotation(present);
        (present != Some(wanted.as_str())).then_some((pod, wanted))
    };
    pods.iter().filter(injected).filter_map(wanted).collect()
}

/// Touches every Pod that mounts something older. Returns the first refusal, after having tried all of them.
pub(super) async fn touch_all(api: &Api<Pod>, pods: &[Pod], views: &[View], mounted: &Mounted) -> Option<kube::Error> {
    let mut first = None;
    for (pod, annotation) in outdated(pods, views, mounted) {
        if let Err(error) = touch(api, pod, &annotation).await {
            first.get_or_insert(error);
        }
    }
    first
}

/// A Pod that is gone is no error.
async fn touch(api: &Api<Pod>, pod: &Pod, annotation: &str) -> Result<(), kube::Error> {
    let patch = serde_json::json!({"metadata": {"uid": pod.uid(), "annotations": {ANNOTATION_CONFIG: annotation}}});
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
        let before = Mounted::of(&[&map("edm.toml", "a")], None, None);
        assert_eq!(before, Mounted::of(&[&map("edm.toml", "a")], None, None));
        assert_ne!(before, Mounted::of(&[&map("edm.toml", "b")], None, None));
        assert_ne!(before, Mounted::of(&[&map("edm.toml", "a")], None, Some("identity".into())));
    }

    #[test]
    fn an_identity_out_of_sight_is_no_change() {
        let map = map("edm.toml", "a");
        let with = |identity: Option<&str>| Mounted::of(&[&map], None, identity.map(str::to_owned));
        let touched = with(Some("k")).annotation(None);
        assert_eq!(with(None).annotation(Some(&touched)), touched);
        assert_ne!(with(Some("other")).annotation(Some(&touched)), touched);
        assert_eq!(with(None).annotation(None), with(None).annotation(Some(&with(None).annotation(None))));
    }
}
