//! Evicts the Pod that [`decide`](crate::pods::decide) names, through the Eviction API, so that disruption budgets hold.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, EvictParams};

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

    /// Evicts a Pod. Says whether it was: a disruption budget may ask for patience.
    ///
    /// # Errors
    /// When the API server refuses for another reason.
    pub async fn evict(
        &self,
        api: &Api<Pod>,
        edge: &EdgeKey,
        pod: &str,
        pods_before: usize,
        metrics: &Metrics,
    ) -> Result<bool, EdgeError> {
        match api.evict(pod, &EvictParams::default()).await {
            Ok(_) => {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(edge.clone(), Memory { pods_before });
                metrics.evicted();
                tracing::info!(
                    namespace = edge.namespace,
                    edge = edge.name,
                    pod,
                    "evicted a Pod that was created before its edge was rendered"
                );
                Ok(true)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 429) => Ok(false),
            Err(error) => Err(EdgeError::Evict(error)),
        }
    }
}
