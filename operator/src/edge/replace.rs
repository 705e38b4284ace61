//! Evicts the Pod that [`decide`](crate::pods::decide) names, through the Eviction API, so that disruption budgets hold.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use kube::core::Status;

use super::error::EdgeError;
use crate::pods::Memory;
use crate::sidecars::EdgeKey;
use crate::telemetry::metrics::Metrics;

/// What is remembered between evictions, for each edge. Lost with the process, which only means one look less.
#[derive(Clone, Debug, Default)]
pub struct Evictions(Arc<Mutex<HashMap<EdgeKey, Memory>>>);

impl Evictions {
    /// What is remembered of an edge.
    #[must_use]
    pub fn memory(&self, edge: &EdgeKey) -> Memory {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(edge).copied().unwrap_or_default()
    }

    /// Nothing is to be replaced any more, or the edge is gone.
    pub fn forget(&self, edge: &EdgeKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(edge);
    }

    /// Evicts exactly the Pod that was looked at. Says whether it was: it may have changed meanwhile, or a disruption budget may ask for
    /// patience.
    ///
    /// # Errors
    /// When the API server refuses for another reason.
    pub async fn evict(
        &self,
        api: &Api<Pod>,
        edge: &EdgeKey,
        pod: &Pod,
        pods_before: usize,
        metrics: &Metrics,
    ) -> Result<bool, EdgeError> {
        let name = pod.name_any();
        match api.create_subresource::<_, Status>("eviction", &name, &PostParams::default(), &eviction(pod)).await {
            Ok(_) => {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(edge.clone(), Memory { pods_before });
                metrics.evicted();
                tracing::info!(
                    namespace = edge.namespace,
                    edge = edge.name,
                    pod = name,
                    "evicted a Pod that was created before its edge was rendered"
                );
                Ok(true)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 429) => Ok(false),
            Err(error) => Err(EdgeError::Evict(error)),
        }
    }
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
