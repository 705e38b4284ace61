//! No fault of ours costs one DNS answer, neither while it lasts nor when it ends: a client asks twenty times a second through the Service's
//! cluster IP all the while.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::dig::{Answer, dig};
use tapir_scenarios::endpoints::Change;
use tapir_scenarios::objects::{is_injected, is_ready, name, says, text};
use tapir_scenarios::outage::{Port, ScaledDown};
use tapir_scenarios::probe::Probe;
use tapir_scenarios::scene::{EDGE, RESOLVER, Scene, without_edge};
use tapir_scenarios::sidecar::{kill_workers_for, no_container_restarted};
use tapir_scenarios::{core, wait};

const ASKED: &str = "www.example.se";
const MISSING: &str = "tapir.local/not-there:0";
/// How long Core and broker are away.
const OUTAGE: Duration = Duration::from_secs(25);

#[test]
fn pods_that_are_created_while_the_operator_is_absent_are_injected_all_the_same() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::ready("absent")?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let absent = ScaledDown::new("tapir-system", "tapir-operator")?;
    scene.scale(3)?;
    scene.wait_pods(3)?;
    absent.still()?;
    probe.undisturbed("while the operator was absent", Change::Joins(1))?;
    drop(absent);
    wait::until_true("the operator counts the new Pod", Duration::from_secs(60), || {
        Ok(scene.edge()?["status"]["pods"]["injected"].as_u64() == Some(3))
    })?;
    probe.undisturbed("after the operator came back", Change::Joins(1))?;
    scene.passed()
}

#[test]
fn core_is_down() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::ready("coredown")?;
    scene.wait_condition("CoreConnected", "True", None)?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let ports = [8443, 8444].map(|port| Port::in_use(core::NAMESPACE, "core", port));
    let [nodeman, aggrec] = ports;
    let (nodeman, aggrec) = (nodeman?, aggrec?);
    let fault = core::Fault::begin("offline")?;
    // Every worker starts anew without Core.
    let kills = kill_workers_for(&scene, OUTAGE, || nodeman.is_closed().and_then(|()| aggrec.is_closed()))?;
    kills.each_at_least(&scene, 3)?;
    probe.undisturbed("while Core was down", Change::None)?;
    nodeman.is_closed().context("at the end of the outage")?;
    drop(fault);
    loop_closes(&scene)?;
    no_container_restarted(&scene)?;
    probe.undisturbed("after Core came back", Change::None)?;
    scene.passed()
}

/// Core hears of a query and answers.
fn loop_closes(scene: &Scene) -> Result<()> {
    let server = scene.service_address()?;
    let mut asked = 0;
    wait::until_true("a query comes back from Core as a changed answer", Duration::from_secs(60), || {
        asked += 1;
        // The way may have been open for the next name only.
        let name = format!("{}-{}.from-edge.looptest.dnstapir.se", scene.namespace, asked / 20);
        Ok(dig(&server, &name)? == Answer::Status("NXDOMAIN".into()))
    })
}

#[test]
fn the_broker_is_down() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::ready("brokerdown")?;
    scene.wait_condition("CoreConnected", "True", None)?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let port = Port::in_use(core::NAMESPACE, "broker", 8883)?;
    let down = ScaledDown::new(core::NAMESPACE, "broker")?;
    scene.wait_condition("CoreConnected", "False", None)?;
    let kills = kill_workers_for(&scene, OUTAGE, || port.is_closed())?;
    kills.each_at_least(&scene, 3)?;
    probe.undisturbed("while the broker was down", Change::None)?;
    down.still()?;
    drop(down);
    scene.wait_condition("CoreConnected", "True", None)?;
    loop_closes(&scene)?;
    no_container_restarted(&scene)?;
    probe.undisturbed("after the broker came back", Change::None)?;
    scene.passed()
}

#[test]
fn both_workers_are_killed_every_second_for_a_minute() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("kills")?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let kills = kill_workers_for(&scene, Duration::from_secs(60), || Ok(()))?;
    ensure!(kills.rounds >= 40, "not every second: {kills:?}");
    ensure!(kills.took >= Duration::from_secs(60), "not for a minute: {kills:?}");
    // With pauses that grow to five seconds, a worker can die some fourteen times in a minute.
    kills.each_at_least(&scene, 8)?;
    probe.undisturbed("while the workers were killed", Change::None)?;
    no_container_restarted(&scene)?;
    scene.wait_condition("Ready", "True", None)?;
    probe.undisturbed("after the workers were left alone", Change::None)?;
    scene.passed()
}

#[test]
fn a_deleted_identity_is_back_the_same_within_seconds() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("identity")?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let identity = || cluster().get(&scene.namespace, &["secret", "demo-identity"]);
    let before = identity()?.context("the identity")?;
    let deleted = Instant::now();
    scene.kubectl(&["delete", "secret", "demo-identity", "--wait=false"])?;
    wait::until_true("the identity is back", Duration::from_secs(20), || {
        Ok(identity()?.is_some_and(|now| {
            now["metadata"]["uid"] != before["metadata"]["uid"]
                && now["metadata"]["deletionTimestamp"].is_null()
                && now["data"] == before["data"]
        }))
    })?;
    assert!(deleted.elapsed() < Duration::from_secs(10), "it took {:?}", deleted.elapsed());
    scene.wait_condition("Enrolled", "True", None)?;
    wait::until_true("the rescue copy goes", Duration::from_secs(20), || {
        Ok(cluster().get(&scene.namespace, &["secret", "demo-identity-rescue"])?.is_none())
    })?;
    probe.undisturbed("while the identity was deleted", Change::None)?;
    scene.passed()
}

#[test]
fn the_edge_is_deleted() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("offboard")?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    scene.kubectl(&["delete", "tapiredge", EDGE, "--timeout=60s"])?;
    probe.undisturbed("while the edge was deleted", Change::None)?;
    let identity = cluster().get(&scene.namespace, &["secret", "demo-identity"])?.context("the identity outlives the edge")?;
    assert!(identity["metadata"]["deletionTimestamp"].is_null());
    // Created again with the same name and credentials, the edge adopts it.
    scene.apply_example()?;
    scene.wait_condition("Enrolled", "True", None)?;
    let adopted = cluster().get(&scene.namespace, &["secret", "demo-identity"])?.context("the identity")?;
    assert_eq!(adopted["data"], identity["data"]);
    scene.wait_condition("Ready", "True", None)?;
    loop_closes(&scene)?;
    probe.undisturbed("while the edge came back", Change::None)?;
    scene.passed()
}

#[test]
fn a_sidecar_image_that_cannot_be_pulled_does_not_keep_a_new_pods_resolver_from_answering() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::with_pods("nopull", 2, |manifest| manifest)?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    // By the other strategies new Pods get only what another Pod runs well.
    scene.patch(&json!({"spec": {"rollout": {"strategy": "OnRestart"}, "edm": {"image": MISSING}}}))?;
    wait::until_true("the image in what is injected", Duration::from_secs(60), || {
        Ok(scene.would_become(&scene.bare_pod("would-be")?)?.to_string().contains(MISSING))
    })?;
    scene.scale(3)?;
    let edge = scene.wait_condition("Injected", "False", Some("ImagePullFailed"))?;
    let pods = scene.pods()?;
    let waiting = pods.iter().find(|pod| !is_ready(pod)).context("the Pod whose sidecar cannot be pulled")?;
    says(&edge, "Injected", &["tapir-edm", MISSING, &name(waiting)])?;
    let answer = dig(&text(&waiting["status"]["podIP"]), ASKED)?;
    ensure!(matches!(answer, Answer::Records(_)), "its resolver answers in the Pod all the same: {answer:?}");
    probe.undisturbed("while a sidecar image could not be pulled", Change::None)?;

    scene.patch(&json!({"spec": {"edm": {"image": null}}}))?;
    wait::until_true("the image out of what is injected", Duration::from_secs(60), || {
        Ok(!scene.would_become(&scene.bare_pod("would-be")?)?.to_string().contains(MISSING))
    })?;
    scene.kubectl(&["delete", "pod", &name(waiting), "--wait=false"])?;
    scene.wait_pods(3)?;
    scene.wait_condition("Injected", "True", None)?;
    probe.undisturbed("after the image was there again", Change::Joins(1))?;
    scene.passed()
}

#[test]
fn pods_that_were_never_injected_are_evicted_one_by_one_beside_another_ready_one() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::new("evict")?;
    let three = |manifest: String| manifest.replace("replicas: 2", "replicas: 3");
    scene.apply_changed_example(|manifest| without_edge(&three(manifest)))?;
    wait::until_true("three resolvers", Duration::from_secs(90), || {
        Ok(scene.pods()?.iter().filter(|pod| is_ready(pod)).count() == 3)
    })?;
    assert!(scene.pods()?.iter().all(|pod| !is_injected(pod)));
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    scene.credentials()?;
    scene.apply_changed_example(three)?;
    scene.wait_pods(3)?;
    scene.wait_condition("Injected", "True", None)?;
    probe.undisturbed("while the Pods were replaced", Change::EachReplaced)?;
    scene.passed()
}
