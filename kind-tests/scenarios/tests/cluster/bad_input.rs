//! Bad input: a condition that names reason and remedy, no crash, and healing by watch once the cause is gone.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::core;
use tapir_scenarios::objects::{condition, items, message, text};
use tapir_scenarios::scene::{EDGE, Scene, secret};
use tapir_scenarios::wait;

/// From the mended cause to the good condition.
const HEALS_WITHIN: Duration = Duration::from_secs(15);

fn restarts_of_operator() -> Result<u64> {
    let pods = items(cluster().get("tapir-system", &["pods", "--selector", "app.kubernetes.io/name=tapir-operator"])?);
    Ok(pods.iter().filter_map(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_u64()).sum())
}

#[test]
fn credentials_missing_then_not_json_then_good() -> Result<()> {
    let _guard = crate::shared();
    let restarts = restarts_of_operator()?;
    let scene = Scene::new("badcreds")?;
    scene.apply_example()?;
    let edge = scene.wait_condition("Enrolled", "False", Some("CredentialsMissing"))?;
    tells(&edge, "Enrolled", &["demo-enrollment"]);
    scene.apply_json(&secret("demo-enrollment", "this is no JSON"))?;
    let edge = scene.wait_condition("Enrolled", "False", Some("CredentialsInvalid"))?;
    tells(&edge, "Enrolled", &["not JSON", "store the file"]);
    scene.credentials()?;
    heals(&scene, "Enrolled")?;
    assert_eq!(restarts_of_operator()?, restarts, "the operator restarted");
    scene.passed()
}

/// The condition names the remedy, in words that a person finds in the manifest.
fn tells(edge: &Value, kind: &str, words: &[&str]) {
    let said = message(edge, kind);
    assert!(words.iter().all(|word| said.contains(word)), "{kind} should speak of {words:?}: {said:?}");
}

fn patch_edge(scene: &Scene, patch: &str) -> Result<()> {
    scene.kubectl(&["patch", "tapiredge", EDGE, "--type=merge", "--patch", patch]).map(|_| ())
}

/// By watch, not by waiting.
fn heals(scene: &Scene, kind: &str) -> Result<()> {
    let mended = Instant::now();
    scene.wait_condition(kind, "True", None)?;
    assert!(mended.elapsed() < HEALS_WITHIN, "healing {kind} took {:?}", mended.elapsed());
    Ok(())
}

#[test]
fn credentials_that_were_used_up_elsewhere_are_refused_until_there_are_new_ones() -> Result<()> {
    let _guard = crate::shared();
    let first = Scene::new("used-a")?;
    let credentials = core::create_node(&first.node)?;
    first.apply_json(&secret("demo-enrollment", &credentials))?;
    first.apply_example()?;
    first.wait_condition("Enrolled", "True", None)?;
    // The first edge goes with its identity; its credentials are worth nothing any more.
    patch_edge(&first, r#"{"spec":{"deletionPolicy":"Delete"}}"#)?;
    first.kubectl(&["delete", "tapiredge", EDGE, "--timeout=60s"])?;
    let second = Scene::new("used-b")?;
    second.apply_json(&secret("demo-enrollment", &credentials))?;
    second.apply_example()?;
    let edge = second.wait_condition("Enrolled", "False", Some("CredentialsUsed"))?;
    tells(&edge, "Enrolled", &["new"]);
    second.credentials()?;
    heals(&second, "Enrolled")?;
    first.passed()?;
    second.passed()
}

#[test]
fn a_missing_policy_is_named_and_heals() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("nopolicy")?;
    patch_edge(&scene, r#"{"spec":{"pop":{"policyRef":{"name":"not-there"}}}}"#)?;
    let edge = scene.wait_condition("PolicyAccepted", "False", Some("PolicyMissing"))?;
    tells(&edge, "PolicyAccepted", &["not-there", "policyRef"]);
    patch_edge(&scene, r#"{"spec":{"pop":{"policyRef":{"name":"default"}}}}"#)?;
    heals(&scene, "PolicyAccepted")?;
    scene.passed()
}

#[test]
fn a_resolver_container_that_is_not_in_the_pod_is_named_and_heals() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("nocontainer")?;
    patch_edge(&scene, r#"{"spec":{"resolver":{"container":"bind"}}}"#)?;
    let edge = scene.wait_condition("Injected", "False", Some("ResolverContainerMissing"))?;
    tells(&edge, "Injected", &["bind", "spec.resolver.container"]);
    patch_edge(&scene, r#"{"spec":{"resolver":{"container":"unbound"}}}"#)?;
    heals(&scene, "Injected")?;
    scene.passed()
}

#[test]
fn two_edges_with_the_same_credentials_make_one_node_until_the_second_has_its_own() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("twins")?;
    let mut twin = scene.edge()?;
    twin["metadata"] = json!({"name": "twin"});
    twin["status"] = Value::Null;
    scene.apply_json(&twin)?;
    let enrolled = |expected: &'static str, reason: &'static str| {
        wait::until(&format!("the twin's Enrolled={expected} {reason}"), Duration::from_secs(60), || {
            let edge = cluster().get(&scene.namespace, &["tapiredge", "twin"])?.unwrap_or_default();
            let holds = condition(&edge, "Enrolled")
                .is_some_and(|(status, why)| status == expected && (reason.is_empty() || why == reason));
            Ok(holds.then_some(edge))
        })
    };
    let edge = enrolled("False", "CredentialsShared")?;
    tells(&edge, "Enrolled", &[EDGE]);
    scene.wait_condition("Enrolled", "True", None)?;
    let own = core::create_node(&format!("twin-{}", scene.node))?;
    scene.apply_json(&secret("twin-enrollment", &own))?;
    twin["spec"]["enrollment"]["credentialsSecretRef"]["name"] = json!("twin-enrollment");
    scene.apply_json(&twin)?;
    let mended = Instant::now();
    enrolled("True", "")?;
    assert!(mended.elapsed() < HEALS_WITHIN, "healing took {:?}", mended.elapsed());
    scene.passed()
}

#[test]
fn nodeman_unreachable_talking_nonsense_or_refusing_is_told_apart_without_a_busy_loop_and_heals() -> Result<()> {
    let _guard = crate::exclusive();
    let restarts = restarts_of_operator()?;
    let scene = Scene::new("badcore")?;
    scene.credentials()?;
    let fault = core::Fault::begin("offline")?;
    scene.apply_example()?;
    let edge = scene.wait_condition("Enrolled", "False", Some("NodemanUnreachable"))?;
    tells(&edge, "Enrolled", &["nodeman"]);
    fault.change("nonsense")?;
    scene.wait_condition("Enrolled", "False", Some("NodemanNonsense"))?;
    fault.change("refuse")?;
    scene.wait_condition("Enrolled", "False", Some("NodemanRefused"))?;
    let calls =
        || Ok::<_, anyhow::Error>(core::dump()?.iter().filter(|entry| text(&entry["target"]).contains(&scene.node)).count());
    let before = calls()?;
    std::thread::sleep(Duration::from_secs(5));
    assert!(calls()? - before < 10, "{} calls to nodeman in five seconds", calls()? - before);
    drop(fault);
    // Nothing tells that nodeman is well again: the next try does, after a pause of half a minute at most.
    let mended = Instant::now();
    scene.wait_condition("Enrolled", "True", None)?;
    assert!(mended.elapsed() < Duration::from_secs(45), "healing took {:?}", mended.elapsed());
    assert_eq!(restarts_of_operator()?, restarts, "the operator restarted");
    scene.passed()
}
