//! Asks the sidecars of one Pod whether they are there: the proof that a container's program works, and not only its supervisor.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use k8s_openapi::api::core::v1::Pod;
use tapir_plan::rollout::Kind;

use super::observe::find;
use crate::sidecars::{Component, Question};

/// Asks one sidecar.
type Asker = dyn Fn(SocketAddr) -> BoxFuture<'static, bool> + Send + Sync;

/// How sidecars are asked; clones share it.
#[derive(Clone)]
pub struct Answers(Arc<Asker>);

impl Answers {
    /// By HTTP.
    #[must_use]
    pub fn by(question: Question) -> Self {
        Self::from_fn(move |address| {
            let question = question.clone();
            Box::pin(async move { question.is_answered(address).await })
        })
    }

    /// By whatever a test likes.
    pub fn from_fn(ask: impl Fn(SocketAddr) -> BoxFuture<'static, bool> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// Whether all sidecars of a Pod answer now.
    pub(super) async fn answer(&self, pod: &Pod) -> bool {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        let Some(address) = address.and_then(|address| address.parse::<IpAddr>().ok()) else { return false };
        let sidecars = [(Kind::Edm, Component::Edm), (Kind::Pop, Component::Pop)];
        let there = sidecars.into_iter().filter(|(kind, _)| find(pod, *kind).is_some());
        let asked = there.map(|(_, component)| (self.0)(SocketAddr::new(address, component.port())));
        join_all(asked).await.into_iter().all(|answered| answered)
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Answers").finish_non_exhaustive()
    }
}
