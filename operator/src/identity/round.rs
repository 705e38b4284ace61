//! One look at the identity of one edge: who may ask nodeman now, what came of it, and when to try again. What came of it goes to the board,
//! where the edge controller finds it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;

use super::attempts::Inputs;
use super::board::{IdentityView, Standing};
use super::inputs::{self, IdentityInputs};
use super::keeper::{CredentialsFound, KeepError, Kept, Wanted};
use super::material::NODE_ANNOTATION;
use super::verdict::{self, Verdict};
use super::{rivals, validate};
use crate::api::{FINALIZER_OFFBOARD, TapirEdge};
use crate::edge::Context;
use crate::names;
use crate::sidecars::EdgeKey;

/// When nothing happens, everything is compared with reality anyway.
const CALM: Duration = Duration::from_mins(10);
/// While somebody else works on the Secrets of the edge.
const SOON: Duration = Duration::from_secs(1);

/// Why a look at an identity came to nothing. What people have to know is on the board.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("fetching what the identity depends on: {0}")]
    Read(#[source] kube::Error),
    #[error("keeping the identity: {0}")]
    Keep(#[source] Box<KeepError>),
    #[error("the edge is malformed: {0}")]
    Malformed(String),
}

impl IdentityError {
    /// Label in metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read(_) => "ReadFailed",
            Self::Keep(_) => "Identity",
            Self::Malformed(_) => "Malformed",
        }
    }
}

/// Brings the identity of one edge to where it should be, and publishes how it stands.
///
/// # Errors
/// When there is nothing to wait for but the next try.
pub async fn reconcile(edge: Arc<DeserializeGuard<TapirEdge>>, context: Arc<Context>) -> Result<Action, IdentityError> {
    let edge = edge.0.as_ref().map_err(|invalid| IdentityError::Malformed(invalid.error.clone()))?;
    let key = EdgeKey { namespace: edge.namespace().unwrap_or_default(), name: edge.name_any() };
    let held = edge.finalizers().iter().any(|finalizer| finalizer == FINALIZER_OFFBOARD);
    // Without the finalizer nobody would take an identity along, or leave it in order, when the edge goes.
    if edge.metadata.deletion_timestamp.is_some() || !held {
        return Ok(Action::await_change());
    }
    let Some(_turn) = context.identities.begin(&key, edge.metadata.uid.as_deref()) else {
        return Ok(Action::requeue(SOON));
    };
    let found = match inputs::fetch(&context.client, &key.namespace, edge).await {
        Ok(found) => found,
        Err(error) => {
            let verdict = verdict::unread(&error, recorded(edge).is_some());
            context.identities.publish(&key, IdentityView::of(Standing::Failed(verdict)));
            return Err(IdentityError::Read(error));
        }
    };
    let Round { outcome, retry_after } = keep(&context, &key, edge, found).await?;
    let view = match outcome {
        Ok(kept) => IdentityView::from(kept),
        Err(verdict) => IdentityView::of(Standing::Failed(verdict)),
    };
    context.identities.publish(&key, view);
    Ok(Action::requeue(retry_after.map_or(CALM, |retry| retry.min(CALM))))
}

/// What is known about the identity after this round.
struct Round {
    outcome: Result<Kept, Verdict>,
    retry_after: Option<Duration>,
}

/// Keeps the identity, unless nodeman would have to be asked and was asked in vain a moment ago.
///
/// # Errors
/// When nothing is to be said of it: the lease is too short for a call.
async fn keep(context: &Context, key: &EdgeKey, edge: &TapirEdge, found: IdentityInputs) -> Result<Round, IdentityError> {
    let recorded = recorded(edge);
    let enrolled_before = recorded.is_some();
    let credentials = validate::credentials(&found);
    let trust_anchors = validate::trust_anchors(&found);
    let mut inputs = Inputs::of(&credentials, trust_anchors.as_ref().ok());
    let (kept, held) = match observe(context, key, edge, &credentials, recorded.as_deref(), &mut inputs).await {
        Err(error) => (Err(KeepError::Api(error)), None),
        Ok(()) => {
            let held = context.attempts.held(key, &inputs, Instant::now());
            let wanted = Wanted {
                namespace: key.namespace.clone(),
                edge: key.name.clone(),
                edge_uid: edge.uid(),
                namespace_terminating: found.namespace_terminating,
                recorded,
                credentials,
                shared_with: inputs.shared_with.clone(),
                trust_anchors,
                hold: held.is_some(),
            };
            (context.keeper.keep(&wanted).await, held)
        }
    };
    match (kept, held) {
        (Ok(kept), _) => {
            context.attempts.forget(key);
            Ok(Round { outcome: Ok(kept), retry_after: None })
        }
        (Err(KeepError::Held), Some((verdict, left))) => Ok(Round { outcome: Err(verdict), retry_after: Some(left) }),
        (Err(error), _) => match verdict::verdict(&error, enrolled_before) {
            None => Err(IdentityError::Keep(Box::new(error))),
            Some(verdict) => {
                context.metrics.failed("identity", verdict.reason);
                // The keys that were tried may have been made in this round.
                if let Ok(tried) = pending(context, key).await {
                    inputs.pending = tried;
                }
                let retry_after = context.attempts.failed(key, &inputs, &verdict, Instant::now());
                Ok(Round { outcome: Err(verdict), retry_after })
            }
        },
    }
}

/// Looks at what an attempt depends on besides what the edge names.
async fn observe(
    context: &Context,
    key: &EdgeKey,
    edge: &TapirEdge,
    credentials: &CredentialsFound,
    recorded: Option<&str>,
    inputs: &mut Inputs,
) -> Result<(), kube::Error> {
    inputs.shared_with = rival(context, edge, credentials, recorded).await?;
    // Only a failed attempt is compared with.
    if context.attempts.remembered(key) {
        inputs.pending = pending(context, key).await?;
    }
    Ok(())
}

/// Which pending Secret there is: somebody who moves it away gives its node up.
async fn pending(context: &Context, key: &EdgeKey) -> Result<Option<String>, kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &key.namespace);
    Ok(secrets.get_metadata_opt(&names::pending(&key.name)).await?.and_then(|secret| secret.uid()))
}

/// The edge that goes first for the node of these credentials. A node that this edge is already is nobody else's.
async fn rival(
    context: &Context,
    edge: &TapirEdge,
    credentials: &CredentialsFound,
    recorded: Option<&str>,
) -> Result<Option<String>, kube::Error> {
    match credentials {
        CredentialsFound::Valid { credentials, .. } if recorded != Some(credentials.name.as_str()) => {
            rivals::first_rival(&context.client, &context.settings.scope, edge, credentials.name.as_str()).await
        }
        _ => Ok(None),
    }
}

/// The node that this edge is known to have been: the annotation, and the status in case somebody removed that.
pub fn recorded(edge: &TapirEdge) -> Option<String> {
    let status = edge.status.as_ref().and_then(|status| status.node.as_ref()).map(|node| node.name.clone());
    edge.annotations().get(NODE_ANNOTATION).cloned().or(status)
}
