//! An edge goes: new Pods get nothing any more, running ones stop sending, the identity stays or goes as asked. Nothing here waits for
//! Pods, Core or people, so that neither an edge nor a namespace hangs, with one exception: while keys could be lost the edge stays, and says so.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};

use super::error::EdgeError;
use super::pods_round::injected_ones;
use super::reconcile::Context;
use super::seen::Seen;
use super::touch::{self, WorksBy};
use super::{keys, peers};
use crate::api::{DeletionPolicy, FINALIZER_OFFBOARD, LABEL_EDGE, TapirEdge};
use crate::apply::{ApplyError, apply};
use crate::build;
use crate::failpoint::Failpoint;
use crate::identity::leaving::Left;
use crate::identity::recorded;
use crate::identity::secrets::{namespace_terminating, refused_as_terminating};
use crate::names::{self, LABEL_OFFBOARDED};
use crate::pods::{Injection, classify};
use crate::sidecars::EdgeKey;

/// Offboards, then lets the edge go, unless a deleted identity has to be brought back first.
///
/// # Errors
/// When the API server fails, or when keys of two nodes stand in each other's way; the whole may be repeated.
pub(super) async fn offboard(context: &Context, key: &EdgeKey, edge: &TapirEdge) -> Result<Left, EdgeError> {
    if !edge.finalizers().iter().any(|finalizer| finalizer == FINALIZER_OFFBOARD) {
        return Ok(Left::Done);
    }
    unbind(context, key).await?;
    Failpoint::OffboardAfterUnbind.pass();
    let terminating = namespace_terminating(&context.client, &key.namespace).await.map_err(EdgeError::Offboard)?;
    if !terminating {
        disable(context, key, edge).await?;
        Failpoint::OffboardAfterDisable.pass();
        remove_helpers(context, key).await?;
    }
    let identity = match edge.spec.deletion_policy {
        DeletionPolicy::Delete if !terminating => {
            context.keeper.erase(&key.namespace, &key.name, recorded(edge).as_deref()).await
        }
        DeletionPolicy::Delete | DeletionPolicy::Retain => context.keeper.leave(&key.namespace, &key.name, terminating).await,
    };
    if identity.map_err(|error| EdgeError::Identity(Box::new(error)))? == Left::Waiting {
        return Ok(Left::Waiting);
    }
    Failpoint::OffboardBeforeFinalizer.pass();
    remove_finalizer(context, key, edge).await?;
    tracing::info!(namespace = key.namespace, edge = key.name, policy = ?edge.spec.deletion_policy, "offboarded");
    Ok(Left::Done)
}

/// Nobody asks for peers any more, and keys are for nobody to keep. What POP has read with them it goes on with.
async fn remove_helpers(context: &Context, key: &EdgeKey) -> Result<(), EdgeError> {
    let (services, secrets) =
        (Api::namespaced(context.client.clone(), &key.namespace), Api::namespaced(context.client.clone(), &key.namespace));
    peers::remove(&services, &key.name).await.map_err(EdgeError::Offboard)?;
    for keys in [names::pop_keys(&key.name), names::pop_data_key(&key.name), names::edm_keys(&key.name)] {
        keys::remove(&secrets, &keys).await.map_err(EdgeError::Offboard)?;
    }
    Ok(())
}

async fn unbind(context: &Context, key: &EdgeKey) -> Result<(), EdgeError> {
    // Without bindings of its own the operator has no right to them. The label of a Pod finds nothing once the edge is gone.
    if context.settings.injection.binds().is_none() {
        return Ok(());
    }
    let api: Api<MutatingAdmissionPolicyBinding> = Api::all(context.client.clone());
    match api.delete(&build::binding_name(&key.namespace, &key.name), &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop).map_err(EdgeError::Offboard),
    }
}

async fn disable(context: &Context, key: &EdgeKey, edge: &TapirEdge) -> Result<(), EdgeError> {
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &key.namespace);
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &key.namespace);
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    let edm = maps.get_opt(&build::edm_config_name(name)).await.map_err(EdgeError::Offboard)?;
    let pop = maps.get_opt(&build::pop_config_name(name)).await.map_err(EdgeError::Offboard)?;
    let found = pods.list(&ListParams::default().labels(&format!("{LABEL_EDGE}={name}"))).await;
    let found =
        found.inspect_err(|error| tracing::warn!(namespace, edge = name, error = %error, "cannot list the Pods to disable"));
    let pods_known = found.is_ok();
    let found = found.map(|list| list.items).unwrap_or_default();
    let views: Vec<_> = found.iter().filter_map(|pod| classify(pod, &edge.spec.resolver.container, None)).collect();
    // What was never rendered is mounted nowhere. A configuration that somebody removed is: its sidecars go on with what they read last.
    let rendered = edge.status.as_ref().is_some_and(|status| status.injection.is_some())
        || !pods_known
        || views.iter().any(|view| view.injection == Injection::Injected);
    let mut disabled = Vec::new();
    if rendered || edm.is_some() {
        disabled.push(build::offboarded_edm_config(namespace, name, edm.as_ref()));
    }
    if rendered || pop.is_some() {
        disabled.push(build::offboarded_pop_config(namespace, name, pop.as_ref()));
    }
    let mut written = Vec::new();
    for map in disabled {
        let mut map = map.map_err(|error| EdgeError::Build(error.to_string()))?;
        map.metadata.labels.get_or_insert_with(BTreeMap::new).insert(LABEL_OFFBOARDED.to_owned(), "true".to_owned());
        match apply(&maps, &map).await {
            Ok(map) => written.push(map),
            Err(ApplyError::Api(error)) if refused_as_terminating(&error) => return Ok(()),
            Err(ApplyError::Foreign { .. }) => {}
            Err(error) => return Err(EdgeError::Apply { what: "the disabled configuration", error: Box::new(error) }),
        }
    }
    let mounted = touch::Mounted::of(&written.iter().collect::<Vec<_>>(), None, None);
    let seen: Vec<Seen> = found.iter().map(Seen::whole).collect();
    let injected: Vec<&Seen> = injected_ones(&seen, &views).collect();
    // The kubelet brings the configuration by itself within minutes: no reason to keep the edge from going.
    if let Some(error) = context.touches.touch_all(&pods, key, &injected, &mounted, |_| WorksBy::Unknown).await.error {
        tracing::warn!(namespace, edge = name, error = %error, "cannot touch Pods: they hear of being disabled within minutes");
    }
    Ok(())
}

async fn remove_finalizer(context: &Context, key: &EdgeKey, edge: &TapirEdge) -> Result<(), EdgeError> {
    let api: Api<TapirEdge> = Api::namespaced(context.client.clone(), &key.namespace);
    let finalizers: Vec<&String> = edge.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER_OFFBOARD).collect();
    let patch = serde_json::json!({"metadata": {"resourceVersion": edge.resource_version(), "finalizers": finalizers}});
    match api.patch_metadata(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop).map_err(EdgeError::Finalizer),
    }
}
