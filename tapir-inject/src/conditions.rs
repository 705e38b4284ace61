//! The conditions of the admission policy, in its order.

use serde_json::Value;

use crate::paths::{Place, place};
use crate::{EDGE_LABEL, items, text};

/// Names that begin so are ours.
const OUR_PREFIX: &str = "tapir-";
/// Annotation on the API server's copy of a static Pod.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Why a Pod is left alone: one for each `matchCondition` of the policy that does not hold, in its order, and a last one for what cannot
/// be judged, where the policy ends with an error that it is told to ignore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Its label names another edge.
    NotOurs,
    /// The edge has no injection yet.
    NotRendered,
    /// The container that the edge names is not in it.
    NoContainer,
    /// A container or volume has a name of ours; two of one name would be refused.
    NameCollision,
    /// Something is mounted at our folder or below it.
    PathCollision,
    /// No folder for our mount can be made inside what is mounted at `/run`.
    RunNotWritable,
    /// It is meant to end, and the sidecars never do.
    Ends,
    /// It is the copy of a static Pod, which must equal what the kubelet runs.
    Static,
    /// It is for Windows, which refuses the security context of the sidecars.
    Windows,
    /// It has resources as a whole, which were measured for its own containers.
    PodResources,
    /// It, or the injection, is not what the API server would have let through.
    Unreadable,
}

impl Why {
    /// All of them, in the policy's order.
    pub const ALL: [Self; 11] = [
        Self::NotOurs,
        Self::NotRendered,
        Self::NoContainer,
        Self::NameCollision,
        Self::PathCollision,
        Self::RunNotWritable,
        Self::Ends,
        Self::Static,
        Self::Windows,
        Self::PodResources,
        Self::Unreadable,
    ];

    /// Name of the policy's condition that does not hold.
    #[must_use]
    pub const fn condition(self) -> &'static str {
        match self {
            Self::NotOurs => "this-edge",
            Self::NotRendered => "rendered",
            Self::NoContainer => "container-exists",
            Self::NameCollision => "no-name-collision",
            Self::PathCollision => "no-path-collision",
            Self::RunNotWritable => "run-is-writable",
            Self::Ends => "runs-for-ever",
            Self::Static => "not-static",
            Self::Windows => "not-windows",
            Self::PodResources => "no-resources-of-the-whole-pod",
            Self::Unreadable => "readable",
        }
    }
}

/// The first condition that does not hold.
pub(crate) fn unmet(pod: &Value, edge: &str, injection: &Value) -> Option<Why> {
    let container = text(injection, "container");
    if pod["metadata"]["labels"][EDGE_LABEL].as_str() != Some(edge) {
        return Some(Why::NotOurs);
    }
    if injection.is_null() {
        return Some(Why::NotRendered);
    }
    if !items(&pod["spec"]["containers"]).any(|found| text(found, "name") == container) {
        return Some(Why::NoContainer);
    }
    let mounts = || items(&injection["resolverVolumeMounts"]).map(|mount| text(mount, "mountPath"));
    in_the_way(pod, container, |path| mounts().any(|own| own == path))
}

/// What of a Pod's own keeps sidecars from it, whatever the edge's injection says. For judging Pods that were created without them.
#[must_use]
pub fn left_alone(pod: &Value, container: &str) -> Option<Why> {
    in_the_way(pod, container, |_| false)
}

fn in_the_way(pod: &Value, container: &str, mounted: impl Fn(&str) -> bool) -> Option<Why> {
    let spec = &pod["spec"];
    // Only the resolver's container gets a mount, so only what it has there counts.
    let resolvers = || items(&spec["containers"]).filter(|found| text(found, "name") == container);
    let checks: [(Why, &dyn Fn() -> bool); 7] = [
        (Why::NameCollision, &|| {
            ["containers", "initContainers", "volumes"]
                .iter()
                .any(|list| items(&spec[*list]).any(|found| text(found, "name").starts_with(OUR_PREFIX)))
        }),
        (Why::PathCollision, &|| {
            resolvers().any(|resolver| {
                let ours = |path: &str| place(path) == Place::Ours;
                items(&resolver["volumeMounts"]).map(|mount| text(mount, "mountPath")).any(|path| ours(path) || mounted(path))
                    || items(&resolver["volumeDevices"]).any(|device| ours(text(device, "devicePath")))
            })
        }),
        (Why::RunNotWritable, &|| {
            resolvers().flat_map(|resolver| items(&resolver["volumeMounts"])).any(|mount| {
                place(text(mount, "mountPath")) == Place::Run && (mount["readOnly"] == true || !is_empty_folder(spec, mount))
            })
        }),
        (Why::Ends, &|| spec["restartPolicy"].as_str().is_some_and(|policy| policy != "Always")),
        (Why::Static, &|| !pod["metadata"]["annotations"][MIRROR_ANNOTATION].is_null()),
        (Why::Windows, &|| spec["os"]["name"] == "windows"),
        (Why::PodResources, &|| !spec["resources"]["requests"].is_null() || !spec["resources"]["limits"].is_null()),
    ];
    checks.iter().find(|(_, unmet)| unmet()).map(|(why, _)| *why)
}

fn is_empty_folder(spec: &Value, mount: &Value) -> bool {
    items(&spec["volumes"]).any(|volume| text(volume, "name") == text(mount, "name") && !volume["emptyDir"].is_null())
}
