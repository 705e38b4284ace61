//! All Pods of an edge in one sentence: counts and the most important finding. Pure, and the same for the same Pods.

use super::classify::{Cause, Injection, View};
use super::eviction::Decision;

/// How many names a message carries.
const MOST_NAMES: usize = 3;

/// What is to be said about injection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub injected: bool,
    pub reason: &'static str,
    pub message: String,
}

/// Counts of an edge's Pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub matched: usize,
    pub injected: usize,
}

impl Census {
    /// Counts.
    #[must_use]
    pub fn of(pods: &[View]) -> Self {
        let living = pods.iter().filter(|pod| !pod.terminating);
        Self { matched: living.clone().count(), injected: living.filter(|pod| pod.injection == Injection::Injected).count() }
    }

    /// The most important finding.
    #[must_use]
    pub fn finding(&self, pods: &[View], edge: &str, resolver: &str, decision: &Decision) -> Finding {
        let bad = |reason, message| Finding { injected: false, reason, message };
        let living: Vec<&View> = pods.iter().filter(|pod| !pod.terminating).collect();
        let with = |cause| names(living.iter().filter(|pod| pod.injection == Injection::Not(cause)).map(|pod| pod.name.as_str()));
        if living.is_empty() {
            return bad(
                "NoPods",
                format!(
                    "no Pod in this namespace carries the label dnstapir.se/edge: {edge}; put it on the Pod template of the resolver"
                ),
            );
        }
        let without_resolver = living.iter().filter(|pod| pod.without_resolver).map(|pod| pod.name.as_str());
        if let Some(pods) = names(without_resolver) {
            return bad(
                "ResolverContainerMissing",
                format!(
                    "no container {resolver:?} in {pods}: set spec.resolver.container to the name of the resolver's container"
                ),
            );
        }
        if let Some(pods) = with(Cause::Collision) {
            return bad(
                "Collision",
                format!(
                    "{pods} not injected: a container or volume named tapir-…, something mounted at /run/tapir, a /run that cannot be written, resources of the Pod as a whole (give them to its containers), or a kind of Pod that ends by itself stands in the way; change the Pod template"
                ),
            );
        }
        if let Some(trouble) = living.iter().find_map(|pod| pod.trouble.as_ref().map(|trouble| (pod, trouble))) {
            let (pod, trouble) = trouble;
            let reason = if trouble.about_image { "ImagePullFailed" } else { "SidecarNotRunning" };
            return bad(
                reason,
                format!("container {} of Pod {} waits: {}: {}", trouble.container, pod.name, trouble.reason, trouble.message),
            );
        }
        self.not_injected(living.len(), decision, with(Cause::Skipped)).unwrap_or_else(|| Finding {
            injected: true,
            reason: "Injected",
            message: format!("{} of {} Pods carry the sidecars", self.injected, self.matched),
        })
    }

    fn not_injected(&self, living: usize, decision: &Decision, skipped: Option<String>) -> Option<Finding> {
        let (reason, message) = match decision {
            Decision::Person { pod, lone: true } => (
                "RestartNeeded",
                format!(
                    "Pod {pod} was created without its sidecars and no other Ready Pod of its workload would answer meanwhile: restart it when that suits, or add a replica"
                ),
            ),
            Decision::Person { pod, lone: false } => {
                ("RestartNeeded", format!("Pod {pod} was created without its sidecars and has no controller: create it anew"))
            }
            Decision::Held { pod, by } => (
                "RestartNeeded",
                format!(
                    "Pod {pod} was created without its sidecars and is not replaced, because {by}: restart it when that suits"
                ),
            ),
            Decision::Blocked { pod, why, .. } => (
                "EvictionBlocked",
                format!(
                    "Pod {pod} was created without its sidecars and may not be evicted now: {why}; tried again by itself, or restart it when that suits"
                ),
            ),
            Decision::Useless { pod } => (
                "AdmissionSkipped",
                format!(
                    "Pod {pod} came for one that was evicted and was not injected either: does the chart's admission policy fit this API server (Kubernetes 1.36), or does the API server reach the operator's webhook? Once it does, restart one of the Pods, and the others follow"
                ),
            ),
            Decision::Evict(_) | Decision::Later => (
                "ReplacingPods",
                format!("{} of {living} Pods carry the sidecars; the others are replaced one by one", self.injected),
            ),
            Decision::Nothing => (
                "AdmissionSkipped",
                format!(
                    "{} created when it should have been injected, and was not: does the chart's admission policy fit this API server (Kubernetes 1.36)? Restart what was not injected",
                    skipped?
                ),
            ),
        };
        Some(Finding { injected: false, reason, message })
    }
}

fn names<'a>(pods: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut pods: Vec<&str> = pods.collect();
    pods.sort_unstable();
    let more = pods.len().saturating_sub(MOST_NAMES);
    pods.truncate(MOST_NAMES);
    match (pods.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("Pod {}", pods.join(", "))),
        (false, more) => Some(format!("Pod {} and {more} more", pods.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::classify::Trouble;

    fn pod(name: &str, injection: Injection) -> View {
        let without_resolver = injection == Injection::Not(Cause::ResolverContainerMissing);
        View {
            name: name.into(),
            injection,
            ready: true,
            terminating: false,
            created: None,
            controller: None,
            trouble: None,
            without_resolver,
        }
    }

    fn finding(pods: &[View], decision: &Decision) -> (bool, &'static str, String) {
        let finding = Census::of(pods).finding(pods, "stockholm", "unbound", decision);
        (finding.injected, finding.reason, finding.message)
    }

    #[test]
    fn each_cause_has_its_reason_and_remedy() {
        let (_, reason, message) = finding(&[], &Decision::Nothing);
        assert_eq!(reason, "NoPods");
        assert!(message.contains("dnstapir.se/edge: stockholm"));
        let missing = [pod("b", Injection::Not(Cause::ResolverContainerMissing)), pod("a", Injection::Injected)];
        let (_, reason, message) = finding(&missing, &Decision::Nothing);
        assert_eq!(reason, "ResolverContainerMissing");
        assert!(message.contains("spec.resolver.container") && message.contains("Pod b"), "{message}");
        let renamed = [View { without_resolver: true, ..pod("a", Injection::Injected) }];
        assert_eq!(finding(&renamed, &Decision::Nothing).1, "ResolverContainerMissing", "its successor would not be injected");
        assert_eq!(finding(&[pod("a", Injection::Not(Cause::Collision))], &Decision::Nothing).1, "Collision");
        assert_eq!(finding(&[pod("a", Injection::Not(Cause::Skipped))], &Decision::Nothing).1, "AdmissionSkipped");
        assert_eq!(
            finding(&[pod("a", Injection::Injected)], &Decision::Nothing),
            (true, "Injected", "1 of 1 Pods carry the sidecars".into())
        );
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named() {
        let trouble = Trouble {
            container: "tapir-pop".into(),
            about_image: true,
            reason: "ErrImagePull".into(),
            message: "not found".into(),
        };
        let pods = [View { trouble: Some(trouble), ..pod("a", Injection::Injected) }];
        let (injected, reason, message) = finding(&pods, &Decision::Nothing);
        assert!(
            !injected && reason == "ImagePullFailed" && message.contains("tapir-pop") && message.contains("not found"),
            "{message}"
        );
    }

    #[test]
    fn messages_do_not_grow_with_the_fleet() {
        let pods: Vec<View> = (0..100).map(|n| pod(&format!("pod-{n:03}"), Injection::Not(Cause::Collision))).collect();
        let (_, _, message) = finding(&pods, &Decision::Nothing);
        assert!(message.contains("pod-002 and 97 more"), "{message}");
    }
}
