//! Writes the status of an edge when it differs, and an Event for each condition that turned.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Client, Resource, ResourceExt as _};
use serde_json::json;

use super::error::EdgeError;
use crate::api::reasons::{Care, EventReason};
use crate::api::{FIELD_MANAGER, TapirEdge, TapirEdgeStatus};
use crate::cache::LeanEdge;
use crate::conditions::{Draft, Transition, Truth};
use crate::telemetry::events::Events;

/// Longest note that an Event takes.
const LONGEST_NOTE: usize = 1000;

/// All is still well, and will not be unless somebody acts.
const LATE: &str = "RenewalOverdue";

const SUSPENDED: &str = "Suspended";

/// Writes the status unless it is there already. Gives the digest of what was written.
///
/// # Errors
/// When the API server refuses.
pub(super) async fn update(client: &Client, edge: &TapirEdge, status: &TapirEdgeStatus) -> Result<Option<u64>, EdgeError> {
    if edge.status.as_ref() == Some(status) {
        return Ok(None);
    }
    // As the watch will tell of it.
    let api: Api<LeanEdge> = Api::namespaced(client.clone(), &edge.namespace().unwrap_or_default());
    // The uid keeps this status from a new edge of the same name.
    let document = json!({
        "apiVersion": TapirEdge::api_version(&()),
        "kind": TapirEdge::kind(&()),
        "metadata": {"name": edge.name_any(), "uid": edge.uid()},
        "status": status,
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let name = edge.name_any();
    let written = api.patch_status(&name, &parameters, &Patch::Apply(document)).await.map_err(EdgeError::UpdateStatus)?;
    Ok(Some(written.status.map(|status| status.digest).unwrap_or_default()))
}

/// Publishes an Event for each transition, and logs it. `Ready` mostly repeats the part that is not well, whose turn is news already. A failure
/// is logged only: Events are for people and may be lost.
pub async fn publish<K: Resource<DynamicType = ()>>(
    events: &Events,
    object: &K,
    transitions: &[Transition],
    conditions: &[Condition],
) {
    log(object, transitions, conditions);
    let news = transitions.iter().filter(|transition| !transition.is_repeated(conditions));
    // Who suspends an edge wants no writes.
    for Transition { draft } in news.filter(|transition| transition.draft.reason != SUSPENDED) {
        let event = Event {
            type_: if draft.truth == Truth::False || draft.reason == LATE { EventType::Warning } else { EventType::Normal },
            reason: draft.reason.clone(),
            note: Some(
                format!("{}={}: {}", draft.kind, <&str>::from(draft.truth), draft.message).chars().take(LONGEST_NOTE).collect(),
            ),
            action: draft.kind.to_owned(),
            secondary: None,
        };
        if let Err(error) = events.publish(&event, &object.object_ref(&())).await {
            tracing::warn!(error = %error, reason = draft.reason, "cannot publish an Event");
        }
    }
}

/// One line for each transition; its level says who has to care.
pub(super) fn log<K: Resource<DynamicType = ()>>(object: &K, transitions: &[Transition], conditions: &[Condition]) {
    let (kind, metadata) = (K::kind(&()), object.meta());
    let (namespace, name) = (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
    for transition in transitions.iter().filter(|transition| !transition.is_repeated(conditions)) {
        let Draft { kind: condition, truth, reason, message } = &transition.draft;
        let status: &str = (*truth).into();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(kind = &*kind, namespace, name, condition, status, reason, "{message}")
            };
        }
        match transition.care() {
            Care::Person => line!(error),
            Care::Passes => line!(warn),
            Care::Nobody => line!(info),
        }
    }
}

/// Publishes one Event that is no turn of a condition.
pub async fn publish_event(events: &Events, object: &ObjectReference, reason: EventReason, type_: EventType, note: String) {
    let action = String::from(reason);
    let event =
        Event { type_, reason: action.clone(), note: Some(note.chars().take(LONGEST_NOTE).collect()), action, secondary: None };
    if let Err(error) = events.publish(&event, object).await {
        tracing::warn!(error = %error, reason = event.reason, "cannot publish an Event");
    }
}
