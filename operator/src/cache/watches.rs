//! The watches of one namespace, or of all, that feed the cache: edges and policies first, so that it is known of which other objects a
//! mark is worth keeping.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use futures::stream::StreamExt as _;
use futures::{FutureExt as _, pin_mut};
use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ObjectMeta};
use kube::core::PartialObjectMeta;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::index::Table;
use super::{Cache, Concerned, Edge, Kind, Policy, label};
use crate::api::LABEL_EDGE;
use crate::http::Readiness;
use crate::runner::Watched;
use crate::sidecars::EdgeKey;

/// A page of a list: decoding a large one at once would be the peak of memory.
const PAGE: u32 = 100;
/// Pause of each watch after an error.
const PAUSE: Duration = Duration::from_secs(1);
/// Pods that have ended carry no sidecars and answer nothing.
const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// All watches of the operator.
pub struct Feed {
    /// Each with a client for its watches.
    pub scopes: Vec<(Watched, Client)>,
    /// Bindings are of this operator's making, and it may watch them.
    pub bindings: bool,
    /// For the watch of bindings.
    pub client: Client,
    pub cache: Cache,
    pub readiness: Readiness,
    /// Hears of every edge that is no more.
    pub gone: Arc<dyn Fn(&EdgeKey) + Send + Sync>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Feed")
            .field("scopes", &self.scopes.iter().map(|(watched, _)| watched).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// Feeds the cache until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.feed() => {}
        }
    }

    async fn feed(self) {
        let scope = |watched: &Watched| Scope {
            watched: watched.clone(),
            cache: self.cache.clone(),
            readiness: self.readiness.clone(),
            open: watch::channel(false).0,
            edges_known: watch::channel(false).0,
        };
        let scopes: Vec<Scope> = self.scopes.iter().map(|(watched, _)| scope(watched)).collect();
        // Bindings are cluster-wide: one watch for all scopes, begun when it is known of which edges a mark is worth keeping.
        let (bindings_known, known) = watch::channel(!self.bindings);
        let everywhere = scope(&Watched::AllNamespaces);
        let bindings = async {
            if !self.bindings {
                return;
            }
            for scope in &scopes {
                let _ = scope.edges_known.subscribe().wait_for(|known| *known).await;
            }
            let api = Api::<PartialObjectMeta<MutatingAdmissionPolicyBinding>>::all(self.client.clone());
            let source = everywhere.marks("bindings", Kind::Binding, api, config().labels(LABEL_EDGE));
            let telling = async {
                let _ = source.synced.clone().wait_for(|synced| *synced).await;
                everywhere.open.send_replace(true);
                bindings_known.send_replace(true);
            };
            futures::join!(source.run, telling);
        };
        let scopes = scopes.iter().zip(&self.scopes);
        let scopes = scopes.map(|(scope, (_, client))| scope.feed(client, Arc::clone(&self.gone), known.clone()));
        futures::join!(join_all(scopes), bindings);
    }
}

fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// An even pause of a watch after an error, give or take half of it: one that grows would leave the operator deaf for half a minute after
/// the API server is back.
#[derive(Debug)]
struct Pause;

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(PAUSE.mul_f64(0.5 + rand::random::<f64>()))
    }
}

impl Backoff for Pause {
    fn reset(&mut self) {}
}

/// One namespace, or all.
struct Scope {
    watched: Watched,
    cache: Cache,
    readiness: Readiness,
    /// Everything was listed, or could not be: controllers may look at its edges.
    open: watch::Sender<bool>,
    edges_known: watch::Sender<bool>,
}

/// One watch.
struct Source<'a> {
    run: BoxFuture<'a, ()>,
    /// It told all that there is, or failed to.
    synced: watch::Receiver<bool>,
}

/// What happened to an object.
enum Change<K> {
    Is(K),
    Gone(Box<ObjectMeta>),
}

impl Scope {
    async fn feed(&self, client: &Client, gone: Arc<dyn Fn(&EdgeKey) + Send + Sync>, bindings_known: watch::Receiver<bool>) {
        let first = [self.edges(client, gone), self.policies(client)];
        let (begun, running): (Vec<_>, Vec<_>) = first.into_iter().map(|source| (source.synced, source.run)).unzip();
        let rest = async {
            all(begun).await;
            self.edges_known.send_replace(true);
            let rest = self.rest(client);
            let (mut synced, running): (Vec<_>, Vec<_>) = rest.into_iter().map(|source| (source.synced, source.run)).unzip();
            synced.push(bindings_known);
            let opening = async {
                all(synced).await;
                self.open();
            };
            futures::join!(opening, join_all(running));
        };
        futures::join!(join_all(running), rest);
    }

    fn edges(&self, client: &Client, gone: Arc<dyn Fn(&EdgeKey) + Send + Sync>) -> Source<'_> {
        self.source("edges", Table::Edges, self.watched.api::<Edge>(client), config(), move |cache, change| match change {
            Change::Is(edge) => cache.apply_edge(edge),
            Change::Gone(metadata) => {
                let concerned = cache.remove_edge(&metadata);
                gone(&super::key_of(&metadata));
                // When one of two edges with the same credentials goes, the other may come.
                for edge in cache.edges().state().iter().filter_map(|edge| edge.0.as_ref().ok()).filter(|edge| is_shared(edge)) {
                    cache.0.changed_identities.push(edge.key());
                }
                concerned
            }
        })
    }

    fn policies(&self, client: &Client) -> Source<'_> {
        let api = self.watched.api::<Policy>(client);
        self.source("policies", Table::Marks(Kind::Policy), api, config(), |cache, change| match change {
            Change::Is(policy) => {
                let concerned = match &policy.0 {
                    Ok(policy) => cache.indexes().policy(policy),
                    Err(invalid) => cache.indexes().policy_gone(&invalid.metadata),
                };
                cache.0.policies.write(&Event::Apply(policy));
                concerned
            }
            Change::Gone(metadata) => {
                let concerned = cache.indexes().policy_gone(&metadata);
                cache.0.policies.write(&Event::Delete(vanished(*metadata)));
                concerned
            }
        })
    }

    fn rest(&self, client: &Client) -> [Source<'_>; 5] {
        let labelled = || config().labels(LABEL_EDGE);
        let pods = self.watched.api::<PartialObjectMeta<Pod>>(client);
        let slices = self.watched.api::<EndpointSlice>(client);
        // The edges of a namespace that is being deleted go at once, before the rights to let them go do.
        let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
        [
            self.source("Pods", Table::Pods, pods, labelled().fields(NOT_ENDED), |cache, change| match change {
                Change::Is(pod) => cache.indexes().pod(&pod.metadata),
                Change::Gone(metadata) => cache.indexes().pod_gone(&metadata),
            }),
            self.source("EndpointSlices", Table::Slices, slices, labelled(), |cache, change| match change {
                Change::Is(slice) => cache.indexes().slice(&slice),
                Change::Gone(metadata) => cache.indexes().slice_gone(&metadata),
            }),
            self.marks("Secrets", Kind::Secret, self.watched.api::<PartialObjectMeta<Secret>>(client), config()),
            self.marks("ConfigMaps", Kind::ConfigMap, self.watched.api::<PartialObjectMeta<ConfigMap>>(client), config()),
            self.marks("namespaces", Kind::Namespace, namespaces, self.watched.namespaces()),
        ]
    }

    fn marks<K>(&self, what: &'static str, kind: Kind, api: Api<PartialObjectMeta<K>>, config: watcher::Config) -> Source<'_>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    {
        self.source(what, Table::Marks(kind), api, config, move |cache, change| match change {
            Change::Is(object) => cache.indexes().object(kind, &object.metadata),
            Change::Gone(metadata) => cache.indexes().gone(kind, &metadata),
        })
    }

    fn source<K>(
        &self,
        what: &'static str,
        table: Table,
        api: Api<K>,
        config: watcher::Config,
        take: impl Fn(&Cache, Change<K>) -> Concerned + Send + Sync + 'static,
    ) -> Source<'_>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let (tell, synced) = watch::channel(false);
        let namespace = match &self.watched {
            Watched::AllNamespaces => None,
            Watched::Namespace(name) => Some(name.as_str()),
        };
        let name = label(what, namespace);
        self.readiness.expect(&name);
        let run = async move {
            let mut listing = None;
            let mut failing = false;
            let events = watcher(api, config).backoff(Pause);
            pin_mut!(events);
            while let Some(event) = events.next().await {
                let event = match event {
                    Ok(event) => event,
                    Err(error) => {
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(watch = name, error = %error, "a watch fails: it is tried again, and what it would tell is not known meanwhile");
                        }
                        tell.send_replace(true);
                        continue;
                    }
                };
                if std::mem::take(&mut failing) {
                    tracing::info!(watch = name, "a watch is back");
                }
                match event {
                    Event::Init => listing = Some(HashSet::new()),
                    Event::InitApply(object) => {
                        if let Some(listed) = &mut listing {
                            let metadata = object.meta();
                            listed.insert((
                                metadata.namespace.clone().unwrap_or_default(),
                                metadata.name.clone().unwrap_or_default(),
                            ));
                        }
                        self.tell(take(&self.cache, Change::Is(object)));
                    }
                    Event::InitDone => {
                        for metadata in self.vanished(table, &listing.take().unwrap_or_default()) {
                            self.tell(take(&self.cache, Change::Gone(Box::new(metadata))));
                        }
                        self.cache.set_synced(what, namespace, true);
                        self.readiness.reached(&name);
                        tell.send_replace(true);
                    }
                    Event::Apply(object) => self.tell(take(&self.cache, Change::Is(object))),
                    Event::Delete(object) => self.tell(take(&self.cache, Change::Gone(Box::new(object.meta().clone())))),
                }
            }
        };
        Source { run: run.boxed(), synced }
    }

    /// What is known and not in the new list.
    fn vanished(&self, table: Table, listed: &HashSet<(String, String)>) -> Vec<ObjectMeta> {
        // Bindings are known by their edges, and a list of them names others: one that vanished unseen is found by the forced look.
        if matches!(table, Table::Marks(Kind::Binding | Kind::Namespace)) {
            return Vec::new();
        }
        let known = self.cache.indexes().known(table, |namespace| match &self.watched {
            Watched::AllNamespaces => true,
            Watched::Namespace(name) => name == namespace,
        });
        let vanished = known.into_iter().filter(|place| !listed.contains(place));
        vanished
            .map(|(namespace, name)| ObjectMeta { namespace: Some(namespace), name: Some(name), ..ObjectMeta::default() })
            .collect()
    }

    fn tell(&self, concerned: Concerned) {
        if *self.open.borrow() {
            self.cache.tell(concerned);
        }
    }

    /// From now on changes are told, and everything that came before is told now.
    fn open(&self) {
        self.open.send_replace(true);
        let ours = |metadata: &ObjectMeta| match &self.watched {
            Watched::AllNamespaces => true,
            Watched::Namespace(name) => metadata.namespace.as_deref() == Some(name),
        };
        let edges =
            self.cache.edges().state().into_iter().filter(|edge| ours(edge.meta())).map(|edge| super::key_of(edge.meta()));
        let policies = self.cache.policies().state().into_iter().filter(|policy| ours(policy.meta()));
        let policies = policies.map(|policy| super::key_of(policy.meta())).map(|key| (key.namespace, key.name));
        self.cache.tell(Concerned { edges: edges.collect(), policies: policies.collect() });
    }
}

async fn all(synced: Vec<watch::Receiver<bool>>) {
    for mut synced in synced {
        let _ = synced.wait_for(|synced| *synced).await;
    }
}

/// What stands for an object that is gone: only its place counts.
pub(super) fn vanished<K: Resource>(metadata: ObjectMeta) -> kube::core::DeserializeGuard<K> {
    kube::core::DeserializeGuard(Err(kube::core::error_boundary::InvalidObject { error: String::new(), metadata }))
}

fn is_shared(edge: &super::LeanEdge) -> bool {
    let conditions = edge.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| &*condition.reason == "CredentialsShared")
}
