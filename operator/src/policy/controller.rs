//! The controller of policies: what the cache has news of is looked at.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use tokio_util::sync::CancellationToken;

use super::reconcile::{PolicyError, reconcile};
use crate::edge::Context;
use crate::runner::Work;

/// Reconciles at the same time.
const CONCURRENCY: u16 = 4;

/// Runs until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let changed = context.cache.changed_policies().stream();
    let changed = changed.map(|(namespace, name)| ObjectRef::new(&name).within(&namespace));
    let controller = Controller::for_stream(stream::pending(), context.cache.policies());
    let work = Work::of("policy", controller, CONCURRENCY, &context.metrics).told_by(changed);
    work.drive(reconcile, context, stop, |error: &PolicyError| error.into()).await;
}
