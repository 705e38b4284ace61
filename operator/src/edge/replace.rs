//! Evicts the Pod that [`decide`](crate::pods::decide) names, through the Eviction API, so that disruption budgets hold.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use kube::core::Status;

use super::error::EdgeError;
use crate::pods::{Decision, Memory};
use crate::sidecars::EdgeKey;
use crate::telemetry::metrics::Metrics;

/// Pause after a disruption budget said no for the first time; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// Longest part of the API server's words that is repeated.
const LONGEST_WORDS: usize = 300;
/// Why the API server answers an eviction with 429; without it there are too many requests, of whatever kind.
const BUDGET: &str = "DisruptionBudget";

/// What is remembered between evictions, for each edge. Lost with the process, which only means one look less.
#[derive(Clone, Debug, Default)]
pub struct Evictions(Arc<Mutex<HashMap<EdgeKey, Remembered>>>);

#[derive(Clone, Debug, Default)]
struct Remembered {
    memory: Memory,
    /// The Pod that was evicted last, until that is told.
    untold: Option<String>,
    refused: Option<Refused>,
}

/// What was decided, and what it was decided from.
#[derive(Clone, Debug)]
pub struct Decided<'a> {
    pub decision: Decision,
    pub now: Timestamp,
    pub pods: &'a [Pod],
    /// How many of the Pods were looked at: without those that have ended.
    pub counted: usize,
}

/// A disruption budget said no.
#[derive(Clone, Debug)]
struct Refused {
    why: String,
    times: u32,
    until: Timestamp,
}

impl Evictions {
    /// What is remembered of an edge.
    #[must_use]
    pub fn memory(&self, edge: &EdgeKey) -> Memory {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(edge).map(|known| known.memory).unwrap_or_default()
    }

    /// The Pod that was evicted last, if that was not told yet.
    #[must_use]
    pub fn take_untold(&self, edge: &EdgeKey) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(edge)?.untold.take()
    }

    /// Nothing is to be replaced any more, or the edge is gone.
    pub fn forget(&self, edge: &EdgeKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(edge);
    }

    /// Does what was decided, unless a disruption budget forbade it a moment ago. Evicts exactly the Pod that was looked at: it may have
    /// changed meanwhile. Gives what came of it.
    ///
    /// # Errors
    /// When the API server refuses for a reason that does not pass by itself.
    pub async fn carry_out(
        &self,
        api: &Api<Pod>,
        edge: &EdgeKey,
        decided: Decided<'_>,
        metrics: &Metrics,
    ) -> Result<Decision, (Decision, EdgeError)> {
        let Decided { decision, now, pods, counted } = decided;
        if decision == Decision::Nothing {
            self.forget(edge);
        }
        let Decision::Evict(name) = &decision else { return Ok(decision) };
        let Some(pod) = pods.iter().find(|pod| pod.name_any() == *name) else { return Ok(decision) };
        if let Some(blocked) = self.still_refused(edge, name, now) {
            return Ok(blocked);
        }
        match api.create_subresource::<_, Status>("eviction", name, &PostParams::default(), &eviction(pod)).await {
            Ok(_) => {
                let youngest = pods.iter().filter_map(|pod| pod.creation_timestamp()).map(|time| time.0).max();
                let memory = Memory { pods_before: counted, evicted: Some(now), youngest };
                self.remember(edge, Remembered { memory, untold: Some(name.clone()), refused: None });
                metrics.evicted();
                tracing::info!(
                    namespace = edge.namespace,
                    edge = edge.name,
                    pod = name,
                    "evicted a Pod, so that it is created anew with its sidecars"
                );
                Ok(decision)
            }
            Err(kube::Error::Api(status)) if status.code == 429 => Ok(self.refuse(edge, name, &status, now)),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(decision),
            Err(error) => Err((decision, EdgeError::Evict(error))),
        }
    }

    fn remember(&self, edge: &EdgeKey, remembered: Remembered) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(edge.clone(), remembered);
    }

    fn still_refused(&self, edge: &EdgeKey, pod: &str, now: Timestamp) -> Option<Decision> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = known.get(edge)?.refused.as_ref().filter(|refused| refused.until > now)?;
        let retry_in = Duration::try_from(refused.until.duration_since(now)).unwrap_or_default();
        Some(Decision::Blocked { pod: pod.to_owned(), why: refused.why.clone(), retry_in })
    }

    fn refuse(&self, edge: &EdgeKey, pod: &str, status: &Status, now: Timestamp) -> Decision {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = known.entry(edge.clone()).or_default();
        let times = remembered.refused.as_ref().map_or(0, |refused| refused.times);
        let retry_in = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(times)).min(LONGEST_PAUSE);
        let why = words(status);
        let until = now.checked_add(retry_in).unwrap_or(now);
        if times == 0 {
            tracing::debug!(namespace = edge.namespace, edge = edge.name, pod, why, "a Pod may not be evicted now");
        }
        remembered.refused = Some(Refused { why: why.clone(), times: times.saturating_add(1), until });
        Decision::Blocked { pod: pod.to_owned(), why, retry_in }
    }
}

/// The cause names the `PodDisruptionBudget`; the message of the answer itself does not.
fn words(status: &Status) -> String {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let budget = causes.into_iter().find(|cause| cause.reason == BUDGET);
    let said = budget.map_or(&status.message, |cause| &cause.message);
    let said: String = said.chars().filter(|character| !character.is_control()).take(LONGEST_WORDS).collect();
    if budget.is_some() { format!("PodDisruptionBudget: {said}") } else { said }
}

/// Not by `Api::evict`, which writes the preconditions under a name that the API server does not know.
fn eviction(pod: &Pod) -> Eviction {
    Eviction {
        metadata: ObjectMeta { name: pod.metadata.name.clone(), namespace: pod.namespace(), ..ObjectMeta::default() },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions { uid: pod.uid(), resource_version: pod.resource_version() }),
            ..DeleteOptions::default()
        }),
    }
}
