//! The controller of identities: what the cache has news of is looked at.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use kube::runtime::controller::Controller;
use tokio_util::sync::CancellationToken;

use super::round::{IdentityError, reconcile};
use crate::edge::{Context, reference};
use crate::runner::Work;

/// Looks at the same time: they wait for Core.
const CONCURRENCY: u16 = 8;

/// Runs until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let controller = Controller::for_stream(stream::pending(), context.cache.edges());
    let changed = context.cache.changed_identities().stream().map(|key| reference(&key));
    let work = Work::of("identity", controller, CONCURRENCY, &context.metrics).told_by(changed);
    work.drive(reconcile, context, stop, IdentityError::reason).await;
}
