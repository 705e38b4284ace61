//! A disruption budget that lets no Pod go is respected and named, and the replacement goes on once it does.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tapir_scenarios::objects::{is_injected, is_ready, message};
use tapir_scenarios::scene::Scene;
use tapir_scenarios::wait;

const BUDGET: &str = "nobody-goes";

#[test]
fn a_budget_that_lets_no_pod_go_is_named_and_respected_until_it_is_gone() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::new("budget")?;
    let apply_without = |what: &str| {
        scene.apply_changed_example(|manifest| {
            manifest.split("\n---\n").filter(|document| !document.contains(what)).collect::<Vec<_>>().join("\n---\n")
        })
    };
    scene.credentials()?;
    apply_without("kind: TapirEdge")?;
    // A Pod with two budgets cannot be evicted at all.
    scene.kubectl(&["delete", "poddisruptionbudget", "unbound"])?;
    scene.apply_json(&json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": BUDGET},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app.kubernetes.io/name": "unbound"}}}}))?;
    wait::until_true("two resolvers", Duration::from_secs(90), || {
        Ok(scene.pods()?.iter().filter(|pod| is_ready(pod)).count() == 2)
    })?;
    apply_without("kind: PodDisruptionBudget")?;
    let edge = scene.wait_condition("Injected", "False", Some("EvictionBlocked"))?;
    assert!(message(&edge, "Injected").contains(BUDGET), "{}", message(&edge, "Injected"));
    assert!(scene.pods()?.iter().all(|pod| is_ready(pod) && !is_injected(pod)), "a Pod went in spite of the budget");
    scene.kubectl(&["delete", "poddisruptionbudget", BUDGET])?;
    wait::until_true("two injected Pods", Duration::from_secs(180), || {
        let pods = scene.pods()?;
        Ok(pods.len() == 2 && pods.iter().all(|pod| is_ready(pod) && is_injected(pod)))
    })?;
    scene.wait_condition("Injected", "True", None)?;
    scene.passed()
}
