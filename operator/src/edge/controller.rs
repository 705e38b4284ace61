//! Watches: everything that an edge is made from or made into leads to a reconcile of that edge.
//!
//! Of ConfigMaps, Pods and bindings only metadata is watched: contents are read when they are needed, one by one.
//! An edge that its own type cannot read is reported and does not stop the watch.

use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt as _};
use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::Api;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt as _};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::reconcile::{Context, reconcile};
use crate::api::{LABEL_EDGE, LABEL_EDGE_NAMESPACE, TapirEdge, TapirPolicy};
use crate::http::Readiness;
use crate::policy::Kind;
use crate::runner::{Watched, drive};
use crate::sidecars::EdgeKey;

/// An edge that may be malformed.
type Edge = DeserializeGuard<TapirEdge>;

/// Reconciles at the same time: they wait for Core and the API server, not for the processor.
const CONCURRENCY: u16 = 8;

/// Runs the controller of one scope until `stop`.
pub async fn run(
    watched: Watched,
    context: Arc<Context>,
    news: broadcast::Receiver<EdgeKey>,
    readiness: Readiness,
    stop: CancellationToken,
) {
    let client = context.client.clone();
    let everything = watcher::Config::default();
    let controller =
        Controller::new(watched.api::<Edge>(&client), everything.clone()).with_config(Config::default().concurrency(CONCURRENCY));
    let store = controller.store();
    let with = |find: fn(&TapirEdge, &str) -> bool| {
        let store = store.clone();
        move |namespace: &str, name: &str| matching(&store, namespace, |edge| find(edge, name))
    };
    let (maps, policies) = (with(uses_config_map), with(uses_policy));
    let reads = context.reads.clone();
    let labelled = everything.clone().labels(LABEL_EDGE);
    let within = store.clone();
    let waiting_for = format!("edges {watched}");
    readiness.expect(&waiting_for);

    let controller = controller
        .watches(watched.api::<PartialObjectMeta<ConfigMap>>(&client), everything.clone(), move |map| {
            let (namespace, name) = (map.namespace().unwrap_or_default(), map.name_any());
            let by_policy = reads.readers(Kind::ConfigMap, &namespace, &name).into_iter();
            let by_policy = by_policy.map(|edge| ObjectRef::new(&edge.name).within(&edge.namespace));
            maps(&namespace, &name).into_iter().chain(by_policy).collect::<Vec<_>>()
        })
        .watches(watched.api::<PartialObjectMeta<TapirPolicy>>(&client), everything, move |policy| {
            policies(&policy.namespace().unwrap_or_default(), &policy.name_any())
        })
        .watches(watched.api::<PartialObjectMeta<Pod>>(&client), labelled.clone(), |pod| labelled_edge(&pod))
        // The edges of a namespace that is being deleted go at once, before the rights to let them go do.
        .watches(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), watched.namespaces(), move |namespace| {
            let ending = namespace.metadata.deletion_timestamp.is_some();
            if ending { matching(&within, &namespace.name_any(), |_| true) } else { Vec::new() }
        })
        .reconcile_on(heard(context.identities.news(), store.clone()))
        .reconcile_on(heard(context.reads.news(), store.clone()))
        .reconcile_on(heard(news, store.clone()));
    let controller = if context.settings.injection.binds().is_some() {
        controller.watches(Api::<PartialObjectMeta<MutatingAdmissionPolicyBinding>>::all(client.clone()), labelled, |binding| {
            bound_edge(&binding)
        })
    } else {
        controller
    };

    let ready = async {
        if store.wait_until_ready().await.is_ok() {
            readiness.reached(&waiting_for);
        }
    };
    let metrics = context.metrics.clone();
    futures::join!(ready, drive("edge", controller, reconcile, context, metrics, stop, super::EdgeError::reason));
}

fn labelled_edge<K: Resource>(pod: &PartialObjectMeta<K>) -> Option<ObjectRef<Edge>> {
    let edge = pod.metadata.labels.as_ref()?.get(LABEL_EDGE)?;
    Some(ObjectRef::new(edge).within(pod.metadata.namespace.as_ref()?))
}

fn bound_edge(binding: &PartialObjectMeta<MutatingAdmissionPolicyBinding>) -> Option<ObjectRef<Edge>> {
    let labels = binding.metadata.labels.as_ref()?;
    Some(ObjectRef::new(labels.get(LABEL_EDGE)?).within(labels.get(LABEL_EDGE_NAMESPACE)?))
}

fn matching(store: &Store<Edge>, namespace: &str, wanted: impl Fn(&TapirEdge) -> bool) -> Vec<ObjectRef<Edge>> {
    let hit = |edge: &Edge| edge.0.as_ref().is_ok_and(|edge| edge.namespace().as_deref() == Some(namespace) && wanted(edge));
    store.state().iter().filter(|edge| hit(edge)).map(|edge| ObjectRef::from_obj(&**edge)).collect()
}

fn uses_config_map(edge: &TapirEdge, map: &str) -> bool {
    let name = edge.name_any();
    let own = [crate::build::edm_config_name(&name), crate::build::pop_config_name(&name)];
    own.iter().any(|own| own == map)
        || edge.spec.edm.well_known_domains.as_ref().is_some_and(|list| list.config_map_ref.name == map)
}

fn uses_policy(edge: &TapirEdge, policy: &str) -> bool {
    edge.spec.pop.policy_ref.as_ref().is_some_and(|reference| reference.name == policy)
}

/// Edges of this scope of which somebody has news.
fn heard(news: broadcast::Receiver<EdgeKey>, store: Store<Edge>) -> impl Stream<Item = ObjectRef<Edge>> + Send {
    stream::unfold(news, async |mut news| {
        loop {
            match news.recv().await {
                Ok(edge) => return Some((edge, news)),
                // The next reconcile looks at the whole board: a missed hint costs a little time only.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
    .map(|edge| ObjectRef::new(&edge.name).within(&edge.namespace))
    .filter(move |edge| std::future::ready(store.get(edge).is_some()))
}
