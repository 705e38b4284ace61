//! Two edges with the same credentials: which goes first.
//!
//! The one that is the node already; else the one whose keys are about to be enrolled; else the older one; else the one whose
//! name comes first. All watched namespaces count. Asked only before enrolment, and past all caches.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use kube::core::DeserializeGuard;
use kube::{Client, ResourceExt as _};
use tapir_wire::enrolment::Credentials;

use super::inputs;
use super::material::NODE_ANNOTATION;
use crate::api::TapirEdge;
use crate::edge::Referent;
use crate::names;
use crate::settings::Scope;

/// Claim of an edge on a node: the least one goes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    not_enrolled: bool,
    nothing_pending: bool,
    created: Option<Timestamp>,
    namespace: String,
    name: String,
}

/// The edge that goes before `edge` for this node, as `namespace/name`.
///
/// # Errors
/// When the API server cannot be asked.
pub(super) async fn first_rival(
    client: &Client,
    scope: &Scope,
    edge: &TapirEdge,
    node: &str,
) -> Result<Option<String>, kube::Error> {
    let own = claim(client, edge, node).await?;
    for other in all_edges(client, scope).await? {
        if other.uid() == edge.uid() || !wants(client, &other, node).await? {
            continue;
        }
        let other = claim(client, &other, node).await?;
        if other < own {
            return Ok(Some(format!("{}/{}", other.namespace, other.name)));
        }
    }
    Ok(None)
}

async fn all_edges(client: &Client, scope: &Scope) -> Result<Vec<TapirEdge>, kube::Error> {
    let mut edges = Vec::new();
    for api in scope.apis::<DeserializeGuard<TapirEdge>>(client) {
        let found = api.list(&ListParams::default()).await?;
        edges.extend(found.items.into_iter().filter_map(|guard| guard.0.ok()));
    }
    Ok(edges)
}

fn recorded(edge: &TapirEdge) -> Option<&String> {
    edge.annotations().get(NODE_ANNOTATION)
}

async fn wants(client: &Client, edge: &TapirEdge, node: &str) -> Result<bool, kube::Error> {
    if let Some(recorded) = recorded(edge) {
        return Ok(recorded == node);
    }
    let Referent::Found(bytes) = inputs::credentials(client, &edge.namespace().unwrap_or_default(), edge).await? else {
        return Ok(false);
    };
    let credentials = std::str::from_utf8(&bytes).ok().and_then(|text| Credentials::parse(text).ok());
    Ok(credentials.is_some_and(|credentials| credentials.name.as_str() == node))
}

async fn claim(client: &Client, edge: &TapirEdge, node: &str) -> Result<Claim, kube::Error> {
    let namespace = edge.namespace().unwrap_or_default();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let pending = secrets.get_metadata_opt(&names::pending(&edge.name_any())).await?;
    let pending = pending.is_some_and(|secret| secret.annotations().get(NODE_ANNOTATION).is_some_and(|pending| pending == node));
    Ok(Claim {
        not_enrolled: recorded(edge).is_none_or(|recorded| recorded != node),
        nothing_pending: !pending,
        created: edge.creation_timestamp().map(|time| time.0),
        namespace,
        name: edge.name_any(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(not_enrolled: bool, nothing_pending: bool, second: i64, name: &str) -> Claim {
        let created = Timestamp::from_second(second).ok();
        Claim { not_enrolled, nothing_pending, created, namespace: "dns".into(), name: name.into() }
    }

    #[test]
    fn the_order_is_total_and_the_node_itself_comes_first() {
        let enrolled = claim(false, true, 300, "z");
        let pending = claim(true, false, 200, "y");
        let older = claim(true, true, 100, "x");
        let same_time = claim(true, true, 100, "y");
        let mut claims = vec![same_time.clone(), older.clone(), pending.clone(), enrolled.clone()];
        claims.sort();
        assert_eq!(claims, [enrolled, pending, older, same_time]);
    }
}
