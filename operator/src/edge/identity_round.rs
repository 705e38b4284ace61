//! The identity's part of a reconcile: who may ask nodeman now, what came of it, and when to try again.

use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};

use super::dereference::Dereferenced;
use super::enrolled::{self, Verdict};
use super::error::EdgeError;
use super::reconcile::Context;
use super::{rivals, validate};
use crate::api::TapirEdge;
use crate::identity::keeper::{CredentialsFound, KeepError, Kept, Wanted};
use crate::identity::material::NODE_ANNOTATION;
use crate::nodeman::TrustAnchors;
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
    let inputs = inputs(&credentials, trust_anchors.as_ref().ok());
    let held = context.attempts.held(key, &inputs, Instant::now());
    let kept = match rival(context, edge, &credentials, recorded.as_deref()).await {
        Err(error) => Err(KeepError::Api(error)),
        Ok(shared_with) => {
            let wanted = Wanted {
                namespace: key.namespace.clone(),
                edge: key.name.clone(),
                edge_uid: edge.uid(),
                namespace_terminating: found.namespace_terminating,
                recorded,
                credentials,
                shared_with,
                trust_anchors,
                hold: held.is_some(),
                requested_lifetime: None,
            };
            context.keeper.keep(&wanted).await
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
                let retry_after = context.attempts.failed(key, &inputs, &verdict, Instant::now());
                Ok(IdentityRound { outcome: Err(verdict), retry_after })
            }
        },
    }
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

fn inputs(credentials: &CredentialsFound, anchors: Option<&TrustAnchors>) -> String {
    let anchors = match anchors {
        Some(TrustAnchors::Bundle(pem)) => hex::encode(Sha256::digest(pem.as_bytes())),
        Some(TrustAnchors::System) => "system".to_owned(),
        None => "none".to_owned(),
    };
    match credentials {
        CredentialsFound::Valid { fingerprint, nodeman_url, .. } => format!("{fingerprint} {nodeman_url} {anchors}"),
        CredentialsFound::Missing { .. } | CredentialsFound::Invalid { .. } => anchors,
    }
}
