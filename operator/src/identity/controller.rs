//! The controller of identities: what the cache has news of is looked at.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use kube::runtime::controller::{Config, Controller};
use tokio_util::sync::CancellationToken;

use super::round::{IdentityError, reconcile};
use crate::edge::{Context, reference};
use crate::runner::drive;

/// Looks at the same time: they wait for Core.
const CONCURRENCY: u16 = 8;

/// Runs until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let controller = Controller::for_stream(stream::pending(), context.cache.edges())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(context.cache.changed_identities().stream().map(|key| reference(&key)));
    let metrics = context.metrics.clone();
    drive("identity", controller, reconcile, context, metrics, stop, IdentityError::reason).await;
}
