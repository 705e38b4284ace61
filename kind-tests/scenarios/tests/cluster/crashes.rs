//! The operator ends at the worst moment of an enrolment: one node, one identity, no lost key. Every crash point has its test on an API
//! server without a cluster (`kind-tests/rig`); here it is the chart's Deployment that ends and comes back.

use std::time::Duration;

use anyhow::Result;
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::objects::{items, name, text};
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

fn ends_enrolled_after_a_crash(point: &str, calls_are_right: impl Fn(&Calls) -> bool) -> Result<()> {
    let _guard = crate::exclusive();
    let (nodes_before, recorded_before) = (core::nodes()?, core::dump()?.len());
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
    let calls = Calls { enrolments: core::calls(&scene.node, "enroll")?, renewals: core::calls(&scene.node, "renew")? };
    assert!(calls_are_right(&calls), "{point}: {calls:?}");
    let mut nodes = core::nodes()?;
    nodes.retain(|node| !nodes_before.contains(node));
    assert_eq!(nodes, [scene.node.as_str()], "one node, the one that the credentials were for");
    let enrolments = core::dump()?.into_iter().skip(recorded_before).map(|entry| text(&entry["target"]));
    let others: Vec<String> = enrolments.filter(|target| target.ends_with("/enroll") && !target.contains(&scene.node)).collect();
    assert!(others.is_empty(), "somebody enrolled as another node: {others:?}");
    scene.passed()
}

/// What nodeman answered to the calls about the node, in order.
#[derive(Debug)]
struct Calls {
    enrolments: Vec<Option<u64>>,
    renewals: Vec<Option<u64>>,
}

impl Calls {
    /// The one call was enough.
    fn one(&self) -> bool {
        self.enrolments == [Some(200)] && self.renewals.is_empty()
    }

    /// The first answer was lost, so it was asked again with the same key: nodeman says that the node is enrolled already, and the key that
    /// was kept gets its certificate by renewal.
    fn asked_again(&self) -> bool {
        let (first, again) = self.enrolments.split_first().unwrap_or((&None, &[]));
        *first == Some(200)
            && !again.is_empty()
            && again.iter().all(|status| *status == Some(400))
            && self.renewals.first() == Some(&Some(200))
    }
}

#[test]
#[ignore = "the same on kind-tests/rig; here with --all"]
fn before_the_call_to_nodeman() -> Result<()> {
    ends_enrolled_after_a_crash("before-enrol", Calls::one)
}

#[test]
fn after_nodeman_answered() -> Result<()> {
    ends_enrolled_after_a_crash("after-enrol", Calls::asked_again)
}

#[test]
#[ignore = "the same on kind-tests/rig; here with --all"]
fn after_the_identity_was_written() -> Result<()> {
    ends_enrolled_after_a_crash("after-identity", Calls::one)
}
