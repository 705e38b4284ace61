//! What the admission policy injects and what it leaves alone, case by case, by asking the real API server without creating anything. The
//! judgement of webhook and operator on the same cases is tested in `tapir-inject`, from the same file.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::objects::text;
use tapir_scenarios::scene::Scene;

const CASES: &str = "tapir-inject/cases.json";

/// What the API server would make of a Pod.
fn asked(scene: &Scene, case: &Value) -> Result<Value> {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": case["metadata"], "spec": case["spec"]});
    pod["metadata"]["name"] = case["case"].clone();
    if pod["metadata"]["labels"].is_null() {
        pod["metadata"]["labels"] = json!({"dnstapir.se/edge": "demo"});
    }
    scene.would_become(&pod).with_context(|| format!("case {} was refused", case["case"]))
}

/// Some cases have containers of our names: the annotation comes with the injection alone.
fn is_injected(pod: &Value) -> bool {
    pod["metadata"]["annotations"]["dnstapir.se/injection-revision"].is_string()
}

#[test]
fn every_case_is_admitted_and_injected_or_left_alone_as_the_operator_expects() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("cases")?;
    let table: Value = serde_json::from_slice(&std::fs::read(cluster().repo.join(CASES))?)?;
    let cases = table["cases"].as_array().context("cases")?;
    let refused_or_otherwise = |case: &Value| match asked(&scene, case) {
        Ok(pod) => is_injected(&pod) != case["why"].is_null(),
        Err(_) => true,
    };
    let wrong: Vec<String> = cases.iter().filter(|case| refused_or_otherwise(case)).map(|case| text(&case["case"])).collect();
    assert!(wrong.is_empty(), "{wrong:?}");

    // Requests that a LimitRange adds to injected containers must not exceed the whole Pod's.
    scene.apply_json(&json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "range"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "500m", "memory": "256Mi"}, "defaultRequest": {"cpu": "50m", "memory": "64Mi"}}]}}))?;
    let resources = json!({"requests": {"cpu": "60m", "memory": "100Mi"}, "limits": {"cpu": "600m", "memory": "300Mi"}});
    let whole = json!({"case": "whole", "metadata": {},
        "spec": {"resources": resources, "containers": [{"name": "unbound", "image": "resolver"}]}});
    assert!(!is_injected(&asked(&scene, &whole)?));
    scene.passed()
}
