//! What is known of the Pods of an edge: from metadata and addresses while all is well, from whole Pods when something has to be found out.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use crate::api::{ANNOTATION_CONFIG, ANNOTATION_IMAGES, ANNOTATION_INJECTION, Images, Injection};
use crate::cache::{PodRow, SliceRow, digest_of};
use crate::pods::{self, View};
use crate::sidecars::{Component, Target};

/// One Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub name: String,
    pub uid: String,
    pub created: Option<Timestamp>,
    pub terminating: bool,
    /// Digest of the structure that it was injected with.
    pub structure: Option<u64>,
    /// Digest of the images that it runs.
    pub images: Option<u64>,
    /// What it was touched for last.
    pub touched: Option<String>,
    pub address: Option<IpAddr>,
    pub components: Vec<Component>,
}

impl Seen {
    /// From the whole Pod.
    #[must_use]
    pub(super) fn whole(pod: &Pod) -> Self {
        let annotation = |name: &str| pod.annotations().get(name);
        let containers = pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        let runs = |name: &str| containers.clone().any(|container| container.name == name);
        Self {
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            created: pod.creation_timestamp().map(|time| time.0),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            structure: annotation(ANNOTATION_INJECTION).map(|revision| digest_of(revision)),
            images: annotation(ANNOTATION_IMAGES).map(|revision| digest_of(revision)),
            touched: annotation(ANNOTATION_CONFIG).cloned(),
            address: pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).and_then(|address| address.parse().ok()),
            components: Component::all().filter(|component| runs(component.container())).collect(),
        }
    }

    /// From its row and its address; the sidecars are those of the structure that it has.
    #[must_use]
    fn row(row: &PodRow, address: Option<IpAddr>, images: &Images) -> Self {
        Self {
            name: row.name.to_string(),
            uid: row.uid.to_string(),
            created: row.created(),
            terminating: row.deleting,
            structure: row.structure,
            images: row.images,
            touched: row.touched.as_deref().map(str::to_owned),
            address,
            components: Component::all().filter(|component| has(images, *component)).collect(),
        }
    }

    /// An injected Pod that is well, as far as injection goes.
    fn view(&self) -> View {
        View {
            name: self.name.clone(),
            injection: pods::Injection::Injected,
            ready: true,
            terminating: self.terminating,
            created: self.created,
            controller: None,
            trouble: None,
            without_resolver: false,
        }
    }
}

fn has(images: &Images, component: Component) -> bool {
    match component {
        Component::Edm => images.edm.is_some(),
        Component::Pop => images.pop.is_some(),
    }
}

/// The Pods, if metadata and addresses alone show that all of them are well: each has the wanted structure and serves. None when whole Pods
/// have to be read to know.
#[must_use]
pub(super) fn well(rows: &[PodRow], slices: &[SliceRow], wanted: Option<&Injection>) -> Option<Vec<Seen>> {
    let pods = rows.iter().map(|row| {
        let wanted = wanted?;
        let address = slices.iter().find(|slice| slice.uid == row.uid && slice.serving && !slice.terminating);
        let images = wanted.images_revision.as_ref().is_none_or(|revision| row.images == Some(digest_of(revision)));
        let fine = row.deleting || (row.structure == Some(digest_of(&wanted.revision)) && images && address.is_some());
        fine.then(|| Seen::row(row, address.map(|slice| slice.address), &wanted.images))
    });
    pods.collect()
}

/// What is to be said of injection of Pods that are well.
#[must_use]
pub(super) fn views(pods: &[Seen]) -> Vec<View> {
    pods.iter().map(Seen::view).collect()
}

/// Sidecars to ask.
#[must_use]
pub(super) fn targets(pods: &[Seen]) -> Vec<Target> {
    let asked = pods.iter().filter(|pod| !pod.terminating).filter_map(|pod| Some((pod, pod.address?)));
    asked
        .flat_map(|(pod, address)| {
            let target = move |component: &Component| Target {
                pod: pod.name.clone(),
                uid: pod.uid.clone(),
                address,
                component: *component,
            };
            pod.components.iter().map(target)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: &serde_json::Value, status: &serde_json::Value) -> Seen {
        let pod = serde_json::json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec, "status": status});
        Seen::whole(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn pods_without_address_or_sidecars_are_not_asked() {
        let both = serde_json::json!({"containers": [{"name": "unbound"}, {"name": "tapir-edm"}, {"name": "tapir-pop"}]});
        let native = serde_json::json!({"containers": [{"name": "unbound"}], "initContainers": [{"name": "tapir-pop"}]});
        let plain = serde_json::json!({"containers": [{"name": "unbound"}]});
        let running = serde_json::json!({"podIP": "10.0.0.1"});
        assert_eq!(targets(&[pod(&both, &running)]).len(), 2);
        assert_eq!(targets(&[pod(&native, &running)])[0].component, Component::Pop);
        assert_eq!(targets(&[pod(&both, &serde_json::json!({})), pod(&plain, &running)]).len(), 0);
    }

    fn row(structure: Option<&str>, deleting: bool) -> PodRow {
        PodRow {
            name: "p".into(),
            uid: "u".into(),
            version: 1,
            created: 0,
            structure: structure.map(digest_of),
            images: None,
            touched: None,
            deleting,
        }
    }

    fn injection() -> Injection {
        let container = serde_json::json!([]);
        serde_json::from_value(
            serde_json::json!({"revision": "now", "images": {"pop": "pop:1"}, "container": "unbound", "bestEffort": container,
            "burstable": container, "guaranteed": container, "volumes": [], "resolverVolumeMounts": []}),
        )
        .unwrap()
    }

    #[test]
    fn metadata_is_enough_exactly_while_all_is_well() {
        let slice = |serving| SliceRow { uid: "u".into(), address: [10, 0, 0, 1].into(), serving, terminating: false };
        let well = |row: PodRow, slices: &[SliceRow]| well(&[row], slices, Some(&injection()));
        let seen = well(row(Some("now"), false), &[slice(true)]).unwrap();
        assert_eq!((seen[0].address, seen[0].components.as_slice()), (Some([10, 0, 0, 1].into()), &[Component::Pop][..]));
        assert_eq!(well(row(Some("now"), false), &[slice(false)]), None, "it does not serve");
        assert_eq!(well(row(Some("now"), false), &[]), None, "it has no address");
        assert_eq!(well(row(Some("before"), false), &[slice(true)]), None, "it has an older structure");
        assert_eq!(well(row(None, false), &[slice(true)]), None, "it was never injected");
        assert!(well(row(None, true), &[]).is_some(), "it goes anyway");
    }
}
