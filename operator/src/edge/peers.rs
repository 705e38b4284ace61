//! The headless Service `<edge>-peers`, while the edge lives.

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Preconditions};

use crate::api::FIELD_MANAGER;
use crate::names::{LABEL_MANAGED_BY, peers};

/// Removes the Service of an edge that goes. Somebody else's of that name stays.
///
/// # Errors
/// When the API server refuses.
pub(super) async fn remove(api: &Api<Service>, edge: &str) -> Result<(), kube::Error> {
    let Some(found) = api.get_opt(&peers(edge)).await? else { return Ok(()) };
    if found.labels().get(LABEL_MANAGED_BY).map(String::as_str) != Some(FIELD_MANAGER) {
        return Ok(());
    }
    let preconditions = Preconditions { uid: found.uid(), resource_version: None };
    match api.delete(&peers(edge), &DeleteParams::default().preconditions(preconditions)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}
