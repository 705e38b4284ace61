//! The operator ends at the worst moment of an enrolment: one node, one identity, no lost key.

use std::time::Duration;

use anyhow::Result;
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::objects::{items, name};
use tapir_scenarios::scene::Scene;
use tapir_scenarios::{core, wait};

const OPERATOR: [&str; 3] = ["--namespace", "tapir-system", "deployment/tapir-operator"];

fn set_failpoint(value: &str) -> Result<()> {
    let [flag, namespace, deployment] = OPERATOR;
    cluster().kubectl(&[flag, namespace, "set", "env", deployment, value])?;
    Ok(())
}

fn rolled_out() -> Result<()> {
    let [flag, namespace, deployment] = OPERATOR;
    cluster().kubectl(&[flag, namespace, "rollout", "status", deployment, "--timeout=90s"]).map(|_| ())
}

/// Takes the failpoint away again, also when the scenario fails.
struct Failpoint;

impl Failpoint {
    fn set(point: &str) -> Result<Self> {
        let guard = Self;
        set_failpoint(&format!("TAPIR_FAILPOINT={point}"))?;
        rolled_out()?;
        Ok(guard)
    }
}

impl Drop for Failpoint {
    fn drop(&mut self) {
        let _ = set_failpoint("TAPIR_FAILPOINT-");
        let _ = rolled_out();
    }
}

fn ends_enrolled_after_a_crash(point: &str) -> Result<()> {
    let _guard = crate::exclusive();
    let failpoint = Failpoint::set(point)?;
    let scene = Scene::new(&format!("crash-{point}"))?;
    scene.credentials()?;
    scene.apply_example()?;
    wait::until_true("the operator ended at the failpoint", Duration::from_secs(90), || {
        let pods = items(cluster().get("tapir-system", &["pods", "--selector", "app.kubernetes.io/name=tapir-operator"])?);
        Ok(pods.iter().any(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_u64() > Some(0)))
    })?;
    let pending = cluster().get(&scene.namespace, &["secret", "demo-pending"])?;
    let identity = cluster().get(&scene.namespace, &["secret", "demo-identity"])?;
    let held = pending.as_ref().or(identity.as_ref()).map(|secret| secret["data"]["datakey.jwk"].clone());
    assert!(held.as_ref().is_some_and(serde_json::Value::is_string), "the data key is on record at {point}");
    drop(failpoint);
    scene.wait_ready()?;
    let identity = cluster().get(&scene.namespace, &["secret", "demo-identity"])?.unwrap_or_default();
    assert_eq!(Some(identity["data"]["datakey.jwk"].clone()), held, "the key that was on record before the crash is the node's");
    let template = "--output=go-template={{index .data \"datakey.jwk\" | base64decode}}";
    let key: serde_json::Value = serde_json::from_str(&scene.kubectl(&["get", "secret", "demo-identity", template])?)?;
    assert_eq!(core::node(&scene.node)?["public_key"]["x"], key["x"], "Core knows the node by the key that was kept");
    wait::until_true("the pending Secret goes", Duration::from_secs(30), || {
        Ok(cluster().get(&scene.namespace, &["secret", "demo-pending"])?.is_none())
    })?;
    let secrets = items(cluster().get(&scene.namespace, &["secrets"])?);
    assert_eq!(secrets.iter().filter(|secret| name(secret).contains("identity")).count(), 1, "one identity");
    scene.passed()
}

#[test]
fn before_the_call_to_nodeman() -> Result<()> {
    ends_enrolled_after_a_crash("before-enrol")
}

#[test]
fn after_nodeman_answered() -> Result<()> {
    ends_enrolled_after_a_crash("after-enrol")
}

#[test]
fn after_the_identity_was_written() -> Result<()> {
    ends_enrolled_after_a_crash("after-identity")
}
