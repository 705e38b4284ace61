//! Fetches what the specification of an edge points at. No judgement here.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::api::Api;
use tapir_wire::node::{CRYPTOPAN_KEY, DATA_KEY};

use super::error::EdgeError;
use super::sources::{self, Lack};
use crate::api::{TapirEdge, TapirPolicy};
use crate::build::Contents;
use crate::cache::Cache;
use crate::identity::secrets::namespace_terminating;
use crate::names;
use crate::sidecars::EdgeKey;

/// What is there of what was pointed at.
#[derive(Debug)]
pub(super) struct Dereferenced {
    pub namespace_terminating: bool,
    pub policy: Option<Referent<PolicyFound>>,
    pub well_known_domains: Option<Referent<ByteString>>,
    /// Whom Core's HTTPS services are trusted by, where that is said.
    pub core_ca: Option<Referent<String>>,
    /// The node's secret of pseudonyms, where EDM makes any.
    pub cryptopan_key: Option<Referent<ByteString>>,
    /// The node's, where POP signs anything.
    pub data_key: Option<Referent<ByteString>>,
}

/// A policy with what its sources point at.
#[derive(Debug)]
pub(super) struct PolicyFound {
    pub policy: TapirPolicy,
    pub contents: Result<Contents, Lack>,
}

/// One thing that was pointed at.
#[derive(Clone, Debug)]
pub enum Referent<T> {
    Found(T),
    /// What is not there, in words.
    Missing(String),
}

/// Fetches all of it.
///
/// # Errors
/// When the API server cannot be asked.
pub(super) async fn dereference(
    client: &Client,
    cache: &Cache,
    key: &EdgeKey,
    edge: &TapirEdge,
) -> Result<Dereferenced, EdgeError> {
    fetch(client, cache, key, edge).await.map_err(EdgeError::Dereference)
}

async fn fetch(client: &Client, cache: &Cache, key: &EdgeKey, edge: &TapirEdge) -> Result<Dereferenced, kube::Error> {
    let namespace = key.namespace.as_str();
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let spec = &edge.spec;
    Ok(Dereferenced {
        namespace_terminating: !cache.stays(namespace) && namespace_terminating(client, namespace).await?,
        policy: match spec.pop.policy_ref.as_ref().filter(|_| spec.pop.enabled) {
            None => None,
            Some(reference) => Some(policy(client, key, &reference.name).await?),
        },
        well_known_domains: match spec.edm.well_known_domains.as_ref().and_then(|list| list.config_map_ref.as_ref()) {
            None => None,
            Some(reference) => {
                let found = config_maps.get_opt(&reference.name).await?;
                Some(member("ConfigMap", &reference.name, &reference.key, found, |map| map.binary_data?.remove(&reference.key)))
            }
        },
        core_ca: match &spec.core.ca_bundle {
            None => None,
            Some(bundle) => {
                let reference = &bundle.config_map_ref;
                let found = config_maps.get_opt(&reference.name).await?;
                Some(member("ConfigMap", &reference.name, &reference.key, found, |map| map.data?.remove(&reference.key)))
            }
        },
        cryptopan_key: if spec.edm.makes_pseudonyms() { Some(of_identity(client, key, CRYPTOPAN_KEY).await?) } else { None },
        data_key: if spec.pop.tells_core() { Some(of_identity(client, key, DATA_KEY).await?) } else { None },
    })
}

/// A member of the node's identity.
async fn of_identity(client: &Client, key: &EdgeKey, name: &str) -> Result<Referent<ByteString>, kube::Error> {
    let identity = names::identity(&key.name);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let found = secrets.get_opt(&identity).await?;
    Ok(member("Secret", &identity, name, found, |secret| secret.data?.remove(name)))
}

async fn policy(client: &Client, key: &EdgeKey, name: &str) -> Result<Referent<PolicyFound>, kube::Error> {
    let policies: Api<kube::core::DeserializeGuard<TapirPolicy>> = Api::namespaced(client.clone(), &key.namespace);
    let Some(found) = policies.get_opt(name).await? else {
        return Ok(Referent::Missing(format!("there is no TapirPolicy {name} in this namespace")));
    };
    let policy = match found.0 {
        Err(error) => return Ok(Referent::Missing(format!("TapirPolicy {name} cannot be read: {error}"))),
        Ok(policy) => policy,
    };
    let contents = sources::fetch(client, &key.namespace, &policy.spec).await?;
    Ok(Referent::Found(PolicyFound { policy, contents }))
}

/// A member of an object that was fetched.
pub(crate) fn member<K, T>(
    kind: &str,
    name: &str,
    key: &str,
    object: Option<K>,
    take: impl FnOnce(K) -> Option<T>,
) -> Referent<T> {
    match object {
        None => Referent::Missing(format!("there is no {kind} {name} in this namespace")),
        Some(object) => {
            take(object).map_or_else(|| Referent::Missing(format!("{kind} {name} has no key {key}")), Referent::Found)
        }
    }
}
