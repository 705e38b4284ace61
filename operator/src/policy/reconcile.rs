//! One reconcile of one policy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt};
use serde_json::json;

use super::accept::acceptable;
use super::sources_status::{self, Report, Says};
use crate::api::policy::{SourceState, Standing};
use crate::api::{FIELD_MANAGER, PolicyStatus, Reason, TapirPolicy, TapirPolicyStatus};
use crate::cache::LeanEdge;
use crate::conditions::{Draft, Truth, merge};
use crate::edge::{Context, publish};
use crate::sidecars::{Board, EdgeKey, Heard};

/// `status.usedBy` is bounded by the schema.
const MOST_USERS: usize = 1000;

/// How often counts of sources that change by themselves are written, at most.
const COUNTS_EVERY: Duration = Duration::from_mins(5);
/// A policy that was not looked at for so long is gone.
const FORGOTTEN: Duration = Duration::from_hours(1);

/// Why a reconcile of a policy ended early.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub enum PolicyError {
    #[error("writing the status: {0}")]
    UpdateStatus(#[source] kube::Error),
    #[error("the policy is malformed: {0}")]
    Malformed(String),
}

/// Brings the status of one policy to where it should be.
///
/// # Errors
/// See [`PolicyError`].
pub async fn reconcile(policy: Arc<DeserializeGuard<TapirPolicy>>, context: Arc<Context>) -> Result<Action, PolicyError> {
    let policy = policy.0.as_ref().map_err(|invalid| PolicyError::Malformed(invalid.error.clone()))?;
    if policy.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let namespace = policy.namespace().unwrap_or_default();
    let mut users = users(&context, &namespace, &policy.name_any());
    users.sort_by(|one, other| one.name.cmp(&other.name));
    let before = policy.status.clone().unwrap_or_default();
    let reports: Vec<Report> = users.iter().flat_map(|user| reports(&context.board, &namespace, user, policy)).collect();
    let refresh = context.counts.are_due((&namespace, &policy.name_any()), Instant::now());
    let sources = sources_status::rows(&policy.spec.sources, &reports, &before.sources, refresh);

    let drafts = vec![accepted(policy), ready(policy, &users, &sources)];
    let (conditions, transitions) = merge(&before.conditions, drafts, policy.metadata.generation, Timestamp::now());
    let wanted = TapirPolicyStatus {
        observed_generation: policy.metadata.generation,
        conditions,
        used_by: users.iter().take(MOST_USERS).map(|user| user.name.clone()).collect(),
        sources,
    };
    if policy.status.as_ref() != Some(&wanted) {
        let api: Api<TapirPolicy> = Api::namespaced(context.client.clone(), &namespace);
        let document = json!({
            "apiVersion": TapirPolicy::api_version(&()),
            "kind": TapirPolicy::kind(&()),
            "metadata": {"name": policy.name_any(), "uid": policy.uid()},
            "status": wanted,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        api.patch_status(&policy.name_any(), &parameters, &Patch::Apply(document)).await.map_err(PolicyError::UpdateStatus)?;
        publish(&context.events, policy, &transitions, &wanted.conditions).await;
    }
    Ok(Action::requeue(COUNTS_EVERY))
}

/// An edge that refers to the policy, as far as it speaks of it.
#[derive(Clone, Debug)]
struct User {
    name: String,
    policy: Option<PolicyStatus>,
    /// Status and reason of its condition `PolicyAccepted`.
    accepted: Option<(String, String)>,
}

fn users(context: &Context, namespace: &str, policy: &str) -> Vec<User> {
    let edges = context.cache.users_of_policy(namespace, policy);
    let users = edges.iter().filter_map(|edge| edge.0.as_ref().ok()).filter(|edge| uses(edge, policy));
    users
        .map(|edge| {
            let status = edge.status.as_ref();
            let condition =
                status.and_then(|status| status.conditions.iter().find(|condition| &*condition.kind == "PolicyAccepted"));
            User {
                name: edge.key().name,
                policy: status.and_then(|status| status.policy.clone()),
                accepted: condition.map(|condition| (condition.status.to_string(), condition.reason.to_string())),
            }
        })
        .collect()
}

/// What the POPs of an edge say.
fn reports(board: &Board, namespace: &str, user: &User, policy: &TapirPolicy) -> Vec<Report> {
    let key = EdgeKey { namespace: namespace.to_owned(), name: user.name.clone() };
    let report = |pod: String, says| Report { edge: user.name.clone(), pod, says };
    let Some(pops) = board.pops(&key) else { return vec![report(String::new(), Says::NotAsked)] };
    let spoken = user.policy.as_ref().filter(|spoken| speaks_of(spoken, policy));
    let revision = spoken.and_then(|spoken| spoken.revision.as_ref());
    let says = |heard: Option<Option<Heard>>| match heard {
        None => Says::NotAsked,
        Some(None) => Says::Silent,
        Some(Some(heard)) if spoken.is_none() || revision.is_some_and(|revision| *revision != heard.revision) => Says::Other,
        Some(Some(heard)) => Says::Sources(heard.sources.0),
    };
    pops.into_iter().map(|(pod, heard)| report(pod, says(heard))).collect()
}

/// Whether an edge speaks of this policy as it is now.
fn speaks_of(spoken: &PolicyStatus, policy: &TapirPolicy) -> bool {
    spoken.name == policy.name_any() && spoken.generation == policy.metadata.generation
}

/// Whether an edge refers to a policy and is not on its way out.
pub(crate) fn uses(edge: &LeanEdge, policy: &str) -> bool {
    let pop = &edge.spec.pop;
    edge.metadata.deletion_timestamp.is_none()
        && pop.enabled
        && pop.policy_ref.as_ref().is_some_and(|reference| reference.name == policy)
}

fn accepted(policy: &TapirPolicy) -> Draft {
    match acceptable(&policy.spec) {
        Ok(()) => Draft::new("Accepted", Truth::True, "Accepted", "the policy can be rendered"),
        Err(why) => Draft::new("Accepted", Truth::False, "Invalid", why),
    }
}

/// In force at every edge that uses it, as it is now, with all that its sources have: what an edge says of an older generation, or of
/// another policy, is no news of this one.
fn ready(policy: &TapirPolicy, users: &[User], sources: &[SourceState]) -> Draft {
    let draft = |truth, reason: Reason, message: String| Draft::new("Ready", truth, reason, message);
    if users.is_empty() {
        return draft(Truth::Unknown, Reason::Unused, "no TapirEdge of this namespace refers to it".to_owned());
    }
    let at = |wanted: Truth| users.iter().find(|user| standing(policy, user).0 == wanted);
    let source = |wanted: Standing| sources.iter().find(|source| source.state == wanted);
    if let Some(user) = at(Truth::False) {
        let message = format!("TapirEdge {} says why in its condition PolicyAccepted", user.name);
        return draft(Truth::False, Reason::RefusedByEdge, message);
    }
    if let Some(source) = source(Standing::Failed) {
        let message = format!("source {} holds nothing: {}", source.name, source.message);
        return draft(Truth::False, Reason::SourceFailed, message);
    }
    if let Some(source) = source(Standing::Stale) {
        let message = format!("source {} cannot be renewed and is used as it was: {}", source.name, source.message);
        return draft(Truth::False, Reason::SourceStale, message);
    }
    if let Some(user) = at(Truth::Unknown) {
        return draft(Truth::Unknown, Reason::Pending, format!("TapirEdge {}: {}", user.name, standing(policy, user).1));
    }
    draft(Truth::True, Reason::Ready, format!("in force at {} TapirEdges", users.len()))
}

/// What an edge says of this generation of this policy.
fn standing(policy: &TapirPolicy, user: &User) -> (Truth, &'static str) {
    let current = user.policy.as_ref().is_some_and(|spoken| speaks_of(spoken, policy));
    match user.accepted.as_ref().filter(|_| current).map(|(status, _)| status.as_str()) {
        None => (Truth::Unknown, "has not taken it up yet, as it is now"),
        Some("True") => (Truth::True, ""),
        Some("False") => (Truth::False, ""),
        Some(_) => (Truth::Unknown, "not every POP is known to work by it"),
    }
}

/// When counts and words that change all the time were written last, for each policy.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<Mutex<HashMap<(String, String), Instant>>>);

impl Counts {
    /// Whether they may be written again; then they are due no more. Not before a while after the start: every restart would write all.
    fn are_due(&self, (namespace, name): (&str, &str), now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of policies that are gone: they come in here at most once in a while, so an hour later they are gone here too.
        last.retain(|_, at| now.saturating_duration_since(*at) < FORGOTTEN);
        let key = (namespace.to_owned(), name.to_owned());
        match last.get(&key) {
            Some(at) if now.saturating_duration_since(*at) < COUNTS_EVERY => false,
            found => {
                let known = found.is_some();
                last.insert(key, now);
                known
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_due_every_five_minutes_and_not_at_the_start() {
        let (counts, start) = (Counts::default(), Instant::now());
        let due = |second: u64| counts.are_due(("dns", "default"), start + Duration::from_secs(second));
        assert_eq!([0, 1, 299, 300, 301, 599, 600].map(due), [false, false, false, true, false, false, true]);
        assert!(!counts.are_due(("dns", "other"), start + Duration::from_secs(2 * 3600)));
        assert_eq!(counts.0.lock().unwrap().len(), 1, "what is gone is forgotten");
    }
}
