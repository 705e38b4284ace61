//! Two edges with the same credentials: which goes first.
//!
//! The one that is the node already; else the one whose keys are about to be enrolled; else the older one; else the one whose
//! name comes first. All watched namespaces count. All edges are looked at once, when the first one is to be enrolled; from then on each
//! says itself what it wants before it is enrolled, so that a thousand new edges cost a thousand looks and not a million. Only a rival that
//! would go first is looked at again.
//!
//! A namespace that cannot be read holds up its own edges and no others: who is a node there already is so to Core too, which takes no
//! second data key for it, so the worst that may follow is that the younger of two edges with the same credentials is the node.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use kube::core::DeserializeGuard;
use kube::{Client, ResourceExt as _};
use tokio::sync::Mutex;

use super::inputs::{self, IdentityInputs};
use super::material::NODE_ANNOTATION;
use super::validate;
use crate::api::TapirEdge;
use crate::edge::Referent;
use crate::names;
use crate::settings::Scope;
use crate::sidecars::EdgeKey;

/// Edges that are looked at at the same time.
const AT_ONCE: usize = 8;
/// Edges in one answer of the API server.
const PAGE: u32 = 500;

/// When a namespace that could not be read is tried again, if an edge is to be enrolled then.
const AGAIN: Duration = Duration::from_mins(1);

/// What edges want to be which node; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Rivals(Arc<Mutex<Roster>>);

#[derive(Debug, Default)]
struct Roster {
    /// Namespaces whose edges were listed; an empty name stands for all.
    listed: HashSet<String>,
    /// Edges that were listed and could not be looked at.
    waiting: BTreeSet<EdgeKey>,
    /// Namespaces that could not be read, and when they are tried again.
    unreadable: HashMap<String, Instant>,
    edges: HashMap<EdgeKey, Claimant>,
}

/// One edge, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claimant {
    created: Option<Timestamp>,
    /// Node that it is.
    recorded: Option<String>,
    /// Node that its credentials are for.
    wants: Option<String>,
    /// Node that it has keys for, or is about to make keys for.
    pending: Option<String>,
}

/// Claim of an edge on a node: the least one goes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    not_enrolled: bool,
    nothing_pending: bool,
    created: Option<Timestamp>,
    namespace: String,
    name: String,
}

impl Claimant {
    fn claim(&self, key: &EdgeKey, node: &str) -> Option<Claim> {
        let is = |name: &Option<String>| name.as_deref() == Some(node);
        // An edge that is a node becomes another one only when Core removed its own: then it has keys for it.
        let claims = is(&self.recorded) || is(&self.wants) && (self.recorded.is_none() || is(&self.pending));
        claims.then(|| self.own_claim(key, node))
    }

    fn own_claim(&self, key: &EdgeKey, node: &str) -> Claim {
        Claim {
            not_enrolled: self.recorded.as_deref() != Some(node),
            nothing_pending: self.pending.as_deref() != Some(node),
            created: self.created,
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        }
    }
}

impl Rivals {
    /// The edge that goes before `edge` for this node, as `namespace/name`. If there is none, it is `edge` that goes first from now on.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn first(
        &self,
        client: &Client,
        scope: &Scope,
        edge: &TapirEdge,
        node: &str,
    ) -> Result<Option<String>, kube::Error> {
        let key = key(edge);
        let pending = pending(client, &key).await?;
        let mut roster = self.0.lock().await;
        roster.complete(client, scope, Instant::now()).await?;
        let intended = roster.edges.get(&key).and_then(|known| known.pending.clone()).filter(|intended| intended == node);
        let own = Claimant {
            created: edge.creation_timestamp().map(|time| time.0),
            recorded: recorded(edge),
            wants: Some(node.to_owned()),
            pending: pending.or(intended),
        };
        let claim = own.own_claim(&key, node);
        roster.edges.insert(key.clone(), own);
        let mut seen: Option<EdgeKey> = None;
        loop {
            let others = roster.edges.iter().filter(|(other, _)| **other != key);
            let before = others.filter_map(|(other, claimant)| Some((claimant.claim(other, node)?, other)));
            let Some((_, first)) = before.filter(|(other, _)| *other < claim).min() else {
                if let Some(own) = roster.edges.get_mut(&key) {
                    own.pending = Some(node.to_owned());
                }
                return Ok(None);
            };
            let first = first.clone();
            if seen.as_ref() == Some(&first) {
                return Ok(Some(format!("{}/{}", first.namespace, first.name)));
            }
            // It may have gone, or want something else by now. Where that cannot be seen, what was known stands.
            let now = match look(client, &first).await {
                Err(error) if is_of_the_namespace(&error) => {
                    return Ok(Some(format!("{}/{}", first.namespace, first.name)));
                }
                other => other?,
            };
            match now {
                Some(mut now) => {
                    // What it is about to do is known here only.
                    let intended = roster.edges.get(&first).and_then(|known| known.pending.clone());
                    now.pending = now.pending.or(intended.filter(|_| now.wants.as_deref() == Some(node)));
                    roster.edges.insert(first.clone(), now);
                }
                None => {
                    roster.edges.remove(&first);
                }
            }
            seen = Some(first);
        }
    }

    /// The edge is gone.
    pub async fn forget(&self, edge: &EdgeKey) {
        self.0.lock().await.edges.remove(edge);
    }
}

impl Roster {
    /// Looks at all edges that were not looked at yet.
    async fn complete(&mut self, client: &Client, scope: &Scope, now: Instant) -> Result<(), kube::Error> {
        let mut looks: Vec<(EdgeKey, Option<TapirEdge>)> = Vec::new();
        for (namespace, api) in scope.apis::<DeserializeGuard<TapirEdge>>(client) {
            if self.listed.contains(namespace) || !self.may_try(namespace, now) {
                continue;
            }
            match list(&api).await {
                Ok(edges) => {
                    self.listed.insert(namespace.to_owned());
                    self.waiting.extend(edges.iter().map(key));
                    looks.extend(edges.into_iter().map(|edge| (key(&edge), Some(edge))));
                }
                Err(error) if !namespace.is_empty() && is_of_the_namespace(&error) => self.unreadable(namespace, &error, now),
                Err(error) => return Err(error),
            }
        }
        let before = self.waiting.iter().filter(|edge| !looks.iter().any(|(new, _)| new == *edge));
        let before: Vec<EdgeKey> = before.filter(|edge| self.may_try(&edge.namespace, now)).cloned().collect();
        looks.extend(before.into_iter().map(|edge| (edge, None)));
        let looks = looks.into_iter().map(async |(key, edge)| {
            let look = match edge {
                // An edge that is a node wants no other, as a rule: it costs no further look.
                Some(edge) => claimant(client, &edge, recorded(&edge).is_none()).await.map(Some),
                None => look(client, &key).await,
            };
            (look, key)
        });
        let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
        let mut failed = None;
        while let Some((look, edge)) = looks.next().await {
            match look {
                Ok(claimant) => {
                    self.waiting.remove(&edge);
                    self.edges.extend(claimant.map(|claimant| (edge, claimant)));
                }
                Err(error) if is_of_the_namespace(&error) => self.unreadable(&edge.namespace, &error, now),
                Err(error) => failed = Some(error),
            }
        }
        self.tell_of_readable();
        failed.map_or(Ok(()), Err)
    }

    fn may_try(&self, namespace: &str, now: Instant) -> bool {
        self.unreadable.get(namespace).is_none_or(|next| *next <= now)
    }

    fn unreadable(&mut self, namespace: &str, error: &kube::Error, now: Instant) {
        if self.unreadable.insert(namespace.to_owned(), now + AGAIN).is_none() {
            tracing::warn!(
                namespace,
                error = %error,
                "the edges of a namespace cannot be looked at: they wait, and the others enrol without knowing whose credentials they have"
            );
        }
    }

    fn tell_of_readable(&mut self) {
        let Self { listed, waiting, unreadable, .. } = self;
        unreadable.retain(|namespace, _| {
            let there = listed.contains(namespace) || listed.contains("");
            let well = there && !waiting.iter().any(|edge| edge.namespace == *namespace);
            if well {
                tracing::info!(namespace, "the edges of a namespace can be looked at again");
            }
            !well
        });
    }
}

/// Whether the API server is there, and refuses or fails at what was asked of it.
fn is_of_the_namespace(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if !matches!(status.code, 401 | 429))
}

async fn list(api: &Api<DeserializeGuard<TapirEdge>>) -> Result<Vec<TapirEdge>, kube::Error> {
    let mut edges = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let found = api.list(&page).await?;
        edges.extend(found.items.into_iter().filter_map(|guard| guard.0.ok()));
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(edges),
        }
    }
}

async fn look(client: &Client, key: &EdgeKey) -> Result<Option<Claimant>, kube::Error> {
    let api: Api<DeserializeGuard<TapirEdge>> = Api::namespaced(client.clone(), &key.namespace);
    match api.get_opt(&key.name).await?.and_then(|guard| guard.0.ok()) {
        None => Ok(None),
        Some(edge) => claimant(client, &edge, true).await.map(Some),
    }
}

async fn claimant(client: &Client, edge: &TapirEdge, closely: bool) -> Result<Claimant, kube::Error> {
    let (wants, pending) = if closely { (wants(client, edge).await?, pending(client, &key(edge)).await?) } else { (None, None) };
    Ok(Claimant { created: edge.creation_timestamp().map(|time| time.0), recorded: recorded(edge), wants, pending })
}

fn recorded(edge: &TapirEdge) -> Option<String> {
    edge.annotations().get(NODE_ANNOTATION).cloned()
}

async fn wants(client: &Client, edge: &TapirEdge) -> Result<Option<String>, kube::Error> {
    let namespace = edge.namespace().unwrap_or_default();
    let found = IdentityInputs {
        namespace_terminating: false,
        credentials: inputs::credentials(client, &namespace, edge).await?,
        existing: inputs::existing(client, &namespace, edge).await?,
        ca_bundle: None::<Referent<String>>,
    };
    Ok(validate::credentials(&found, &edge.spec).usable().map(|(node, ..)| node.to_string()))
}

async fn pending(client: &Client, key: &EdgeKey) -> Result<Option<String>, kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let pending = secrets.get_metadata_opt(&names::pending(&key.name)).await?;
    Ok(pending.and_then(|secret| secret.annotations().get(NODE_ANNOTATION).cloned()))
}

fn key(edge: &TapirEdge) -> EdgeKey {
    EdgeKey { namespace: edge.namespace().unwrap_or_default(), name: edge.name_any() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(recorded: bool, pending: bool, second: i64, name: &str) -> Claim {
        let node = |is: bool| is.then(|| "a.edge.test".to_owned());
        let claimant = Claimant {
            created: Timestamp::from_second(second).ok(),
            recorded: node(recorded),
            wants: node(true),
            pending: node(pending),
        };
        claimant.claim(&EdgeKey { namespace: "dns".into(), name: name.into() }, "a.edge.test").unwrap()
    }

    #[test]
    fn the_order_is_total_and_the_node_itself_comes_first() {
        let enrolled = claim(true, false, 300, "z");
        let pending = claim(false, true, 200, "y");
        let older = claim(false, false, 100, "x");
        let same_time = claim(false, false, 100, "y");
        let mut claims = vec![same_time.clone(), older.clone(), pending.clone(), enrolled.clone()];
        claims.sort();
        assert_eq!(claims, [enrolled, pending, older, same_time]);
    }

    #[test]
    fn an_edge_that_is_a_node_wants_another_only_once_it_has_keys_for_it() {
        let (recorded, wants) = (Some("b.edge.test".to_owned()), Some("a.edge.test".to_owned()));
        let claimant = Claimant { created: None, recorded, wants: wants.clone(), pending: None };
        let key = EdgeKey { namespace: "dns".into(), name: "x".into() };
        assert_eq!(claimant.claim(&key, "a.edge.test"), None);
        assert!(Claimant { pending: wants, ..claimant }.claim(&key, "a.edge.test").is_some());
    }
}
