//! What is set for the whole operator: who goes first with a release, and who puts the sidecars into Pods. Both change it for everybody, so
//! they share their time.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::endpoints::Change;
use tapir_scenarios::objects::{is_injected, is_ready, name, pop_image};
use tapir_scenarios::outage::ScaledDown;
use tapir_scenarios::probe::Probe;
use tapir_scenarios::release::Release;
use tapir_scenarios::scene::{EDGE, RESOLVER, Scene};
use tapir_scenarios::wait;

const ASKED: &str = "www.example.se";
const POLICY: &str = "tapir-operator-inject";

/// How far an edge is with an image.
#[derive(Debug)]
struct Progress {
    with: usize,
    moving: bool,
    done: bool,
}

fn progress(scene: &Scene, image: &str) -> Result<Progress> {
    let (pods, rollout) = (scene.pods()?, scene.edge()?["status"]["rollout"].clone());
    let with = pods.iter().filter(|pod| pop_image(pod).as_deref() == Some(image)).count();
    let done = with == pods.len() && pods.iter().all(is_ready) && rollout["phase"] == "Current";
    Ok(Progress { with, moving: rollout["pod"].is_object(), done })
}

/// All that injection gives a Pod, and all that it leaves.
fn made(pod: &Value) -> Value {
    let annotations = &pod["metadata"]["annotations"];
    json!([pod["spec"], annotations["dnstapir.se/injection-revision"], annotations["dnstapir.se/injection-images"]])
}

fn policy_is_there() -> Result<bool> {
    Ok(cluster().get("default", &["mutatingadmissionpolicy", POLICY])?.is_some())
}

#[test]
fn a_release_goes_to_canaries_first_and_the_webhook_makes_the_pods_that_the_policy_made() -> Result<()> {
    let _guard = crate::exclusive();
    // By its name it would be the second.
    let [other, canary] = ["fleet-a", "fleet-b"].map(|name| Scene::with_pods(name, 2, |manifest| manifest));
    let (other, canary) = (other?, canary?);
    canary.kubectl(&["label", "tapiredge", EDGE, "ring=first"])?;
    ensure!(policy_is_there()?, "the API server injects by itself to begin with");
    let probe = |scene: &Scene| Probe::start(&scene.namespace, RESOLVER, ASKED);
    let (of_other, of_canary) = (probe(&other)?, probe(&canary)?);
    let image = cluster().image("test-pop-variant")?;
    let release = Release::with(&[
        ("injection.mode", "Webhook"),
        ("rollout.maxConcurrentEdges", "1"),
        ("rollout.canarySelector.matchLabels.ring", "first"),
        ("rollout.canarySoak", "5s"),
        ("images.pop", &image),
    ])?;
    ensure!(!policy_is_there()?, "only the webhook is left");
    let mut wrong = Vec::new();
    wait::until_true("both edges run the release", Duration::from_secs(150), || {
        // In this order: what the other one has it may have only after the canary.
        let (second, first) = (progress(&other, &image)?, progress(&canary, &image)?);
        if (second.moving && first.moving) || (second.with > 0 && !first.done) {
            wrong.push((second, first));
            return Ok(false);
        }
        Ok(first.done && second.done)
    })
    .with_context(|| format!("out of turn: {wrong:?}"))?;
    ensure!(wrong.is_empty(), "out of turn: {wrong:?}");
    of_other.undisturbed("while the release came", Change::Restarts(1))?;
    of_canary.undisturbed("while the release came to the canary", Change::Restarts(1))?;

    let before: Vec<String> = canary.pods()?.iter().map(name).collect();
    canary.scale(3)?;
    canary.wait_pods(3)?;
    let (old, new): (Vec<_>, Vec<_>) = canary.pods()?.into_iter().partition(|pod| before.contains(&name(pod)));
    ensure!(
        new.len() == 1 && old.iter().all(|pod| made(pod) == made(&new[0])),
        "by policy:\n{}\nby webhook:\n{}",
        old[0],
        new[0]
    );
    of_canary.undisturbed("while a Pod came through the webhook", Change::AtLeast(1))?;

    let away = ScaledDown::new("tapir-system", "tapir-operator")?;
    other.scale(3)?;
    wait::until_true("three ready Pods without an operator", Duration::from_secs(60), || {
        Ok(other.pods()?.iter().filter(|pod| is_ready(pod)).count() == 3)
    })?;
    away.still()?;
    let missed = other.pods()?.iter().filter(|pod| !is_injected(pod)).count();
    ensure!(missed == 1, "{missed} Pods without sidecars");
    drop(away);
    other.wait_pods(3)?;
    other.wait_condition("Injected", "True", None)?;
    of_other.undisturbed("while the operator was away and came back", Change::AtLeast(1))?;
    // Before the edges go, so that they go as they came.
    drop(release);
    ensure!(policy_is_there()?, "the API server injects by itself again");
    other.passed()?;
    canary.passed()
}
