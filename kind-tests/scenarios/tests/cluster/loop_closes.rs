//! The main job: what the resolver saw becomes what the resolver answers.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::dig::{Answer, dig};
use tapir_scenarios::objects::{is_injected, is_ready, name, text};
use tapir_scenarios::outage::ScaledDown;
use tapir_scenarios::record::{bytes_of, find};
use tapir_scenarios::scene::{Scene, example, without_edge};
use tapir_scenarios::sidecar::pop_status;
use tapir_scenarios::{core, wait};

fn unique(label: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{label}-{}.from-edge.looptest.dnstapir.se", now.as_nanos())
}

#[test]
fn a_query_comes_back_from_core_as_a_changed_answer_within_ten_seconds() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("loop")?;
    let edge = scene.wait_condition("CoreConnected", "True", None)?;
    assert_eq!(edge["status"]["observedGeneration"], edge["metadata"]["generation"]);
    let (server, name) = (scene.service_address()?, unique("loop"));
    let asked = Instant::now();
    assert!(matches!(dig(&server, &name)?, Answer::Records(_)), "the name exists in the test Internet");
    wait::until_true("the policy's answer", Duration::from_secs(10), || {
        Ok(dig(&server, &name)? == Answer::Status("NXDOMAIN".into()))
    })?;
    assert!(asked.elapsed() < Duration::from_secs(10), "the loop took {:?}", asked.elapsed());
    scene.passed()
}

#[test]
fn an_allow_listed_looptest_name_is_never_blocked() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::new("allow")?;
    let (allowed, control) = (unique("allowed"), unique("control"));
    scene.credentials()?;
    scene.apply_changed_example(|manifest| manifest.replace("allowed.from-edge.looptest.dnstapir.se", &allowed))?;
    scene.wait_ready()?;
    scene.wait_condition("CoreConnected", "True", None)?;
    let servers: Vec<String> = scene.pods()?.iter().map(|pod| text(&pod["status"]["podIP"])).collect();
    // One Pod reports the allowed name first and the control name after it, so when the control name is blocked, Core's observation
    // of the allowed one was here as well.
    for name in [&allowed, &control] {
        assert!(matches!(dig(&servers[0], name)?, Answer::Records(_)));
    }
    for server in &servers {
        wait::until_true("the control name is blocked", Duration::from_secs(20), || {
            Ok(dig(server, &control)? == Answer::Status("NXDOMAIN".into()))
        })?;
    }
    let at_core = core::dump()?.into_iter().filter(|entry| entry["verdict"] == "accepted");
    assert!(
        at_core.flat_map(|entry| bytes_of(&entry)).any(|bytes| find(&bytes, allowed.as_bytes())),
        "Core took the event of the allowed name"
    );
    for _ in 0..5 {
        for server in &servers {
            assert!(matches!(dig(server, &allowed)?, Answer::Records(_)), "an allow-listed name was blocked");
        }
    }
    scene.passed()
}

#[test]
fn a_denied_name_is_blocked_before_any_observation_came() -> Result<()> {
    let _guard = crate::exclusive();
    // Without a broker no observation can come, from before the Pods exist.
    let no_broker = ScaledDown::new(core::NAMESPACE, "broker")?;
    let scene = Scene::new("deny")?;
    scene.credentials()?;
    scene.apply_example()?;
    scene.wait_condition("Enrolled", "True", None)?;
    scene.wait_injected()?;
    for pod in scene.pods()? {
        let server = text(&pod["status"]["podIP"]);
        wait::until_true("the denied name is blocked", Duration::from_secs(20), || {
            Ok(dig(&server, "denied.example.se")? == Answer::Status("NXDOMAIN".into()))
        })?;
        assert_eq!(dig(&server, "below.denied.example.se")?, Answer::Status("NXDOMAIN".into()));
        assert!(matches!(dig(&server, "www.example.se")?, Answer::Records(_)), "other names are answered");
        let status = pop_status(&scene.namespace, &name(&pod))?;
        let observed = status["pop"]["sources"].as_array().into_iter().flatten().find(|source| source["name"] == "dns-tapir");
        let observed = observed.context("the source that Core's observations go to")?;
        assert!(status["core"]["connected"] == false && status["pop"]["lastLooptest"].is_null(), "{status}");
        assert!(observed["entries"] == 0 && observed["rejected"] == 0 && observed["updatedAt"].is_null(), "{observed}");
    }
    no_broker.still()?;
    scene.passed()
}

#[test]
fn everything_in_one_apply_ends_injected_and_ready_although_pods_came_first() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::new("oneapply")?;
    let credentials = core::create_node(&scene.node)?;
    let folder = cluster().artifacts.join(format!("{}.kustomize", scene.namespace));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("credentials.json"), credentials)?;
    std::fs::write(folder.join("all.yaml"), example()?)?;
    std::fs::write(
        folder.join("kustomization.yaml"),
        format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: {}\nresources: [all.yaml]\ngeneratorOptions: {{disableNameSuffixHash: true}}\nsecretGenerator:\n- {{name: demo-enrollment, files: [credentials.json]}}\n",
            scene.namespace
        ),
    )?;
    cluster().kubectl(&["apply", "--kustomize", &folder.to_string_lossy()])?;
    scene.wait_ready()?;
    scene.passed()
}

#[test]
fn a_lone_pod_that_was_never_injected_is_reported_and_left_alone() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::new("lone")?;
    let alone = |manifest: String| manifest.replace("replicas: 2", "replicas: 1");
    scene.apply_changed_example(|manifest| without_edge(&alone(manifest)))?;
    wait::until_true("the resolver is ready", Duration::from_secs(90), || Ok(scene.pods()?.iter().any(is_ready)))?;
    let before = scene.pods()?;
    scene.credentials()?;
    scene.apply_changed_example(alone)?;
    scene.wait_condition("Enrolled", "True", None)?;
    scene.wait_condition("Injected", "False", None)?;
    let after = scene.pods()?;
    assert_eq!(before[0]["metadata"]["uid"], after[0]["metadata"]["uid"], "the lone Pod was replaced");
    assert!(!is_injected(&after[0]));
    scene.passed()
}
