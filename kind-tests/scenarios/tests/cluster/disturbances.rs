//! No fault of ours costs one DNS answer: a client asks twenty times a second through the Service's cluster IP all the while.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::objects::{is_injected, is_ready, name};
use tapir_scenarios::probe::Probe;
use tapir_scenarios::scene::{EDGE, RESOLVER, Scene, without_edge};
use tapir_scenarios::{core, wait};

const ASKED: &str = "www.example.se";
const WORKERS: [&str; 2] = ["tapir-edm", "tapir-pop"];

fn scale(namespace: &str, deployment: &str, replicas: u32) -> Result<()> {
    cluster().kubectl(&[
        "--namespace",
        namespace,
        "scale",
        &format!("deployment/{deployment}"),
        &format!("--replicas={replicas}"),
    ])?;
    let selector = "--output=jsonpath={.status.replicas}";
    wait::until_true("the scaled Deployment", Duration::from_secs(60), || {
        let now = cluster().kubectl(&["--namespace", namespace, "get", "deployment", deployment, selector])?;
        Ok(now.trim().parse().unwrap_or(0) == replicas)
    })
}

/// Brings a Deployment back, also when the scenario fails.
struct ScaledDown(&'static str, &'static str);

impl ScaledDown {
    fn new(namespace: &'static str, deployment: &'static str) -> Result<Self> {
        scale(namespace, deployment, 0)?;
        Ok(Self(namespace, deployment))
    }
}

impl Drop for ScaledDown {
    fn drop(&mut self) {
        let _ = scale(self.0, self.1, 1);
        let _ =
            cluster().kubectl(&["--namespace", self.0, "rollout", "status", &format!("deployment/{}", self.1), "--timeout=90s"]);
    }
}

#[test]
fn pods_that_are_created_while_the_operator_is_absent_are_injected_all_the_same() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::ready("absent")?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let absent = ScaledDown::new("tapir-system", "tapir-operator")?;
    scene.kubectl(&["scale", "deployment/unbound", "--replicas=3"])?;
    wait::until_true("a third injected ready Pod", Duration::from_secs(90), || {
        let pods = scene.pods()?;
        Ok(pods.len() == 3 && pods.iter().all(|pod| is_ready(pod) && is_injected(pod)))
    })?;
    probe.assert_endpoints_stay()?;
    probe.verdict("while the operator was absent")?;
    drop(absent);
    scene.passed()
}

#[test]
fn core_is_down() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::ready("coredown")?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let fault = core::Fault::begin("offline")?;
    // Every worker starts anew without Core.
    let killed = kill_workers_for(&scene, Duration::from_secs(5))?;
    assert!(killed >= 4, "only {killed} kills took effect");
    probe.assert_endpoints_stay()?;
    probe.verdict("while Core was down")?;
    drop(fault);
    scene.passed()
}

#[test]
fn the_broker_is_down() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::ready("brokerdown")?;
    scene.wait_condition("CoreConnected", "True", None)?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let down = ScaledDown::new(core::NAMESPACE, "broker")?;
    scene.wait_condition("CoreConnected", "False", None)?;
    let killed = kill_workers_for(&scene, Duration::from_secs(5))?;
    assert!(killed >= 4, "only {killed} kills took effect");
    probe.assert_endpoints_stay()?;
    probe.verdict("while the broker was down")?;
    drop(down);
    scene.wait_condition("CoreConnected", "True", None)?;
    scene.passed()
}

fn kill_workers_for(scene: &Scene, duration: Duration) -> Result<u32> {
    let pods: Vec<String> = scene.pods()?.iter().map(name).collect();
    let (start, mut killed) = (Instant::now(), 0);
    while start.elapsed() < duration {
        let round = Instant::now();
        std::thread::scope(|threads| {
            let kills: Vec<_> = pods
                .iter()
                .flat_map(|pod| WORKERS.map(|container| (pod, container)))
                .map(|(pod, container)| {
                    threads.spawn(move || {
                        scene
                            .kubectl(&["exec", pod, "--container", container, "--", "/usr/bin/tapir-init", "kill", "KILL"])
                            .is_ok()
                    })
                })
                .collect();
            killed += u32::try_from(kills.into_iter().filter_map(|kill| kill.join().ok()).filter(|killed| *killed).count())
                .unwrap_or(0);
        });
        std::thread::sleep(Duration::from_secs(1).saturating_sub(round.elapsed()));
    }
    Ok(killed)
}

#[test]
fn both_workers_are_killed_every_second_for_a_minute() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("kills")?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let killed = kill_workers_for(&scene, Duration::from_secs(60))?;
    assert!(killed >= 40, "only {killed} kills took effect");
    probe.assert_endpoints_stay()?;
    probe.verdict("while the workers were killed")?;
    for pod in scene.pods()? {
        for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
            assert_eq!(status["restartCount"], 0, "container {} restarted", status["name"]);
        }
    }
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
    probe.assert_endpoints_stay()?;
    probe.verdict("while the identity was deleted")?;
    scene.passed()
}

#[test]
fn the_edge_is_deleted() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("offboard")?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    scene.kubectl(&["delete", "tapiredge", EDGE, "--timeout=60s"])?;
    probe.assert_endpoints_stay()?;
    probe.verdict("while the edge was deleted")?;
    let identity = cluster().get(&scene.namespace, &["secret", "demo-identity"])?.context("the identity outlives the edge")?;
    assert!(identity["metadata"]["deletionTimestamp"].is_null());
    // Created again with the same name and credentials, the edge adopts it.
    scene.apply_example()?;
    scene.wait_condition("Enrolled", "True", None)?;
    let adopted = cluster().get(&scene.namespace, &["secret", "demo-identity"])?.context("the identity")?;
    assert_eq!(adopted["data"], identity["data"]);
    probe.verdict("while the edge came back")?;
    scene.passed()
}

#[test]
fn a_sidecar_image_that_cannot_be_pulled_does_not_keep_a_new_pods_resolver_from_answering() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::ready("nopull")?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let good = cluster().image("tapir-edm")?;
    let chart = cluster().repo.join("charts/tapir-operator");
    let set = |image: &str| -> Result<()> {
        let value = format!("images.edm={image}");
        let upgrade = ["upgrade", "tapir-operator", &chart.to_string_lossy(), "--namespace", "tapir-system", "--reuse-values"];
        cluster().helm(&[&upgrade[..], &["--set-string", &value]].concat())?;
        cluster()
            .kubectl(&["--namespace", "tapir-system", "rollout", "status", "deployment/tapir-operator", "--timeout=90s"])
            .map(|_| ())
    };
    set("tapir.local/not-there:0")?;
    let outcome = (|| -> Result<()> {
        wait::until_true("the new image in what is injected", Duration::from_secs(60), || {
            Ok(scene.edge()?["status"]["injection"].to_string().contains("not-there"))
        })?;
        scene.kubectl(&["scale", "deployment/unbound", "--replicas=3"])?;
        scene.wait_condition("Injected", "False", Some("ImagePullFailed"))?;
        let pods = scene.pods()?;
        let waiting = pods.iter().find(|pod| !is_ready(pod)).context("the Pod whose sidecar cannot be pulled")?;
        let address = waiting["status"]["podIP"].as_str().unwrap_or_default().to_owned();
        let answer = tapir_scenarios::dig::dig(&address, ASKED)?;
        ensure!(
            matches!(answer, tapir_scenarios::dig::Answer::Records(_)),
            "its resolver answers in the Pod all the same: {answer:?}"
        );
        probe.assert_endpoints_stay()?;
        probe.verdict("while a sidecar image could not be pulled")
    })();
    set(&good)?;
    outcome?;
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
    let mut fewest = 3;
    wait::until_true("three injected Pods", Duration::from_secs(180), || {
        let pods = scene.pods()?;
        fewest = fewest.min(pods.iter().filter(|pod| is_ready(pod)).count());
        Ok(pods.len() == 3 && pods.iter().all(|pod| is_ready(pod) && is_injected(pod)))
    })?;
    assert!(fewest >= 2, "down to {fewest} ready Pods: not one by one");
    scene.wait_condition("Injected", "True", None)?;
    probe.verdict("while the Pods were replaced")?;
    scene.passed()
}
