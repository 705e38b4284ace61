//! One look at the identity of one edge: who may ask nodeman now, what came of it, and when to try again. What came of it goes to the board,
//! where the edge controller finds it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType};
use kube::{Resource as _, ResourceExt as _};
use tapir_plan::renewal::Percent;

use super::attempts::Inputs;
use super::board::{IdentityView, Standing};
use super::calls::Trouble;
use super::due::{Certificate, rested_at};
use super::enrol::EnrolError;
use super::from_core::{News, WantedFromCore};
use super::inputs::{self, IdentityInputs};
use super::keeper::{CredentialsFound, KeepError, Kept, Wanted};
use super::material::NODE_ANNOTATION;
use super::silent;
use super::validate;
use super::verdict::{self, Verdict};
use super::waits;
use crate::api::{ANNOTATION_RECONCILE_NOW, ANNOTATION_RENEW_NOW, FINALIZER_OFFBOARD, TapirEdge};
use crate::cache::{Edge, URGENT};
use crate::edge::{Context, Next, handled};
use crate::names;
use crate::sidecars::EdgeKey;

/// When nothing happens, everything is compared with reality anyway.
const CALM: Duration = Duration::from_mins(10);
/// While somebody else works on the Secrets of the edge.
const SOON: Duration = Duration::from_secs(1);
/// Between two looks that nothing but time asks for.
pub(super) const SHORTEST: Duration = Duration::from_millis(200);

/// Why a look at an identity came to nothing. What people have to know is on the board.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("fetching what the identity depends on: {0}")]
    Read(#[source] kube::Error),
    #[error("keeping the identity: {0}")]
    Keep(#[source] Box<KeepError>),
}

impl IdentityError {
    /// Label in metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read(_) => "ReadFailed",
            Self::Keep(_) => "Identity",
        }
    }
}

/// Brings the identity of one edge to where it should be, and publishes how it stands.
///
/// # Errors
/// When there is nothing to wait for but the next try.
pub async fn reconcile(edge: Arc<Edge>, context: Arc<Context>) -> Result<Action, IdentityError> {
    // The edge controller tells of one that cannot be read.
    let Ok(lean) = &edge.0 else { return Ok(Action::await_change()) };
    let (key, now) = (lean.key(), context.keeper.clock.now());
    // Taken before anything is looked at, so that what changes meanwhile shows.
    let print = context.cache.identity_fingerprint(lean, &[]);
    if let Some(left) = context.settled_identities.holds(&key, print, now) {
        return Ok(Action::requeue(left));
    }
    context.settled_identities.forget(&key);
    if let Some(action) = waits::still(&context, &key, print) {
        return Ok(action);
    }
    if let Some(action) = silent::look(&context, &key, lean.metadata.uid.as_deref(), print).await {
        return Ok(action);
    }
    let api: Api<DeserializeGuard<TapirEdge>> = Api::namespaced(context.client.clone(), &key.namespace);
    let Some(DeserializeGuard(Ok(edge))) = api.get_opt(&key.name).await.map_err(IdentityError::Read)? else {
        return Ok(Action::await_change());
    };
    let held = edge.finalizers().iter().any(|finalizer| finalizer == FINALIZER_OFFBOARD);
    // Without the finalizer nobody would take an identity along, or leave it in order, when the edge goes. Suspended, everything stays as
    // it is, and Core hears nothing: what was deleted is held by its finalizer until then.
    if edge.metadata.deletion_timestamp.is_some() || !held || edge.spec.suspend {
        return Ok(Action::await_change());
    }
    let Some(_turn) = context.identities.begin(&key, edge.metadata.uid.as_deref()) else {
        return Ok(Action::requeue(SOON));
    };
    let found = match inputs::fetch(&context.client, &context.cache, &key.namespace, &edge).await {
        Ok(found) => found,
        Err(error) => {
            let verdict = verdict::unread(&error, recorded(&edge).is_some());
            context.identities.publish(&key, IdentityView::of(Standing::Failed(verdict)));
            return Err(IdentityError::Read(error));
        }
    };
    let Round { outcome, retry_after } = keep(&context, &key, &edge, found).await?;
    let (view, turn) = match outcome {
        Ok(kept) => settled(&context, &key, &edge, kept, Begin { print, at: now }).await,
        Err(verdict) => (IdentityView::of(Standing::Failed(verdict)), None),
    };
    let there = view.node().is_some();
    context.identities.publish(&key, view);
    let instant = Instant::now();
    if context.keeper.comes(&key, instant).is_some() {
        let until = turn.and_then(|turn| context.keeper.clock.now().checked_add(turn.saturating_sub(SHORTEST)).ok());
        context.keeper.waits.remember(&key, print, until);
    }
    let asks = there.then(|| context.keeper.calls.next(&key, instant)).flatten();
    let next = [retry_after, turn, asks].into_iter().flatten().min().map(|next| next.max(SHORTEST));
    if there {
        // Until that time nothing is to be done, unless something changes.
        let until = next.map(|next| next.saturating_sub(SHORTEST));
        let forced = context.settled_identities.remember(&key, print, Next { within: until, quiet: true }, now);
        return Ok(Action::requeue(next.unwrap_or(forced)));
    }
    Ok(Action::requeue(next.map_or(CALM, |next| next.min(CALM))))
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
    let credentials = validate::credentials(&found, &edge.spec);
    let trust_anchors = validate::trust_anchors(&found);
    let asked = edge.annotations().get(ANNOTATION_RENEW_NOW);
    let mut inputs = Inputs::of(&credentials, trust_anchors.as_ref().ok()).asked([
        asked,
        edge.annotations().get(ANNOTATION_RECONCILE_NOW),
        edge.spec.certificate.requested_lifetime.as_ref(),
    ]);
    let (kept, held) = match observe(context, key, edge, &credentials, recorded.as_deref(), &mut inputs).await {
        Err(error) => (Err(KeepError::Api(error)), None),
        Ok(()) => {
            let now = Instant::now();
            let held = context.attempts.held(key, &inputs, now);
            let other_node = recorded.as_ref().is_some_and(|recorded| credentials.are_for_another_than(recorded));
            // Whether Core still knows the node decides what is said of it, and whether it may become another one.
            let urgent = other_node || URGENT.iter().any(|reason| said(edge, reason)) || is_asked(edge);
            let allowed = context.keeper.calls.allowed(key, inputs.named(), urgent, now);
            // Keys for another node wait: only a fresh word of Core lets them be used.
            let prepared = other_node && inputs.pending.is_some() && held.is_none();
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
                from_core: WantedFromCore {
                    renew_at: Percent::parse(&edge.spec.certificate.renew_at).unwrap_or(Percent::DEFAULT),
                    lifetime: edge.spec.certificate.requested_lifetime.as_deref().and_then(seconds),
                    asked: asked.cloned(),
                    may_renew: allowed.renewal,
                    may_refresh: allowed.refresh || prepared,
                    not_found: allowed.not_found,
                },
            };
            (context.keeper.keep(&wanted).await, held)
        }
    };
    match (kept, held) {
        (Ok(Kept::Identity { secret, node, ignored_credentials, mut from_core }), held) => {
            let retry_after = match from_core.replacement.as_ref() {
                None => {
                    context.attempts.forget(key);
                    None
                }
                Some(KeepError::Held) => held.as_ref().map(|(_, left)| *left),
                Some(error) => replacement_failed(context, key, &mut inputs, error).await,
            };
            // What was said of the attempt that failed a moment ago is still so.
            if let (Some(KeepError::Held), Some((verdict, _))) = (&from_core.replacement, held) {
                from_core.replacement_words = Some(verdict.message);
            }
            Ok(Round { outcome: Ok(Kept::Identity { secret, node, ignored_credentials, from_core }), retry_after })
        }
        (Ok(kept), _) => {
            context.attempts.forget(key);
            Ok(Round { outcome: Ok(kept), retry_after: None })
        }
        (Err(KeepError::Held), Some((verdict, left))) => Ok(Round { outcome: Err(verdict), retry_after: Some(left) }),
        (Err(KeepError::Later(turn)), _) => {
            let retry_after = Some(turn.saturating_duration_since(Instant::now()));
            let outcome = verdict::verdict(&KeepError::Later(turn), enrolled_before);
            match outcome {
                Some(verdict) => Ok(Round { outcome: Err(verdict), retry_after }),
                None => Err(IdentityError::Keep(Box::new(KeepError::Later(turn)))),
            }
        }
        (Err(error), _) => match verdict::verdict(&error, enrolled_before) {
            None => Err(IdentityError::Keep(Box::new(error))),
            Some(verdict) => {
                context.metrics.failed("identity", verdict.reason);
                let retry_after = failed(context, key, &mut inputs, &verdict).await;
                Ok(Round { outcome: Err(verdict), retry_after })
            }
        },
    }
}

async fn replacement_failed(context: &Context, key: &EdgeKey, inputs: &mut Inputs, error: &KeepError) -> Option<Duration> {
    if let KeepError::Later(turn) = error {
        return Some(turn.saturating_duration_since(Instant::now()));
    }
    let verdict = verdict::verdict(error, true)?;
    context.metrics.failed("identity", verdict.reason);
    failed(context, key, inputs, &verdict).await
}

async fn failed(context: &Context, key: &EdgeKey, inputs: &mut Inputs, verdict: &Verdict) -> Option<Duration> {
    // The keys that were tried may have been made in this round.
    if let Ok(tried) = pending(context, key).await {
        inputs.pending = tried;
    }
    context.attempts.failed(key, inputs, verdict, Instant::now())
}

/// How things stood when a round began.
#[derive(Clone, Copy)]
struct Begin {
    print: u64,
    at: Timestamp,
}

/// What is known of an identity that is there or on its way, and when something is to be done about its certificate.
async fn settled(
    context: &Context,
    key: &EdgeKey,
    edge: &TapirEdge,
    kept: Kept,
    begin: Begin,
) -> (IdentityView, Option<Duration>) {
    let (secret, node, ignored_credentials, from_core) = match kept {
        Kept::Waiting => return (IdentityView::of(Standing::Restoring), None),
        Kept::Leaving => return (IdentityView::of(Standing::Leaving), None),
        Kept::Identity { secret, node, ignored_credentials, from_core } => (secret, node, ignored_credentials, from_core),
    };
    let (now, wall) = (Instant::now(), context.keeper.clock.now());
    let renew_at = Percent::parse(&edge.spec.certificate.renew_at).unwrap_or(Percent::DEFAULT);
    let certificate = Certificate::of(&secret, renew_at, wall).ok();
    let calls = &context.keeper.calls;
    let [renewal_before, refresh_before] = calls.troubles(key);
    if let Some(result) = &from_core.renewal {
        let not_after = certificate.as_ref().map_or(wall, |certificate| certificate.info.not_after);
        log(key, "renewal", renewal_before.as_ref(), result);
        calls.renewed(key, result, not_after, wall, now);
    }
    if let Some(result) = &from_core.refresh {
        log(key, "configuration", refresh_before.as_ref(), result);
        calls.refreshed(key, result, now);
    }
    for news in &from_core.news {
        tell(context, edge, news).await;
    }
    let replacement =
        from_core.replacement.as_ref().map(|error| from_core.replacement_words.clone().unwrap_or_else(|| words_of(error)));
    let standing = Standing::Enrolled { node, ignored_credentials };
    let turn = certificate.as_ref().and_then(|certificate| {
        let rested = rested_at(&secret, certificate, wall);
        // One that came while the round went on may not have been seen in it.
        rested.into_iter().chain(certificate.next_turn(begin.at)).min()
    });
    // A moment later, so that it is past the turn by then.
    let turn = turn.map(|turn| Duration::try_from(turn.duration_since(wall)).unwrap_or_default() + SHORTEST);
    let troubles = calls.troubles(key);
    let waits = matches!(from_core.renewal, Some(Err(_))) || replacement.is_some() || troubles != [None, None];
    if let Some(said) = from_core.said.filter(|_| !waits) {
        let until = turn.map(|turn| turn.saturating_sub(SHORTEST));
        context.keeper.looks.remember(key, begin.print, said, until, wall);
    }
    let view = IdentityView::enrolled(standing, &secret, certificate, &troubles, replacement.as_deref());
    (view, turn)
}

fn words_of(error: &KeepError) -> String {
    verdict::verdict(error, true).map_or_else(|| error.to_string(), |verdict| verdict.message)
}

/// A line when it begins to fail, or fails otherwise, and one when it is over.
pub(super) fn log(key: &EdgeKey, what: &str, before: Option<&Trouble>, result: &Result<(), KeepError>) {
    let (namespace, edge) = (&key.namespace, &key.name);
    match (result, before) {
        (Err(KeepError::Later(_) | KeepError::Enrol(EnrolError::Lease(_))), _) | (Ok(()), None) => {}
        (Ok(()), Some(_)) => tracing::info!(namespace, edge, "{what}: Core was asked with success again"),
        (Err(error), Some(before)) if before.is_like(&Trouble::of(error)) => {
            tracing::debug!(namespace, edge, error = %error, "{what}: Core was asked in vain again");
        }
        (Err(error), _) => tracing::warn!(
            namespace,
            edge,
            error = %error,
            "{what}: Core was asked in vain, or its answer could not be kept; tried again by itself"
        ),
    }
}

async fn tell(context: &Context, edge: &TapirEdge, news: &News) {
    let (namespace, name) = (edge.namespace().unwrap_or_default(), edge.name_any());
    let note = news.words();
    let reason: &str = news.reason().into();
    if news.is_warning() {
        tracing::error!(namespace, edge = name, reason, "{note}");
    } else {
        tracing::info!(namespace, edge = name, reason, "{note}");
    }
    let event = Event {
        type_: if news.is_warning() { EventType::Warning } else { EventType::Normal },
        reason: news.reason().into(),
        note: Some(note),
        action: "Identity".to_owned(),
        secondary: None,
    };
    if let Err(error) = context.events.publish(&event, &edge.object_ref(&())).await {
        tracing::warn!(namespace, edge = name, error = %error, "cannot publish an Event");
    }
}

/// Whether somebody asked for a look that no operator had yet.
fn is_asked(edge: &TapirEdge) -> bool {
    let before = edge.status.as_ref().and_then(|status| status.handled.as_ref());
    handled(edge).is_some_and(|asked| Some(&asked) != before)
}

/// Whether the status says so.
fn said(edge: &TapirEdge, reason: &str) -> bool {
    let conditions = edge.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == "Enrolled" && condition.reason == reason)
}

/// Seconds of a time such as `720h` or `90m`.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "h" => number.checked_mul(3600),
        "m" => number.checked_mul(60),
        _ => None,
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
    // Only a failed attempt is compared with, and the keys of a node that this edge is to become.
    let another = recorded.is_some_and(|recorded| credentials.are_for_another_than(recorded));
    if another || context.attempts.remembered(key) {
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
    match credentials.usable() {
        Some((node, ..)) if recorded != Some(node.as_str()) => {
            context.keeper.rivals.first(&context.client, &context.settings.scope, edge, node.as_str()).await
        }
        _ => Ok(None),
    }
}

/// The node that this edge is known to have been: the annotation, and the status in case somebody removed that.
#[must_use]
pub fn recorded(edge: &TapirEdge) -> Option<String> {
    let status = edge.status.as_ref().and_then(|status| status.node.as_ref()).map(|node| node.name.clone());
    edge.annotations().get(NODE_ANNOTATION).cloned().or(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read() {
        assert_eq!(seconds("720h"), Some(2_592_000));
        assert_eq!(seconds("90m"), Some(5400));
        assert_eq!((seconds(""), seconds("h"), seconds("5d"), seconds("ä")), (None, None, None, None));
    }
}
