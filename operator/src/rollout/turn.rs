//! What the ledger is told of an edge.

use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Client, core::Selector};
use tapir_plan::fleet::EdgeRollout;
use tapir_plan::rollout::{Permission, Phase, State};

use super::convert;
use super::memory::Rollouts;
use super::{Outcome, Scene, planned};
use crate::api::{Images, TapirEdge};
use crate::build::{Defaults, target_images};
use crate::sidecars::EdgeKey;

/// Edges in one answer: their injections are most of them.
const PAGE: u32 = 100;
const FORBIDDEN: u16 = 403;

/// Learns of all edges, once in the life of a process. What is in a namespace that it has no right to look at, it cannot roll either: the
/// other namespaces do not wait for it.
pub(super) async fn learn(rollouts: &Rollouts, client: &Client) -> Result<(), kube::Error> {
    let all = async || {
        for (namespace, api) in rollouts.settings().scope.apis::<DeserializeGuard<TapirEdge>>(client) {
            let mut page = ListParams::default().limit(PAGE);
            loop {
                let found = match api.list(&page).await {
                    Err(kube::Error::Api(status)) if status.code == FORBIDDEN => {
                        tracing::warn!(namespace, error = status.message, "rollouts go on without the edges of a namespace");
                        break;
                    }
                    found => found?,
                };
                let next = found.metadata.continue_.clone().filter(|next| !next.is_empty());
                let rows = found.items.into_iter().filter_map(|edge| edge.0.ok()).map(|edge| written_row(rollouts, &edge));
                rollouts.ledger().learn(rows);
                match next {
                    Some(next) => page = page.continue_token(&next),
                    None => break,
                }
            }
        }
        rollouts.ledger().all_known();
        Ok(())
    };
    rollouts.learnt().get_or_try_init(all).await.map(drop)
}

fn written_row(rollouts: &Rollouts, edge: &TapirEdge) -> (EdgeKey, EdgeRollout) {
    let settings = rollouts.settings();
    let target = target_images(&edge.spec, Defaults { edm: &settings.edm_image, pop: &settings.pop_image });
    let key = EdgeKey { namespace: edge.namespace().unwrap_or_default(), name: edge.name_any() };
    let state = edge.status.as_ref().and_then(|status| status.rollout.as_ref()).map(convert::state);
    (key, row(rollouts, edge, &target, state.as_ref()))
}

fn row(rollouts: &Rollouts, edge: &TapirEdge, target: &Images, state: Option<&State>) -> EdgeRollout {
    let injection = edge.status.as_ref().and_then(|status| status.injection.as_ref());
    let injection = injection.map(|injection| planned(&injection.images)).filter(|images| !images.is_empty());
    let active = !edge.spec.suspend && !edge.spec.rollout.paused && edge.metadata.deletion_timestamp.is_none();
    EdgeRollout::of(
        is_canary(rollouts.settings().rollout.canaries.as_ref(), edge),
        &planned(target),
        state,
        injection.as_ref(),
        active,
    )
}

fn is_canary(canaries: Option<&Selector>, edge: &TapirEdge) -> bool {
    canaries.is_some_and(|canaries| kube::core::SelectorExt::matches(canaries, edge.labels()))
}

/// Asks for the turn of an edge. `wants` when it would use it.
pub(super) fn ask(rollouts: &Rollouts, scene: &Scene<'_>, before: Option<&State>, wants: bool) -> Permission {
    let mut row = row(rollouts, scene.edge, scene.target, before);
    row.wants = wants;
    if row.phase == Phase::Halted && scene.retry {
        row.phase = Phase::Waiting;
    }
    rollouts.ledger().ask(scene.key, row, rollouts.fleet(), scene.now)
}

/// Takes down how it stands now.
pub(super) fn note(rollouts: &Rollouts, scene: &Scene<'_>, outcome: &Outcome) {
    let state = convert::state(&outcome.status);
    let mut row = row(rollouts, scene.edge, scene.target, Some(&state));
    // Who was told to wait goes on wanting; who waits for its own Pods does not stand in the way of others.
    row.wants = row.wants && (state.phase == Phase::Rolling || rollouts.ledger().is_waiting(scene.key));
    rollouts.ledger().note(scene.key, row, rollouts.fleet(), scene.now);
}
