//! Watches of policies: the policies themselves, and the edges that refer to them.

use std::sync::Arc;

use kube::ResourceExt as _;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use tokio_util::sync::CancellationToken;

use super::reconcile::{PolicyError, reconcile};
use crate::api::{TapirEdge, TapirPolicy};
use crate::edge::Context;
use crate::http::Readiness;
use crate::runner::{Watched, drive};

type Policy = DeserializeGuard<TapirPolicy>;

/// Runs the controller of one scope until `stop`.
pub async fn run(watched: Watched, context: Arc<Context>, readiness: Readiness, stop: CancellationToken) {
    let client = context.client.clone();
    let controller = Controller::new(watched.api::<Policy>(&client), watcher::Config::default());
    let store = controller.store();
    let waiting_for = format!("policies {watched}");
    readiness.expect(&waiting_for);
    let policies = store.clone();
    // An edge that refers to another policy from now on concerns the old one too, which only the store knows: all of the namespace.
    let controller =
        controller.watches(watched.api::<DeserializeGuard<TapirEdge>>(&client), watcher::Config::default(), move |edge| {
            let namespace = edge.namespace();
            policies
                .state()
                .iter()
                .filter(|policy| policy.namespace() == namespace)
                .map(|policy| ObjectRef::from_obj(&**policy))
                .collect::<Vec<_>>()
        });
    let ready = async {
        if store.wait_until_ready().await.is_ok() {
            readiness.reached(&waiting_for);
        }
    };
    let metrics = context.metrics.clone();
    futures::join!(ready, drive("policy", controller, reconcile, context, metrics, stop, |error: &PolicyError| error.into()));
}
