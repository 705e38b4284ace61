//! Bad input: a condition that names reason and remedy, no crash, and healing by watch once the cause is gone.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::core;
use tapir_scenarios::objects::{condition, is_ready, items, says, text};
use tapir_scenarios::scene::{EDGE, Scene, example, secret};
use tapir_scenarios::wait;

/// From the mended cause to the good condition, where a watch tells the operator.
const BY_WATCH: Duration = Duration::from_secs(10);
/// The same where only asking nodeman again can tell.
const BY_ASKING: Duration = Duration::from_secs(20);

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
    says(&edge, "Enrolled", &["demo-enrollment"])?;
    scene.apply_json(&secret("demo-enrollment", "this is no JSON"))?;
    let edge = scene.wait_condition("Enrolled", "False", Some("CredentialsInvalid"))?;
    says(&edge, "Enrolled", &["not JSON", "store the file"])?;
    heals(&scene, "Enrolled", BY_WATCH, || scene.credentials())?;
    assert_eq!(restarts_of_operator()?, restarts, "the operator restarted");
    scene.passed()
}

fn patch_edge(scene: &Scene, patch: &str) -> Result<()> {
    scene.kubectl(&["patch", "tapiredge", EDGE, "--type=merge", "--patch", patch]).map(|_| ())
}

/// Fails when the good condition is there already, or comes too late.
fn heals(scene: &Scene, kind: &str, within: Duration, mend: impl FnOnce() -> Result<()>) -> Result<()> {
    let ill = condition(&scene.edge()?, kind);
    ensure!(ill.as_ref().is_some_and(|(status, _)| status == "False"), "{kind} is {ill:?} before the cause is mended");
    mend()?;
    let mended = Instant::now();
    scene.wait_condition(kind, "True", None)?;
    ensure!(mended.elapsed() < within, "healing {kind} took {:?}", mended.elapsed());
    Ok(())
}

/// The example without the objects of one kind.
fn without(manifest: &str, kind: &str) -> String {
    let kind = format!("\nkind: {kind}\n");
    manifest.split("\n---\n").filter(|document| !document.contains(&kind)).collect::<Vec<_>>().join("\n---\n")
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
    says(&edge, "Enrolled", &["new"])?;
    heals(&second, "Enrolled", BY_WATCH, || second.credentials())?;
    first.passed()?;
    second.passed()
}

#[test]
fn a_missing_policy_is_named_and_heals_when_it_is_created() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::new("nopolicy")?;
    scene.credentials()?;
    scene.apply_changed_example(|manifest| without(&manifest, "TapirPolicy"))?;
    let edge = scene.wait_condition("PolicyAccepted", "False", Some("PolicyNotFound"))?;
    says(&edge, "PolicyAccepted", &["default", "policyRef"])?;
    scene.wait_condition("Enrolled", "True", None)?;
    heals(&scene, "PolicyAccepted", BY_WATCH, || scene.apply_example())?;
    scene.wait_ready()?;
    scene.passed()
}

#[test]
fn a_missing_authority_of_core_is_named_and_heals_when_it_is_created() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::new("noca")?;
    let authority = cluster().get(&scene.namespace, &["configmap", "core-ca"])?.unwrap_or_default();
    scene.kubectl(&["delete", "configmap", "core-ca"])?;
    scene.credentials()?;
    scene.apply_example()?;
    let edge = scene.wait_condition("Enrolled", "False", Some("CaBundleInvalid"))?;
    says(&edge, "Enrolled", &["core-ca"])?;
    let created = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "core-ca"}, "data": authority["data"]});
    heals(&scene, "Enrolled", BY_WATCH, || scene.apply_json(&created))?;
    scene.passed()
}

#[test]
fn a_resolver_container_that_is_not_in_the_pod_is_named_and_heals_when_the_right_pods_are_created() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::new("nocontainer")?;
    scene.credentials()?;
    let otherwise =
        |manifest: String| manifest.replace("        name: unbound\n        ports:", "        name: bind\n        ports:");
    ensure!(otherwise(example()?) != example()?, "the example's container is not where it was");
    scene.apply_changed_example(otherwise)?;
    wait::until_true("the Pods of the wrong template", Duration::from_secs(60), || {
        Ok(scene.pods()?.iter().filter(|pod| is_ready(pod)).count() == 2)
    })?;
    let edge = scene.wait_condition("Injected", "False", Some("ResolverContainerMissing"))?;
    says(&edge, "Injected", &["unbound", "spec.resolver.container"])?;
    scene.apply_example()?;
    // From the moment on at which the last wrong Pod is on its way out.
    scene.kubectl(&["rollout", "status", "deployment/unbound", "--timeout=120s"])?;
    let mended = Instant::now();
    scene.wait_condition("Injected", "True", None)?;
    ensure!(mended.elapsed() < BY_WATCH, "healing took {:?}", mended.elapsed());
    scene.wait_ready()?;
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
    says(&edge, "Enrolled", &[EDGE])?;
    scene.wait_condition("Enrolled", "True", None)?;
    twin["spec"]["enrollment"]["credentialsSecretRef"]["name"] = json!("twin-enrollment");
    scene.apply_json(&twin)?;
    let edge = enrolled("False", "CredentialsMissing")?;
    says(&edge, "Enrolled", &["twin-enrollment"])?;
    let own = core::create_node(&format!("twin-{}", scene.node))?;
    scene.apply_json(&secret("twin-enrollment", &own))?;
    let mended = Instant::now();
    enrolled("True", "")?;
    ensure!(mended.elapsed() < BY_WATCH, "healing took {:?}", mended.elapsed());
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
    says(&edge, "Enrolled", &["nodeman"])?;
    fault.change("nonsense")?;
    scene.wait_condition("Enrolled", "False", Some("NodemanNonsense"))?;
    fault.change("refuse")?;
    scene.wait_condition("Enrolled", "False", Some("NodemanRefused"))?;
    let calls =
        || Ok::<_, anyhow::Error>(core::dump()?.iter().filter(|entry| text(&entry["target"]).contains(&scene.node)).count());
    let before = calls()?;
    std::thread::sleep(Duration::from_secs(5));
    assert!(calls()? - before < 10, "{} calls to nodeman in five seconds", calls()? - before);
    // Nothing tells that nodeman is well again: the next try does.
    heals(&scene, "Enrolled", BY_ASKING, || {
        drop(fault);
        Ok(())
    })?;
    assert_eq!(restarts_of_operator()?, restarts, "the operator restarted");
    scene.passed()
}
