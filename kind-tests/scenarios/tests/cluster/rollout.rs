//! Another release of a sidecar comes into running Pods, one at a time, and a bad one goes out again. A client asks all the while.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::dig::{Answer, dig};
use tapir_scenarios::endpoints::Change;
use tapir_scenarios::objects::{is_ready, name, pop_image, says, text};
use tapir_scenarios::probe::Probe;
use tapir_scenarios::scene::{RESOLVER, Scene};
use tapir_scenarios::sidecar::{kill_workers_for, no_container_restarted, pop_status};
use tapir_scenarios::wait;

const ASKED: &str = "www.example.se";
const MISSING: &str = "tapir.local/not-there:0";

/// Pins the image of the edge's POP.
fn pin(scene: &Scene, image: &str) -> Result<()> {
    scene.patch(&json!({"spec": {"pop": {"image": image}}}))
}

fn pause(scene: &Scene, paused: bool) -> Result<()> {
    scene.patch(&json!({"spec": {"rollout": {"paused": paused}}}))
}

fn rollout(scene: &Scene) -> Result<Value> {
    Ok(scene.edge()?["status"]["rollout"].clone())
}

fn phase(scene: &Scene) -> Result<String> {
    Ok(text(&rollout(scene)?["phase"]))
}

fn images(pods: &[Value]) -> Vec<String> {
    pods.iter().filter_map(pop_image).collect()
}

/// How many Pods run an image by their specification.
fn run(scene: &Scene, image: &str) -> Result<usize> {
    Ok(images(&scene.pods()?).iter().filter(|found| *found == image).count())
}

/// Without those that nobody would bring back.
fn owned(scene: &Scene) -> Result<Vec<Value>> {
    let mut pods = scene.pods()?;
    pods.retain(|pod| pod["metadata"]["ownerReferences"].is_array());
    Ok(pods)
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
fn another_release_is_patched_into_running_pods_one_at_a_time_and_rests_while_it_is_paused() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::with_pods("inplace", 3, |manifest| manifest)?;
    let before = scene.pods()?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let other = cluster().image("test-pop-variant")?;
    pin(&scene, &other)?;
    wait::until_true("the first Pod has it", Duration::from_secs(60), || Ok(run(&scene, &other)? > 0))?;
    pause(&scene, true)?;
    wait::until_true("what had begun to end", Duration::from_secs(60), || {
        let rollout = rollout(&scene)?;
        Ok(rollout["phase"] == "Paused" && rollout["pod"].is_null() && scene.pods()?.iter().all(is_ready))
    })?;
    let done = run(&scene, &other)?;
    ensure!((1..3).contains(&done), "{done} of three Pods have it");
    wait::holds("no other Pod gets it", Duration::from_secs(6), || Ok(run(&scene, &other)? == done))?;
    pause(&scene, false)?;
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
    says(&edge, "Injected", &["was put back", "GET /status"])?;
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
fn a_change_of_structure_replaces_pods_by_eviction_but_none_that_a_budget_holds_no_bare_one_and_no_last_one() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::with_pods("structure", 3, |manifest| manifest)?;
    let before = owned(&scene)?;
    scene.apply_json(&scene.bare_pod("bare")?)?;
    scene.wait_pods(4)?;
    let bare = || -> Result<String> {
        let pod = scene.pods()?.into_iter().find(|pod| name(pod) == "bare");
        Ok(pod.filter(is_ready).map(|pod| text(&pod["metadata"]["uid"])).unwrap_or_default())
    };
    let (bare_before, probe) = (bare()?, Probe::start(&scene.namespace, RESOLVER, ASKED)?);
    let budget = |most: u32| {
        let patch = json!({"spec": {"maxUnavailable": most}}).to_string();
        scene.kubectl(&["patch", "poddisruptionbudget", "unbound", "--type=merge", "--patch", &patch])
    };
    let structure = |cpu: &str| {
        let resources = json!({"requests": {"cpu": cpu, "memory": "32Mi"}});
        scene.patch(&json!({"spec": {"rollout": {"strategy": "Evict"}, "edm": {"resources": resources}}}))
    };
    let waits_for = |reason: &str| {
        wait::until(&format!("the rollout to wait: {reason}"), Duration::from_secs(60), || {
            Ok(Some(rollout(&scene)?).filter(|rollout| rollout["phase"] == "Waiting" && rollout["reason"] == reason))
        })
    };
    budget(0)?;
    structure("10m")?;
    let held = waits_for("Refused")?;
    ensure!(text(&held["message"]).contains("unbound"), "{held}");
    ensure!(uids(&owned(&scene)?) == uids(&before), "a Pod went in spite of the budget");
    probe.undisturbed("while the budget let no Pod go", Change::None)?;

    budget(1)?;
    wait::until_true("every Pod that has a controller is another one and ready", Duration::from_secs(180), || {
        let pods = owned(&scene)?;
        let (old, new) = (uids(&before), uids(&pods));
        Ok(new.len() == 3 && pods.iter().all(is_ready) && new.iter().all(|uid| !old.contains(uid)))
    })?;
    waits_for("BarePod")?;
    ensure!(bare()? == bare_before, "the bare Pod stays");
    probe.undisturbed("while Pods were replaced", Change::EachReplaced)?;

    scene.kubectl(&["delete", "pod", "bare", "--wait=false"])?;
    wait::until_true("nothing is left to do", Duration::from_secs(60), || Ok(phase(&scene)? == "Current"))?;
    scene.scale(1)?;
    wait::until_true("one Pod", Duration::from_secs(60), || Ok(scene.pods()?.len() == 1))?;
    let last = uids(&scene.pods()?);
    structure("11m")?;
    waits_for("LonePod")?;
    wait::holds("the last Pod stays", Duration::from_secs(4), || Ok(uids(&scene.pods()?) == last))?;
    probe.undisturbed("with one Pod left", Change::AtLeast(1))?;
    scene.passed()
}

#[test]
fn native_sidecars_are_killed_exchanged_and_fail_to_start_beside_a_resolver_that_answers() -> Result<()> {
    let _guard = crate::shared();
    let native = |manifest: String| manifest.replace("\n  pop:\n", "\n  injection:\n    form: Native\n  pop:\n");
    let scene = Scene::with_pods("native", 2, native)?;
    for pod in scene.pods()? {
        let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array().cloned().unwrap_or_default());
        let [native, plain] = lists;
        ensure!(
            native.len() == 2 && native.iter().all(|sidecar| sidecar["restartPolicy"] == "Always") && plain.len() == 1,
            "{pod}"
        );
    }
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let kills = kill_workers_for(&scene, Duration::from_secs(8), || Ok(()))?;
    kills.each_at_least(&scene, 3)?;
    no_container_restarted(&scene)?;
    probe.undisturbed("while the workers were killed", Change::None)?;

    let other = cluster().image("test-pop-variant")?;
    pin(&scene, &other)?;
    all_run(&scene, &other)?;
    probe.undisturbed("while another release came", Change::Restarts(1))?;

    let broken = cluster().image("test-pop-broken")?;
    scene.patch(&json!({"spec": {"rollout": {"strategy": "OnRestart"}, "pop": {"image": broken}}}))?;
    scene.wait_given(&broken)?;
    scene.scale(3)?;
    scene.wait_pods(3)?;
    let pods = scene.pods()?;
    let new = pods.iter().find(|pod| pop_image(pod).as_ref() == Some(&broken)).context("the new Pod")?;
    ensure!(pop_status(&scene.namespace, &name(new)).is_err(), "its POP works, and was not to");
    let answer = dig(&text(&new["status"]["podIP"]), ASKED)?;
    ensure!(matches!(answer, Answer::Records(_)), "its resolver answers all the same: {answer:?}");
    probe.undisturbed("while a sidecar could not start", Change::AtLeast(1))?;
    scene.passed()
}
