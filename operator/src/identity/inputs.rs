//! Fetches what the identity of an edge depends on. No judgement here.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::api::Api;
use zeroize::Zeroizing;

use super::secrets::namespace_terminating;
use crate::api::TapirEdge;
use crate::cache::Cache;
use crate::edge::{Referent, member};

/// What is there of what was pointed at.
#[derive(Debug)]
pub(super) struct IdentityInputs {
    pub namespace_terminating: bool,
    pub credentials: Referent<Zeroizing<Vec<u8>>>,
    /// The Secret with the files of an installation that was there before, where the edge names one.
    pub existing: Option<Referent<Secret>>,
    pub ca_bundle: Option<Referent<String>>,
}

/// Fetches all of it.
///
/// # Errors
/// When the API server cannot be asked.
pub(super) async fn fetch(
    client: &Client,
    cache: &Cache,
    namespace: &str,
    edge: &TapirEdge,
) -> Result<IdentityInputs, kube::Error> {
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    Ok(IdentityInputs {
        namespace_terminating: !cache.stays(namespace) && namespace_terminating(client, namespace).await?,
        credentials: credentials(client, namespace, edge).await?,
        existing: existing(client, namespace, edge).await?,
        ca_bundle: match &edge.spec.core.ca_bundle {
            None => None,
            Some(bundle) => {
                let reference = &bundle.config_map_ref;
                let found = config_maps.get_opt(&reference.name).await?;
                Some(member("ConfigMap", &reference.name, &reference.key, found, |map| map.data?.remove(&reference.key)))
            }
        },
    })
}

/// The enrolment credentials of an edge.
///
/// # Errors
/// When the API server cannot be asked.
pub(super) async fn credentials(
    client: &Client,
    namespace: &str,
    edge: &TapirEdge,
) -> Result<Referent<Zeroizing<Vec<u8>>>, kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let Some(reference) = &edge.spec.enrollment.credentials_secret_ref else {
        return Ok(Referent::Missing("spec.enrollment names no credentials".to_owned()));
    };
    let found = secrets.get_opt(&reference.name).await?;
    let take = |secret: Secret| secret.data?.remove(&reference.key).map(|bytes| Zeroizing::new(bytes.0));
    Ok(member("Secret", &reference.name, &reference.key, found, take))
}

/// The files of an installation that was there before.
///
/// # Errors
/// When the API server cannot be asked.
pub(super) async fn existing(
    client: &Client,
    namespace: &str,
    edge: &TapirEdge,
) -> Result<Option<Referent<Secret>>, kube::Error> {
    let Some(reference) = &edge.spec.enrollment.existing_identity_secret_ref else { return Ok(None) };
    let found = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(&reference.name).await?;
    let missing = || Referent::Missing(format!("there is no Secret {} in this namespace", reference.name));
    Ok(Some(found.map_or_else(missing, Referent::Found)))
}
