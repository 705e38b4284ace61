//! One Pod: injected or not, and why not. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

/// Names of the sidecars' containers.
pub(super) const SIDECARS: [&str; 2] = ["tapir-edm", "tapir-pop"];
/// A volume that only our policy adds: tells our containers from others of the same name.
const OUR_VOLUME: &str = "tapir-no-token";
/// How long a new binding may take until every API server knows it (they learn by watch).
pub const PROPAGATION_SECONDS: i64 = 10;
/// Reasons of a waiting container that are about its image.
const IMAGE_REASONS: [&str; 6] =
    ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"];
/// Reasons of a waiting container that pass by themselves.
const STARTING_REASONS: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// A kubelet's message may carry whole answers of a registry.
const LONGEST_MESSAGE: usize = 200;

/// Why a Pod with the label carries no sidecars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr)]
pub enum Cause {
    /// The container that the edge names is not in the Pod.
    ResolverContainerMissing,
    /// Something in the Pod has a name or path of ours; the policy leaves such Pods alone.
    Collision,
    /// It was created before injection was in force.
    CreatedTooEarly,
    /// It was created when it should have been injected.
    Skipped,
}

/// Whether a Pod is injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injection {
    Injected,
    Not(Cause),
}

/// A sidecar that does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub container: String,
    pub about_image: bool,
    pub reason: String,
    pub message: String,
}

/// What matters of a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub name: String,
    pub injection: Injection,
    pub ready: bool,
    pub terminating: bool,
    pub created: Option<Timestamp>,
    /// Owner that would create it anew.
    pub controller: Option<String>,
    pub trouble: Option<Trouble>,
    /// The container that the edge names is not in the Pod. Also of an injected one: its successor would go without sidecars.
    pub without_resolver: bool,
}

/// Looks at one Pod; none for a Pod that has ended. `in_force` is since when new Pods are injected.
#[must_use]
pub fn classify(pod: &Pod, resolver: &str, in_force: Option<Timestamp>) -> Option<View> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return None;
    }
    let created = pod.creation_timestamp().map(|time| time.0);
    Some(View {
        name: pod.name_any(),
        injection: injection(pod, resolver, created, in_force),
        without_resolver: !has_container(pod, resolver),
        ready: is_ready(pod),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        created,
        controller: controller(pod),
        trouble: trouble(pod),
    })
}

fn injection(pod: &Pod, resolver: &str, created: Option<Timestamp>, in_force: Option<Timestamp>) -> Injection {
    let Some(spec) = &pod.spec else { return Injection::Not(Cause::ResolverContainerMissing) };
    let has_volume = spec.volumes.iter().flatten().any(|volume| volume.name == OUR_VOLUME);
    let mut containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    if has_volume && containers.any(|container| SIDECARS.contains(&container.name.as_str())) {
        return Injection::Injected;
    }
    if !has_container(pod, resolver) {
        return Injection::Not(Cause::ResolverContainerMissing);
    }
    if collides(pod, resolver) {
        return Injection::Not(Cause::Collision);
    }
    // A second counts as before: creation times have no fractions.
    let too_early = match (created, in_force) {
        (Some(created), Some(since)) => created.as_second() <= since.as_second() + PROPAGATION_SECONDS,
        _ => true,
    };
    Injection::Not(if too_early { Cause::CreatedTooEarly } else { Cause::Skipped })
}

fn has_container(pod: &Pod, name: &str) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.containers.iter().any(|container| container.name == name))
}

/// What the policy and the webhook leave alone. `tapir-inject` knows, which the webhook itself asks.
fn collides(pod: &Pod, resolver: &str) -> bool {
    serde_json::to_value(pod).is_ok_and(|pod| tapir_inject::left_alone(&pod, resolver).is_some())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn controller(pod: &Pod) -> Option<String> {
    pod.owner_references().iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
}

fn trouble(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let statuses = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    statuses.filter(|status| SIDECARS.contains(&status.name.as_str())).find_map(|status| {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone().filter(|reason| !is_passing(reason))?;
        let message = words(waiting.message.as_deref().unwrap_or_default());
        Some(Trouble { container: status.name.clone(), about_image: is_about_image(&reason), reason, message })
    })
}

/// Whether a waiting container waits for what comes by itself.
pub(crate) fn is_passing(reason: &str) -> bool {
    STARTING_REASONS.contains(&reason)
}

/// Whether a waiting container waits for its image.
pub(crate) fn is_about_image(reason: &str) -> bool {
    IMAGE_REASONS.contains(&reason)
}

/// A kubelet's words on one line, and not all of them.
pub(crate) fn words(said: &str) -> String {
    said.chars().filter(|character| !character.is_control()).take(LONGEST_MESSAGE).collect()
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
