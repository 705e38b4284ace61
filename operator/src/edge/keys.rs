//! The Secrets `<edge>-pop-keys`, `<edge>-pop-datakey` and `<edge>-edm-keys`. They are written whole and by its version, as the identity's Secrets are: the operator has no right to
//! patch Secrets.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};

use crate::api::FIELD_MANAGER;
use crate::apply::{Applier, ApplyError};
use crate::cache::Kind;
use crate::names::LABEL_MANAGED_BY;

/// Brings the Secret to what is wanted, its absence included. Returns it as it is then.
///
/// # Errors
/// When the API server refuses, or when a Secret of that name is somebody else's.
pub(super) async fn keep(
    api: &Api<Secret>,
    applier: &Applier<'_>,
    name: &str,
    wanted: Option<Secret>,
) -> Result<Option<Secret>, ApplyError> {
    if wanted.is_none() && applier.is_absent(name) {
        return Ok(None);
    }
    let known = applier.cache.mark_of(applier.edge, &(Kind::Secret, name.into()));
    let live = api.get_opt(name).await?;
    let Some(live) = live else {
        return match wanted {
            None => {
                applier.found_absent(name, known);
                Ok(None)
            }
            Some(wanted) => Ok(Some(api.create(&PostParams::default(), &wanted).await?)),
        };
    };
    if live.labels().get(LABEL_MANAGED_BY).map(String::as_str) != Some(FIELD_MANAGER) {
        let Some(_) = wanted else { return Ok(None) };
        let owner = live.labels().get(LABEL_MANAGED_BY).cloned().unwrap_or_else(|| "somebody else".to_owned());
        return Err(ApplyError::Foreign { kind: "Secret".to_owned(), name: name.to_owned(), owner });
    }
    match wanted {
        None => {
            remove_found(api, &live).await?;
            Ok(None)
        }
        Some(wanted) if live.data == wanted.data => Ok(Some(live)),
        Some(mut wanted) => {
            wanted.metadata.resource_version = live.resource_version();
            Ok(Some(api.replace(name, &PostParams::default(), &wanted).await?))
        }
    }
}

/// Removes it, if it is there and ours.
///
/// # Errors
/// When the API server refuses.
pub(super) async fn remove(api: &Api<Secret>, name: &str) -> Result<(), kube::Error> {
    match api.get_opt(name).await? {
        Some(live) if live.labels().get(LABEL_MANAGED_BY).map(String::as_str) == Some(FIELD_MANAGER) => {
            remove_found(api, &live).await
        }
        _ => Ok(()),
    }
}

async fn remove_found(api: &Api<Secret>, live: &Secret) -> Result<(), kube::Error> {
    let preconditions = Preconditions { resource_version: live.resource_version(), uid: live.uid() };
    match api.delete(&live.name_any(), &DeleteParams::default().preconditions(preconditions)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}
