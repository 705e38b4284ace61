//! The controller of edges: what the cache or a board has news of is looked at. An edge that its own type cannot read is reported and stops
//! nothing.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use tokio_util::sync::CancellationToken;

use super::reconcile::{Context, reconcile};
use crate::cache::Edge;
use crate::runner::Work;
use crate::sidecars::EdgeKey;

/// Reconciles at the same time: they wait for the API server, not for the processor.
const CONCURRENCY: u16 = 8;

/// Runs until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let controller = Controller::for_stream(stream::pending(), context.cache.edges());
    let changed = context.cache.changed_edges().stream().map(|key| reference(&key));
    let work = Work::of("edge", controller, CONCURRENCY, &context.metrics).told_by(changed);
    work.drive(reconcile, context, stop, super::EdgeError::reason).await;
}

/// An edge by its key.
pub(crate) fn reference(key: &EdgeKey) -> ObjectRef<Edge> {
    ObjectRef::new(&key.name).within(&key.namespace)
}
