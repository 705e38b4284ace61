//! The controller of policies: what the cache has news of is looked at.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use kube::runtime::controller::{Config, Controller};
use kube::runtime::reflector::ObjectRef;
use tokio_util::sync::CancellationToken;

use super::reconcile::{PolicyError, reconcile};
use crate::edge::Context;
use crate::runner::drive;

/// Reconciles at the same time.
const CONCURRENCY: u16 = 4;

/// Runs until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let changed = context.cache.changed_policies().stream();
    let controller = Controller::for_stream(stream::pending(), context.cache.policies())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(changed.map(|(namespace, name)| ObjectRef::new(&name).within(&namespace)));
    let metrics = context.metrics.clone();
    drive("policy", controller, reconcile, context, metrics, stop, |error: &PolicyError| error.into()).await;
}
