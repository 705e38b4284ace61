//! Another release of a sidecar comes into running Pods, one at a time, and a bad one goes out again. A client asks all the while.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::endpoints::Change;
use tapir_scenarios::objects::{is_ready, says, text};
use tapir_scenarios::probe::Probe;
use tapir_scenarios::scene::{EDGE, RESOLVER, Scene};
use tapir_scenarios::sidecar::no_container_restarted;
use tapir_scenarios::wait;

const ASKED: &str = "www.example.se";
const MISSING: &str = "tapir.local/not-there:0";

/// Pins the image of the edge's POP.
fn pin(scene: &Scene, image: &str) -> Result<()> {
    let patch = serde_json::json!({"spec": {"pop": {"image": image}}}).to_string();
    scene.kubectl(&["patch", "tapiredge", EDGE, "--type=merge", "--patch", &patch]).map(|_| ())
}

fn phase(scene: &Scene) -> Result<String> {
    Ok(text(&scene.edge()?["status"]["rollout"]["phase"]))
}

/// Image of POP by the specification of each Pod.
fn images(pods: &[Value]) -> Vec<String> {
    let containers = pods.iter().flat_map(|pod| pod["spec"]["containers"].as_array().into_iter().flatten());
    containers.filter(|container| container["name"] == "tapir-pop").map(|container| text(&container["image"])).collect()
}

fn uids(pods: &[Value]) -> Vec<String> {
    let mut uids: Vec<String> = pods.iter().map(|pod| text(&pod["metadata"]["uid"])).collect();
    uids.sort();
    uids
}

fn all_run(scene: &Scene, image: &str) -> Result<()> {
    wait::until_true(&format!("all Pods ready with {image}"), Duration::from_secs(120), || {
        let pods = scene.pods()?;
        let current = phase(scene)? == "Current";
        Ok(current && pods.iter().all(is_ready) && images(&pods).iter().all(|found| found == image))
    })
}

#[test]
fn another_release_is_patched_into_running_pods_one_at_a_time() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("inplace")?;
    let before = scene.pods()?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let other = cluster().image("test-pop-variant")?;
    pin(&scene, &other)?;
    all_run(&scene, &other)?;
    ensure!(uids(&scene.pods()?) == uids(&before), "Pods were replaced");
    scene.wait_condition("Ready", "True", None)?;
    probe.undisturbed("while the release came", Change::Restarts(1))?;
    scene.passed()
}

#[test]
fn a_release_that_does_not_work_is_taken_back_after_a_minute_and_reaches_no_second_pod() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("wayback")?;
    let before = images(&scene.pods()?);
    let good = before[0].clone();
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let broken = cluster().image("test-pop-broken")?;
    pin(&scene, &broken)?;
    wait::until_true("one Pod has the broken release", Duration::from_secs(60), || {
        Ok(images(&scene.pods()?).iter().filter(|image| **image == broken).count() == 1)
    })?;
    wait::until_true("it is taken back", Duration::from_secs(120), || {
        let found = images(&scene.pods()?);
        ensure!(found.iter().filter(|image| **image == broken).count() <= 1, "two Pods have it: {found:?}");
        Ok(found.iter().all(|image| *image == good) && phase(&scene)? == "Halted")
    })?;
    let edge = scene.wait_condition("Injected", "False", Some("RolloutHalted"))?;
    says(&edge, "Injected", &["tapir-pop"])?;
    wait::until_true("both resolvers are ready", Duration::from_secs(60), || Ok(scene.pods()?.iter().all(is_ready)))?;
    probe.undisturbed("while a broken release came and went", Change::Restarts(2))?;
    // The remedy: another release.
    let other = cluster().image("test-pop-variant")?;
    pin(&scene, &other)?;
    all_run(&scene, &other)?;
    probe.undisturbed("after the remedy", Change::Restarts(4))?;
    scene.passed()
}

#[test]
fn a_release_that_cannot_be_pulled_touches_no_pod() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("prepull")?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    pin(&scene, MISSING)?;
    let edge = scene.wait_condition("Injected", "False", Some("RolloutHalted"))?;
    says(&edge, "Injected", &[MISSING])?;
    ensure!(!images(&scene.pods()?).iter().any(|image| image == MISSING), "a Pod was patched");
    no_container_restarted(&scene)?;
    probe.undisturbed("while an image could not be pulled", Change::None)?;
    scene.passed()
}

#[test]
fn a_change_of_structure_replaces_pods_by_eviction_when_asked_to() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("structure")?;
    scene.kubectl(&["scale", "deployment/unbound", "--replicas=3"])?;
    wait::until_true("three resolvers", Duration::from_secs(90), || {
        Ok(scene.pods()?.iter().filter(|pod| is_ready(pod)).count() == 3)
    })?;
    let before = scene.pods()?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let patch = r#"{"spec":{"rollout":{"strategy":"Evict"},"edm":{"resources":{"requests":{"cpu":"10m","memory":"32Mi"}}}}}"#;
    scene.kubectl(&["patch", "tapiredge", EDGE, "--type=merge", "--patch", patch])?;
    wait::until_true("every Pod is another one and ready", Duration::from_secs(180), || {
        let pods = scene.pods()?;
        let (old, new) = (uids(&before), uids(&pods));
        Ok(pods.len() == 3
            && pods.iter().all(is_ready)
            && new.iter().all(|uid| !old.contains(uid))
            && phase(&scene)? == "Current")
    })?;
    probe.undisturbed("while Pods were replaced", Change::EachReplaced)?;
    scene.passed()
}
