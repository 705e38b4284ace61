//! The Pods' part of a reconcile: who is to be replaced, who is to be touched, and what is said of injection.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use super::error::{EdgeError, Said};
use super::reconcile::Context;
use super::render::Rendered;
use super::replace::Decided;
use super::report;
use super::seen::{self, Seen};
use super::touch::{self, WorksBy};
use crate::api::reasons::Reason;
use crate::api::status::PodsStatus;
use crate::api::{Images, Injection, LABEL_EDGE, Strategy, TapirEdge};
use crate::build::images_revision;
use crate::cache::digest_of;
use crate::conditions::{Draft, Truth};
use crate::identity::board::IdentityView;
use crate::pods::{self, Census, Decision, Rules, View, classify, decide};
use crate::sidecars::{EdgeKey, Hope};
use crate::{rollout, settings};

/// Pods as they were found, and what was decided.
pub(super) struct PodsRound {
    pub seen: Vec<Seen>,
    pub views: Vec<View>,
    pub census: Census,
    pub decision: Decision,
    /// What the API server refused; nothing else was left undone for it.
    pub failures: Vec<EdgeError>,
    pub wrote: bool,
    /// When to look again at Pods that were touched.
    pub look: Option<Duration>,
    /// How far other images are; none when that could not be looked at.
    pub rollout: Option<rollout::Outcome>,
}

/// Pods as they were found.
pub(super) struct Look {
    pub seen: Vec<Seen>,
    views: Vec<View>,
    /// Only if metadata were not enough.
    whole: Vec<Pod>,
}

impl Look {
    /// Counts.
    pub(super) fn census(&self) -> Census {
        Census::of(&self.views)
    }
}

/// Looks at the Pods: at their metadata and addresses while those show that all are well, at the whole of them otherwise.
///
/// # Errors
/// When they cannot be looked at.
pub(super) async fn look(
    context: &Context,
    key: &EdgeKey,
    edge: &TapirEdge,
    injection: Option<&Injection>,
    target: Option<&Images>,
    in_force: Option<Timestamp>,
) -> Result<Look, EdgeError> {
    let slices = context.cache.indexes().slices(key);
    // Metadata tell whether all Pods run what they should, and nothing of one that is on its way there.
    let calm = target
        .is_none_or(|target| !rollout::is_under_way(edge) && injection.is_some_and(|injection| injection.images == *target));
    if calm && let Some(seen) = context.cache.pods(key).and_then(|rows| seen::well(&rows, &slices, injection)) {
        return Ok(Look { views: seen::views(&seen), seen, whole: Vec::new() });
    }
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &key.namespace);
    let labelled = ListParams::default().labels(&format!("{LABEL_EDGE}={}", key.name));
    let whole = api.list(&labelled).await.map_err(EdgeError::ListPods)?.items;
    let resolver = &edge.spec.resolver.container;
    let views = whole.iter().filter_map(|pod| classify(pod, resolver, in_force)).collect();
    Ok(Look { seen: whole.iter().map(Seen::whole).collect(), views, whole })
}

/// Looks at the Pods, evicts at most one, and touches those that mount something older.
///
/// # Errors
/// When they cannot be looked at.
pub(super) async fn tend(
    context: &Context,
    key: &EdgeKey,
    edge: &TapirEdge,
    rendered: &Rendered,
    identity: Option<&IdentityView>,
    hope: &Hope,
) -> Result<PodsRound, EdgeError> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &key.namespace);
    // Looked at only now: evictions follow from what is seen.
    let Look { seen, views, whole } =
        look(context, key, edge, rendered.injection.as_ref(), Some(&rendered.target), rendered.in_force).await?;
    let census = Census::of(&views);
    let now = context.keeper.clock.now();
    let handled = edge.status.as_ref().and_then(|status| status.handled.as_ref());
    let retry = report::handled(edge).as_ref().is_some_and(|asked| Some(asked) != handled);
    if retry {
        // Whoever asks has changed something.
        context.evictions.forget(key);
    }
    // A successor that no webhook meets would be missed as well. Where the operator has just begun, the Service may not lead to it yet.
    let may_miss = matches!(context.settings.injection, settings::Injection::Webhook(_));
    let rules = Rules {
        in_force: rendered.in_force.map(|since| if may_miss { since.max(context.leading_since) } else { since }),
        may_miss,
        found_useless: !retry && was_useless(edge),
    };
    let decision = decide(&views, rules, context.evictions.memory(key), now);
    let decision = held(edge, decision);
    let mut failures = Vec::new();
    let replacing = matches!(decision, Decision::Evict(_));
    // Where the rollout evicts, what it remembers of that is its own.
    let decision = if decision == Decision::Nothing && edge.spec.rollout.strategy == Strategy::Evict {
        decision
    } else {
        let decided = Decided { decision, now, pods: &whole, counted: views.len() };
        let decision = context.evictions.carry_out(&api, key, decided, &context.metrics).await;
        decision.unwrap_or_else(|(decision, error)| {
            failures.push(error);
            decision
        })
    };
    let scene = rollout::Scene {
        key,
        edge,
        settings: &context.settings.rollout,
        target: &rendered.target,
        structure: rendered.injection.as_ref().map_or("", |injection| injection.revision.as_str()),
        pods: &whole,
        views: &views,
        retry,
        replacing,
        now,
    };
    let rollout = rollout::tend(&context.rollouts, &context.client, &context.evictions, &context.metrics, scene).await;
    let rollout = rollout.map_err(|error| failures.push(EdgeError::Rollout(error))).ok();
    let mut touched = touch::Outcome::default();
    // What could not be looked at is not known to be new.
    if rendered.all_seen {
        let maps: Vec<_> = [&rendered.edm, &rendered.pop].into_iter().flatten().collect();
        let mounted = touch::Mounted::of(&maps, rendered.keys.as_deref(), identity.and_then(|view| view.mounted.clone()));
        let injected: Vec<&Seen> = injected_ones(&seen, &views).collect();
        let works_by = |pod: &Seen| works_by(context, key, pod, hope);
        touched = context.touches.touch_all(&api, key, &injected, &mounted, works_by).await;
    }
    failures.extend(touched.error.map(EdgeError::Touch));
    Ok(PodsRound {
        seen,
        views,
        census,
        decision,
        failures,
        wrote: touched.touched > 0 || rollout.as_ref().is_some_and(|rollout| rollout.wrote),
        look: touched.look,
        rollout,
    })
}

/// Whether the round before found that replacing Pods does not have them injected. An operator that has just begun has no other memory.
fn was_useless(edge: &TapirEdge) -> bool {
    let conditions = edge.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Injected" && condition.reason == <&str>::from(Reason::AdmissionSkipped))
}

/// Pods without sidecars are replaced by the rules of a rollout: not where others create them anew, and none while one is changed.
fn held(edge: &TapirEdge, decision: Decision) -> Decision {
    let rollout = &edge.spec.rollout;
    let changing = edge.status.as_ref().and_then(|status| status.rollout.as_ref()).is_some_and(|rollout| rollout.pod.is_some());
    match decision {
        Decision::Evict(pod) if rollout.paused => Decision::Held { pod, by: "spec.rollout.paused is set" },
        Decision::Evict(pod) if rollout.strategy == Strategy::OnRestart => {
            Decision::Held { pod, by: "spec.rollout.strategy is OnRestart" }
        }
        Decision::Evict(_) if changing => Decision::Later,
        other => other,
    }
}

fn works_by(context: &Context, key: &EdgeKey, pod: &Seen, hope: &Hope) -> WorksBy {
    let targets = seen::targets(std::slice::from_ref(pod));
    let mut found = if targets.is_empty() { WorksBy::Unknown } else { WorksBy::New };
    for target in targets {
        match context.board.last(key, &target) {
            None => found = WorksBy::Unknown,
            Some(heard) if hope.is_behind(target.component, &heard) => return WorksBy::Older,
            Some(_) => {}
        }
    }
    found
}

/// Pods that mount what is rendered and are not about to go.
pub(super) fn injected_ones<'a>(seen: &'a [Seen], views: &[View]) -> impl Iterator<Item = &'a Seen> {
    seen.iter().filter(|pod| {
        views.iter().any(|view| view.name == pod.name && view.injection == pods::Injection::Injected && !view.terminating)
    })
}

/// The condition `Injected`.
pub(super) fn injected(
    pods: &Result<PodsRound, EdgeError>,
    key: &EdgeKey,
    edge: &TapirEdge,
    failures: &[EdgeError],
    trouble: Option<Said>,
) -> Draft {
    let draft = |truth, reason, message| Draft::new("Injected", truth, reason, message);
    // What was refused is the cause of what the Pods lack.
    let refused = failures.iter().filter(|failure| matches!(failure, EdgeError::Apply { .. } | EdgeError::Evict(_)));
    if let Some((reason, message)) = refused.filter_map(EdgeError::said).next() {
        return draft(Truth::False, reason, message);
    }
    let pods = match pods {
        Ok(pods) => pods,
        Err(error) => {
            let (reason, message) = error.said().unwrap_or(("ReadFailed", error.to_string()));
            return draft(Truth::Unknown, reason, message);
        }
    };
    let finding = pods.census.finding(&pods.views, &key.name, &edge.spec.resolver.container, &pods.decision);
    let said = pods.rollout.as_ref().and_then(|rollout| rollout.condition.clone());
    if let Some((well, reason, message)) = said.filter(|(well, ..)| !well || (finding.injected && trouble.is_none())) {
        return draft(if well { Truth::True } else { Truth::False }, reason.into(), message);
    }
    match trouble {
        // Names that are taken and lists that are missing weigh less than Pods without sidecars, and more than nothing.
        Some((reason, message)) if finding.injected => draft(Truth::False, reason, message),
        _ => draft(if finding.injected { Truth::True } else { Truth::False }, finding.reason, finding.message),
    }
}

/// Counts for the status.
pub(super) fn counts(census: &Census, seen: &[Seen], injection: Option<&Injection>, target: Option<&Images>) -> PodsStatus {
    // What they are to run, and not what new ones get meanwhile.
    let images = target.and_then(|target| images_revision(target).ok());
    let images = images.as_ref().or_else(|| injection.and_then(|injection| injection.images_revision.as_ref()));
    let carry = |found: fn(&Seen) -> Option<u64>, revision: Option<&String>| {
        let wanted = revision.map(|revision| digest_of(revision));
        number(seen.iter().filter(|pod| !pod.terminating && wanted.is_some() && found(pod) == wanted).count())
    };
    PodsStatus {
        matched: number(census.matched),
        injected: number(census.injected),
        current: carry(|pod| pod.structure, injection.map(|injection| &injection.revision)),
        updated: carry(|pod| pod.images, images),
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
