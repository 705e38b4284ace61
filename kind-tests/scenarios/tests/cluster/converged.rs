//! A converged edge costs the API server nothing.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::objects::text;
use tapir_scenarios::scene::{EDGE, Scene};
use tapir_scenarios::wait;

#[test]
fn a_second_reconcile_of_a_converged_edge_issues_no_write() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::ready("converged")?;
    scene.wait_condition("CoreConnected", "True", None)?;
    let stable = || -> Result<Value> { Ok(scene.edge()?["metadata"]["resourceVersion"].clone()) };
    let mut last = stable()?;
    wait::until_true("the edge's status comes to rest", Duration::from_secs(60), || {
        std::thread::sleep(Duration::from_secs(3));
        let now = stable()?;
        Ok(std::mem::replace(&mut last, now.clone()) == now)
    })?;
    let before = writes_of_operator(&scene.namespace)?;
    assert!(
        before.iter().any(|write| write.contains("mutatingadmissionpolicybindings"))
            && before.iter().any(|write| write.contains("configmaps")),
        "the audit log shows the writes of the first reconcile: {before:#?}"
    );
    scene.kubectl(&["annotate", "tapiredge", EDGE, "dnstapir.se/reconcile-now=once"])?;
    wait::until_true("another reconcile", Duration::from_secs(30), || {
        Ok(scene.edge()?["status"]["handled"]["reconcileNow"] == "once")
    })?;
    std::thread::sleep(Duration::from_secs(2));
    let after = writes_of_operator(&scene.namespace)?;
    // That it was done as asked is told in the status, and nothing else is written.
    assert_eq!(after[before.len()..], [r#""patch" "tapiredges" "demo""#], "new writes");
    scene.passed()
}

/// Write requests of the operator in a namespace, out of the API server's audit log.
fn writes_of_operator(namespace: &str) -> Result<Vec<String>> {
    let path = cluster().audit_log.as_ref().context("TAPIR_AUDIT_LOG is not set")?;
    let log = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let writes = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|event| {
        event["stage"] == "ResponseComplete"
            && event["user"]["username"] == "system:serviceaccount:tapir-system:tapir-operator"
            && (event["objectRef"]["namespace"] == namespace || text(&event["objectRef"]["name"]).contains(namespace))
            && matches!(event["verb"].as_str(), Some("create" | "update" | "patch" | "delete" | "deletecollection"))
    });
    Ok(writes
        .map(|event| format!("{} {} {}", event["verb"], event["objectRef"]["resource"], event["objectRef"]["name"]))
        .collect())
}
