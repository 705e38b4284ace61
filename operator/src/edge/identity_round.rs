//! The identity's part of a reconcile: who may ask nodeman now, what came of it, and when to try again.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::Api;

use super::attempts::Inputs;
use super::dereference::Dereferenced;
use super::enrolled::{self, Verdict};
use super::error::EdgeError;
use super::reconcile::Context;
use super::{rivals, validate};
use crate::api::TapirEdge;
use crate::identity::keeper::{CredentialsFound, KeepError, Kept, Wanted};
use crate::identity::material::NODE_ANNOTATION;
use crate::names;
use crate::sidecars::EdgeKey;

/// What is known about the identity after this round.
pub(super) struct IdentityRound {
    pub outcome: Result<Kept, Verdict>,
    pub retry_after: Option<Duration>,
}

/// Keeps the identity, unless nodeman would have to be asked and was asked in vain a moment ago.
///
/// # Errors
/// When nothing is to be said of it: the lease is too short for a call.
pub(super) async fn keep(
    context: &Context,
    key: &EdgeKey,
    edge: &TapirEdge,
    found: &Dereferenced,
) -> Result<IdentityRound, EdgeError> {
    let recorded = recorded(edge);
    let enrolled_before = recorded.is_some();
    let credentials = validate::credentials(found);
    let trust_anchors = validate::trust_anchors(found);
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
            Ok(IdentityRound { outcome: Ok(kept), retry_after: None })
        }
        (Err(KeepError::Held), Some((verdict, left))) => Ok(IdentityRound { outcome: Err(verdict), retry_after: Some(left) }),
        (Err(error), _) => match enrolled::verdict(&error, enrolled_before) {
            None => Err(EdgeError::Identity(Box::new(error))),
            Some(verdict) => {
                context.metrics.failed("edge", verdict.reason);
                // The keys that were tried may have been made in this round.
                if let Ok(tried) = pending(context, key).await {
                    inputs.pending = tried;
                }
                let retry_after = context.attempts.failed(key, &inputs, &verdict, Instant::now());
                Ok(IdentityRound { outcome: Err(verdict), retry_after })
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
pub(super) fn recorded(edge: &TapirEdge) -> Option<String> {
    let status = edge.status.as_ref().and_then(|status| status.node.as_ref()).map(|node| node.name.clone());
    edge.annotations().get(NODE_ANNOTATION).cloned().or(status)
}
