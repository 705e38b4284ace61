//! Bad input: a condition that names reason and remedy, no crash, and healing by watch once the cause is gone.

use std::time::{Duration, Instant};

use anyhow::Result;
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::core;
use tapir_scenarios::objects::items;
use tapir_scenarios::scene::{EDGE, Scene, secret};

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
    scene.wait_condition("Enrolled", "False", Some("CredentialsMissing"))?;
    scene.apply_json(&secret("demo-enrollment", "this is no JSON"))?;
    scene.wait_condition("Enrolled", "False", Some("CredentialsInvalid"))?;
    scene.credentials()?;
    let mended = Instant::now();
    scene.wait_condition("Enrolled", "True", None)?;
    assert!(mended.elapsed() < HEALS_WITHIN, "healing took {:?}", mended.elapsed());
    assert_eq!(restarts_of_operator()?, restarts, "the operator restarted");
    scene.passed()
}

#[test]
fn credentials_that_were_used_up_elsewhere_are_refused_for_good() -> Result<()> {
    let _guard = crate::shared();
    let first = Scene::new("used-a")?;
    let credentials = core::create_node(&first.node)?;
    first.apply_json(&secret("demo-enrollment", &credentials))?;
    first.apply_example()?;
    first.wait_condition("Enrolled", "True", None)?;
    // The first edge goes with its identity; its credentials are worth nothing any more.
    first.kubectl(&["patch", "tapiredge", EDGE, "--type=merge", "--patch", r#"{"spec":{"deletionPolicy":"Delete"}}"#])?;
    first.kubectl(&["delete", "tapiredge", EDGE, "--timeout=60s"])?;
    let second = Scene::new("used-b")?;
    second.apply_json(&secret("demo-enrollment", &credentials))?;
    second.apply_example()?;
    second.wait_condition("Enrolled", "False", Some("CredentialsUsed"))?;
    first.passed()?;
    second.passed()
}

#[test]
fn a_missing_policy_is_named_and_heals() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("nopolicy")?;
    scene.kubectl(&[
        "patch",
        "tapiredge",
        EDGE,
        "--type=merge",
        "--patch",
        r#"{"spec":{"pop":{"policyRef":{"name":"not-there"}}}}"#,
    ])?;
    scene.wait_condition("PolicyAccepted", "False", Some("PolicyMissing"))?;
    scene.kubectl(&[
        "patch",
        "tapiredge",
        EDGE,
        "--type=merge",
        "--patch",
        r#"{"spec":{"pop":{"policyRef":{"name":"default"}}}}"#,
    ])?;
    let mended = Instant::now();
    scene.wait_condition("PolicyAccepted", "True", None)?;
    assert!(mended.elapsed() < HEALS_WITHIN, "healing took {:?}", mended.elapsed());
    scene.passed()
}

#[test]
fn a_resolver_container_that_is_not_in_the_pod_is_named() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("nocontainer")?;
    scene.kubectl(&["patch", "tapiredge", EDGE, "--type=merge", "--patch", r#"{"spec":{"resolver":{"container":"bind"}}}"#])?;
    scene.wait_condition("Injected", "False", Some("ResolverContainerMissing"))?;
    scene.passed()
}

#[test]
fn two_edges_with_the_same_credentials_make_one_node() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("twins")?;
    let mut twin = scene.edge()?;
    twin["metadata"] = serde_json::json!({"name": "twin"});
    twin["status"] = serde_json::Value::Null;
    scene.apply_json(&twin)?;
    tapir_scenarios::wait::until_true("the second edge is told of the first", Duration::from_secs(60), || {
        let edge = cluster().get(&scene.namespace, &["tapiredge", "twin"])?.unwrap_or_default();
        Ok(tapir_scenarios::objects::condition(&edge, "Enrolled")
            .is_some_and(|(status, reason)| status == "False" && reason == "CredentialsShared"))
    })?;
    scene.wait_condition("Enrolled", "True", None)?;
    scene.passed()
}

#[test]
fn nodeman_unreachable_talking_nonsense_or_refusing_is_told_apart_and_heals() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::new("badcore")?;
    scene.credentials()?;
    let fault = core::Fault::begin("offline")?;
    scene.apply_example()?;
    scene.wait_condition("Enrolled", "False", Some("NodemanUnreachable"))?;
    fault.change("nonsense")?;
    scene.wait_condition("Enrolled", "False", Some("NodemanNonsense"))?;
    fault.change("refuse")?;
    scene.wait_condition("Enrolled", "False", Some("NodemanRefused"))?;
    drop(fault);
    scene.wait_condition("Enrolled", "True", None)?;
    scene.passed()
}
