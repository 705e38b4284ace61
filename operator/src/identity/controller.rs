//! Watches of the identity controller: edges, and the Secrets and ConfigMaps that an identity is made from or kept in.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt as _;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use tokio_util::sync::CancellationToken;

use super::round::{IdentityError, reconcile};
use crate::api::TapirEdge;
use crate::edge::Context;
use crate::names;
use crate::policy::Kind;
use crate::runner::{Watched, drive};

type Edge = DeserializeGuard<TapirEdge>;

/// Looks at the same time: they wait for Core.
const CONCURRENCY: u16 = 8;

/// Runs the controller of one scope until `stop`.
pub async fn run(watched: Watched, context: Arc<Context>, stop: CancellationToken) {
    let client = context.client.clone();
    let everything = watcher::Config::default();
    let controller =
        Controller::new(watched.api::<Edge>(&client), everything.clone()).with_config(Config::default().concurrency(CONCURRENCY));
    let store = controller.store();
    let with = |find: fn(&TapirEdge, &str) -> bool| {
        let store = store.clone();
        move |namespace: &str, name: &str| matching(&store, namespace, |edge| find(edge, name))
    };
    let reads = context.reads.clone();
    let (secrets, maps, rivals) = (with(uses_secret), with(uses_config_map), store.clone());
    let controller = controller
        .watches(watched.api::<PartialObjectMeta<Secret>>(&client), everything.clone(), move |secret| {
            let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
            // One watch of Secrets for both controllers.
            reads.changed(Kind::Secret, &namespace, &name);
            secrets(&namespace, &name)
        })
        .watches(watched.api::<PartialObjectMeta<ConfigMap>>(&client), everything.clone(), move |map| {
            maps(&map.namespace().unwrap_or_default(), &map.name_any())
        })
        // When one of two edges with the same credentials goes, the other may come.
        .watches(watched.api::<PartialObjectMeta<TapirEdge>>(&client), everything, move |_| {
            rivals.state().iter().filter(|edge| is_shared(edge)).map(|edge| ObjectRef::from_obj(&**edge)).collect::<Vec<_>>()
        });
    let metrics = context.metrics.clone();
    drive("identity", controller, reconcile, context, metrics, stop, IdentityError::reason).await;
}

fn matching(store: &Store<Edge>, namespace: &str, wanted: impl Fn(&TapirEdge) -> bool) -> Vec<ObjectRef<Edge>> {
    let hit = |edge: &Edge| edge.0.as_ref().is_ok_and(|edge| edge.namespace().as_deref() == Some(namespace) && wanted(edge));
    store.state().iter().filter(|edge| hit(edge)).map(|edge| ObjectRef::from_obj(&**edge)).collect()
}

fn uses_secret(edge: &TapirEdge, secret: &str) -> bool {
    let name = edge.name_any();
    let enrollment = &edge.spec.enrollment;
    enrollment.credentials_secret_ref.as_ref().is_some_and(|reference| reference.name == secret)
        || enrollment.existing_identity_secret_ref.as_ref().is_some_and(|reference| reference.name == secret)
        || [names::identity(&name), names::pending(&name), names::rescue(&name)].iter().any(|own| own == secret)
}

fn uses_config_map(edge: &TapirEdge, map: &str) -> bool {
    edge.spec.core.ca_bundle.as_ref().is_some_and(|bundle| bundle.config_map_ref.name == map)
}

fn is_shared(edge: &Edge) -> bool {
    let status = edge.0.as_ref().ok().and_then(|edge| edge.status.as_ref());
    status.is_some_and(|status| status.conditions.iter().any(|condition| condition.reason == "CredentialsShared"))
}
