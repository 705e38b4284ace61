//! Does the one step that was planned, and says what came of it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::{Client, ResourceExt as _};
use tapir_plan::rollout as plan;
use tapir_plan::rollout::{Act, Plan, State};

use super::change::{Written, change_images, write_ahead};
use super::{Outcome, RolloutError, Rollouts, Scene, convert, held, planned, pull, report, written};
use crate::api::TapirEdge;
use crate::build::images_revision;
use crate::edge::{Decided, Evictions};
use crate::failpoint::Failpoint;
use crate::pods::Decision;
use crate::telemetry::metrics::Metrics;

/// After somebody else wrote at the same time.
const SOON: Duration = Duration::from_secs(1);

/// Does what is planned.
#[expect(clippy::too_many_arguments, reason = "the parts of one round, which have nothing else in common")]
pub(super) async fn act(
    rollouts: &Rollouts,
    client: &Client,
    evictions: &Evictions,
    metrics: &Metrics,
    scene: &Scene<'_>,
    before: Option<&State>,
    mut plan: Plan,
    other_structure: usize,
) -> Result<Outcome, RolloutError> {
    let Scene { key, edge, now, .. } = *scene;
    let api: Api<Pod> = Api::namespaced(client.clone(), &key.namespace);
    let whole = |uid: &str| scene.pods.iter().find(|pod| pod.metadata.uid.as_deref() == Some(uid));
    let mut wrote = false;
    // Nothing but a way back is done beside the replacement of another Pod.
    if scene.replacing && !matches!(plan.act, Act::WayBack { .. } | Act::Nothing) {
        return Ok(as_before(scene, before, other_structure));
    }
    match &plan.act {
        Act::Nothing => {}
        Act::Pull { node, images, secrets } => {
            wrote = true;
            for image in images {
                let begun = pull::begin(&api, &key.name, node, image, secrets).await.map_err(RolloutError::Pull)?;
                rollouts.memory(key, |memory| {
                    memory.pulls.begun = true;
                    if begun == pull::Begun::Refused {
                        memory.pulls.refused(node, image, now);
                    }
                });
            }
        }
        Act::Patch { uid, images, .. } | Act::WayBack { uid, images, .. } => {
            let Some(pod) = whole(uid) else { return Ok(as_before(scene, before, other_structure)) };
            let edges: Api<TapirEdge> = Api::namespaced(client.clone(), &key.namespace);
            let status = convert::status(&plan.state);
            let is_written = edge.status.as_ref().and_then(|status| status.rollout.as_ref()) == Some(&status);
            if !is_written && write_ahead(&edges, edge, &status).await.map_err(RolloutError::WriteAhead)? == Written::Changed {
                return Ok(as_before(scene, before, other_structure));
            }
            wrote = true;
            let back = matches!(plan.act, Act::WayBack { .. });
            if !back {
                Failpoint::RolloutAfterIntent.pass();
            }
            let revision = images_revision(&if back { written(images) } else { scene.target.clone() }).unwrap_or_default();
            change_images(&api, pod, images, &revision).await.map_err(RolloutError::Change)?;
            if back {
                Failpoint::RolloutAfterWayBack.pass()
            } else {
                Failpoint::RolloutAfterPatch.pass()
            }
            tracing::info!(
                namespace = key.namespace,
                edge = key.name,
                pod = pod.name_any(),
                back,
                "changed the images of a Pod's sidecars"
            );
        }
        Act::Evict { name, .. } => {
            let counted = scene.views.len();
            let decided = Decided { decision: Decision::Evict(name.clone()), now, pods: scene.pods, counted };
            let decision = evictions.carry_out(&api, key, decided, metrics).await;
            match decision.map_err(|(_, error)| evict_error(error))? {
                Decision::Blocked { pod, why, retry_in } => {
                    let (reason, message) =
                        (plan::Reason::Refused, format!("Pod {pod} may not be evicted now: {why}; tried again by itself"));
                    plan.state.phase = plan::Phase::Waiting;
                    plan.state.reason = <&str>::from(reason).to_owned();
                    plan.state.message = message;
                    plan.again = Some(retry_in.max(SOON));
                }
                _ => wrote = true,
            }
        }
    }
    // What another process began is told by what it wrote.
    let ends =
        before.is_some_and(|before| before.phase == plan::Phase::Rolling || (before.pod.is_some() && plan.state.pod.is_none()));
    let began = rollouts.memory(key, |memory| memory.pulls.begun) || (ends && scene.settings.pre_pull);
    if plan.state.phase != plan::Phase::Rolling && began {
        pull::clear(&api, &key.name).await.map_err(RolloutError::Pull)?;
        rollouts.memory(key, |memory| memory.pulls.forget());
    }
    if plan.state.is_settled() && scene.edge.spec.rollout.strategy == crate::api::Strategy::Evict {
        evictions.forget(key);
    }
    if plan.state.pod.is_none() {
        rollouts.memory(key, |memory| memory.watch = None);
    }
    Ok(Outcome {
        news: report::news(before, &plan.state, &plan.act),
        condition: report::condition(&plan.state, other_structure),
        status: convert::status(&plan.state),
        injection: written(&plan.injection),
        again: plan.again,
        wrote,
    })
}

/// Somebody else wrote at the same time: nothing was done.
fn as_before(scene: &Scene<'_>, before: Option<&State>, other_structure: usize) -> Outcome {
    let target = planned(scene.target);
    let state = before.cloned().unwrap_or_else(|| State::new(&target));
    Outcome {
        news: Vec::new(),
        condition: report::condition(&state, other_structure),
        status: convert::status(&state),
        injection: held(scene.edge, scene.target),
        again: Some(SOON),
        wrote: false,
    }
}

fn evict_error(error: crate::edge::EdgeError) -> RolloutError {
    match error {
        crate::edge::EdgeError::Evict(error) => RolloutError::Evict(error),
        other => RolloutError::Evict(kube::Error::Service(Box::new(other))),
    }
}
