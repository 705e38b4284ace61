//! What outlives an edge: its disabled configuration until no Pod mounts it, and a retained identity that somebody deletes. And what outlives
//! an operator: Pods that pulled an image.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Preconditions};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::EventType;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::api::reasons::EventReason;
use crate::api::{ANNOTATION_PODS_LEFT, FINALIZER_IDENTITY, LABEL_EDGE, TapirEdge};
use crate::apply::{APPLIED_ANNOTATION, ApplyError, apply};
use crate::build::edm_config_name;
use crate::edge::{Context, publish_event};
use crate::identity::material::facts;
use crate::identity::secrets::Secrets;
use crate::names::{FIELD_MANAGER, LABEL_MANAGED_BY, LABEL_OFFBOARDED};
use crate::pods::{Injection, classify};
use crate::rollout::{self, LABEL_PULL_FOR};
use crate::runner::{Watched, Work};
use crate::sidecars::EdgeKey;

/// Objects looked at at the same time.
const CONCURRENCY: u16 = 2;

/// How often Pods of a gone edge are counted.
const RECOUNT: Duration = Duration::from_mins(1);

/// How many Pods are listed by name.
const MOST_LISTED: usize = 10;
/// What labels and annotations of the operator's own begin with.
const OWN: [&str; 2] = ["dnstapir.se/", "app.kubernetes.io/"];

/// While an edge is on its way out.
const SOON: Duration = Duration::from_secs(2);

/// Why something was not cleared away.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub enum LeftoverError {
    #[error("looking for the edge: {0}")]
    FindEdge(#[source] kube::Error),
    #[error("counting Pods: {0}")]
    ListPods(#[source] kube::Error),
    #[error("listing the Pods that are left: {0}")]
    ListLeft(#[source] kube::Error),
    #[error("removing the disabled configuration: {0}")]
    RemoveConfiguration(#[source] kube::Error),
    #[error("removing a Pod that pulled an image: {0}")]
    RemovePull(#[source] kube::Error),
    #[error("releasing a retained identity: {0}")]
    ReleaseIdentity(#[source] kube::Error),
}

/// Runs the controllers of one scope until `stop`. The client is for their watches.
pub async fn run((watched, client): (Watched, Client), context: Arc<Context>, stop: CancellationToken) {
    let labelled = |labels: String| watcher::Config::default().labels(&labels);
    let maps = watched.api::<PartialObjectMeta<ConfigMap>>(&client);
    let maps = Controller::new(maps, labelled(format!("{LABEL_OFFBOARDED}=true")));
    let secrets = watched.api::<PartialObjectMeta<Secret>>(&client);
    let secrets = deleted(secrets, labelled(format!("{LABEL_MANAGED_BY}={FIELD_MANAGER}")));
    let maps = Work::of("configuration", maps, CONCURRENCY, &context.metrics);
    let secrets = Work::of("retained", secrets, CONCURRENCY, &context.metrics);
    // Without them the operator may not remove Pods, and has made none.
    let pulls = context.settings.rollout.pre_pull.then(|| {
        let pods = watched.api::<PartialObjectMeta<Pod>>(&client);
        let pods = Controller::new(pods, labelled(format!("{LABEL_PULL_FOR},{LABEL_MANAGED_BY}={FIELD_MANAGER}")));
        Work::of("pull", pods, CONCURRENCY, &context.metrics)
    });
    let reason = |error: &LeftoverError| -> &'static str { error.into() };
    let pulls = async {
        if let Some(pulls) = pulls {
            pulls.drive(pull, Arc::clone(&context), stop.clone(), reason).await;
        }
    };
    futures::join!(
        pulls,
        maps.drive(configuration, Arc::clone(&context), stop.clone(), reason),
        secrets.drive(identity, Arc::clone(&context), stop.clone(), reason),
    );
}

/// A controller of those objects alone that are to go: the others, five of each edge, are not even kept.
fn deleted<K>(api: Api<K>, config: watcher::Config) -> Controller<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let goes = |event: &Event<K>| match event {
        Event::Apply(object) | Event::InitApply(object) => object.meta().deletion_timestamp.is_some(),
        Event::Delete(_) | Event::Init | Event::InitDone => true,
    };
    let (store, writer) = reflector::store();
    let events = watcher(api, config).try_filter(move |event| ready(goes(event)));
    Controller::for_stream(reflector(writer, events).applied_objects(), store)
}

/// Configuration of an edge that is gone stays until no Pod mounts it.
///
/// # Errors
/// When the API server fails.
pub async fn configuration(map: Arc<PartialObjectMeta<ConfigMap>>, context: Arc<Context>) -> Result<Action, LeftoverError> {
    let Some((namespace, edge)) = place(&map.metadata) else { return Ok(Action::await_change()) };
    match find_edge(&context, &namespace, &edge).await? {
        Some(edge) if edge.metadata.deletion_timestamp.is_some() => return Ok(Action::requeue(SOON)),
        Some(_) => return Ok(Action::requeue(RECOUNT)),
        None => {}
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let found =
        pods.list(&ListParams::default().labels(&format!("{LABEL_EDGE}={edge}"))).await.map_err(LeftoverError::ListPods)?;
    let injected = |pod: &&Pod| classify(pod, "", None).is_some_and(|view| view.injection == Injection::Injected);
    let left: Vec<String> = found.items.iter().filter(injected).map(Pod::name_any).collect();
    context.metrics.left(&EdgeKey { namespace: namespace.clone(), name: edge.clone() }, left.len());
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &namespace);
    if !left.is_empty() {
        list(&context, &api, &map, &edge, left).await?;
        return Ok(Action::requeue(RECOUNT));
    }
    let preconditions = Preconditions { resource_version: map.resource_version(), uid: map.uid() };
    match api.delete(&map.name_any(), &DeleteParams::default().preconditions(preconditions)).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        other => drop(other.map_err(LeftoverError::RemoveConfiguration)?),
    }
    tracing::info!(namespace, edge, object = map.name_any(), "removed the configuration of an edge that is gone");
    Ok(Action::await_change())
}

/// Writes down at the configuration which Pods still mount it. One that is taken over by a new edge loses the list, because that edge's own
/// rendering has none.
async fn list(
    context: &Context,
    api: &Api<ConfigMap>,
    map: &PartialObjectMeta<ConfigMap>,
    edge: &str,
    mut left: Vec<String>,
) -> Result<(), LeftoverError> {
    let count = left.len();
    left.sort_unstable();
    left.truncate(MOST_LISTED);
    let said = format!("{count}: {}{}", left.join(" "), if count > MOST_LISTED { " …" } else { "" });
    let before = map.annotations().get(ANNOTATION_PODS_LEFT);
    if before == Some(&said) {
        return Ok(());
    }
    let name = map.name_any();
    let Some(mut wanted) = api.get_opt(&name).await.map_err(LeftoverError::ListLeft)? else { return Ok(()) };
    // A new edge may have taken it over by now, or may do so before it is written.
    if !wanted.labels().contains_key(LABEL_OFFBOARDED) {
        return Ok(());
    }
    // Only what is the operator's own is applied again.
    let ours = |labels: &BTreeMap<String, String>| {
        let own =
            labels.iter().filter(|(name, _)| OWN.iter().any(|prefix| name.starts_with(prefix)) && *name != APPLIED_ANNOTATION);
        own.map(|(name, value)| (name.clone(), value.clone())).collect::<BTreeMap<_, _>>()
    };
    let mut annotations = ours(wanted.annotations());
    annotations.insert(ANNOTATION_PODS_LEFT.to_owned(), said.clone());
    wanted.metadata = ObjectMeta {
        name: Some(name.clone()),
        namespace: wanted.namespace(),
        resource_version: wanted.resource_version(),
        labels: Some(ours(wanted.labels())),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    match apply(api, &wanted).await {
        Ok(_) | Err(ApplyError::Foreign { .. }) => {}
        Err(ApplyError::Api(kube::Error::Api(status))) if status.code == 409 => return Ok(()),
        Err(ApplyError::Api(error)) => return Err(LeftoverError::ListLeft(error)),
        Err(ApplyError::Json(error)) => return Err(LeftoverError::ListLeft(kube::Error::SerdeError(error))),
    }
    if before.is_none() && name == edm_config_name(edge) {
        let note = format!("TapirEdge {edge} is gone, and Pods still carry its sidecars, which send nothing: {said}");
        let reference = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("ConfigMap".to_owned()),
            name: Some(name),
            namespace: map.namespace(),
            uid: map.uid(),
            ..ObjectReference::default()
        };
        publish_event(&context.events, &reference, EventReason::PodsLeft, EventType::Normal, note).await;
    }
    Ok(())
}

/// A rollout removes the Pods that it pulled with, unless the operator that made them ended first.
///
/// # Errors
/// When the API server fails.
pub async fn pull(pod: Arc<PartialObjectMeta<Pod>>, context: Arc<Context>) -> Result<Action, LeftoverError> {
    let edge = pod.labels().get(LABEL_PULL_FOR);
    let (Some(namespace), Some(edge), None) = (pod.namespace(), edge, pod.metadata.deletion_timestamp.as_ref()) else {
        return Ok(Action::await_change());
    };
    let created = pod.creation_timestamp().map(|time| time.0).unwrap_or_default();
    let age = Duration::try_from(context.keeper.clock.now().duration_since(created)).unwrap_or_default();
    // The rollout that it was made for may not be written down yet.
    if age < RECOUNT || !pod.name_any().starts_with("tapir-pull-") {
        return Ok(Action::requeue(RECOUNT));
    }
    let edges: Api<DeserializeGuard<TapirEdge>> = Api::namespaced(context.client.clone(), &namespace);
    let found = edges.get_opt(edge).await.map_err(LeftoverError::FindEdge)?.and_then(|edge| edge.0.ok());
    let rolling = |edge: &TapirEdge| edge.metadata.deletion_timestamp.is_none() && rollout::is_under_way(edge);
    if found.as_ref().is_some_and(rolling) {
        return Ok(Action::requeue(RECOUNT));
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
    match pods.delete(&pod.name_any(), &DeleteParams::default().preconditions(preconditions)).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        other => drop(other.map_err(LeftoverError::RemovePull)?),
    }
    tracing::info!(namespace, edge, pod = pod.name_any(), "removed a Pod that had pulled an image for a rollout that is over");
    Ok(Action::await_change())
}

/// While an edge exists, it brings a deleted identity back. Without one, deleting the Secret is the documented way to destroy it.
///
/// # Errors
/// When the API server fails.
pub async fn identity(secret: Arc<PartialObjectMeta<Secret>>, context: Arc<Context>) -> Result<Action, LeftoverError> {
    let held = secret.finalizers().iter().any(|finalizer| finalizer == FINALIZER_IDENTITY);
    let Some((namespace, edge)) = place(&secret.metadata) else { return Ok(Action::await_change()) };
    if !held || secret.metadata.deletion_timestamp.is_none() {
        return Ok(Action::await_change());
    }
    // Edges are not watched here, and one may go without having touched the Secret.
    match find_edge(&context, &namespace, &edge).await? {
        Some(edge) if edge.metadata.deletion_timestamp.is_some() => return Ok(Action::requeue(SOON)),
        Some(_) => return Ok(Action::requeue(RECOUNT)),
        None => {}
    }
    let secrets = Secrets::new(&context.client, &namespace, &edge);
    let found = secrets.read().await.map_err(LeftoverError::ReleaseIdentity)?;
    let Some(identity) = found.identity.filter(|identity| identity.uid() == secret.uid()) else {
        return Ok(Action::await_change());
    };
    if found.rescue.as_ref().is_some_and(|rescue| !same_key(&identity, rescue)) {
        // It is looked at again and again, and said once.
        if context.stuck.is_news(&identity, found.rescue.as_ref()) {
            tracing::error!(
                namespace,
                edge,
                "a deleted identity is kept, because the rescued copy beside it holds another data key: delete that copy to let the identity go"
            );
        }
        return Ok(Action::requeue(RECOUNT));
    }
    context.stuck.is_over(&identity);
    match secrets.release(&identity).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(Action::requeue(Duration::from_secs(1))),
        other => other.map_err(LeftoverError::ReleaseIdentity)?,
    }
    tracing::info!(namespace, edge, "released a deleted identity that belongs to no edge");
    Ok(Action::await_change())
}

/// Deleted identities that cannot go, as they were when that was said; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Stuck(Arc<Mutex<HashMap<String, [Option<String>; 2]>>>);

/// Beyond this all are said again, which is better than growing with Secrets that went otherwise.
const MOST_STUCK: usize = 1024;

impl Stuck {
    fn is_news(&self, identity: &Secret, rescue: Option<&Secret>) -> bool {
        let state = [identity.resource_version(), rescue.and_then(|rescue| rescue.resource_version())];
        let mut stuck = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stuck.len() >= MOST_STUCK {
            stuck.clear();
        }
        stuck.insert(identity.uid().unwrap_or_default(), state.clone()) != Some(state)
    }

    fn is_over(&self, identity: &Secret) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&identity.uid().unwrap_or_default());
    }
}

/// Whether two Secrets hold the same data key. Keys that cannot be read are the same only as the same content.
fn same_key(one: &Secret, other: &Secret) -> bool {
    let (one, other) = (facts(one), facts(other));
    one.content == other.content || (one.data_key.is_some() && one.data_key == other.data_key)
}

fn place(metadata: &kube::api::ObjectMeta) -> Option<(String, String)> {
    Some((metadata.namespace.clone()?, metadata.labels.as_ref()?.get(LABEL_EDGE)?.clone()))
}

async fn find_edge(
    context: &Context,
    namespace: &str,
    edge: &str,
) -> Result<Option<PartialObjectMeta<TapirEdge>>, LeftoverError> {
    let api: Api<TapirEdge> = Api::namespaced(context.client.clone(), namespace);
    api.get_metadata_opt(edge).await.map_err(LeftoverError::FindEdge)
}
