//! What POP tells Core of itself, where that is asked for.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::objects::{items, name};
use tapir_scenarios::record::bytes_of;
use tapir_scenarios::scene::Scene;
use tapir_scenarios::{core, wait};

/// What Core got from POPs of this node, as they signed it.
fn told(scene: &Scene) -> Result<Vec<Value>> {
    let topic = format!("status/up/{}/tapir-pop", scene.node);
    let messages = core::dump()?.into_iter().filter(|entry| entry["kind"] == "mqtt" && entry["topic"] == topic.as_str());
    let inner = messages.flat_map(|entry| bytes_of(&entry)).filter_map(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    Ok(inner.filter(|payload| payload["Function"] == "tapir-pop").collect())
}

fn keys(scene: &Scene) -> Result<usize> {
    let secrets = cluster().get(&scene.namespace, &["secrets", "--field-selector", "metadata.name=demo-pop-datakey"])?;
    Ok(items(secrets).len())
}

#[test]
fn pop_tells_core_how_it_is_for_as_long_as_that_is_asked_for() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("telemetry")?;
    scene.wait_condition("CoreConnected", "True", None)?;
    assert_eq!((told(&scene)?.len(), keys(&scene)?), (0, 0), "off where nothing is said");

    scene.patch(&json!({"spec": {"pop": {"telemetry": {"enabled": true}}}}))?;
    for pod in scene.pods()? {
        let pod = name(&pod);
        let from =
            |message: &Value| message["FunctionID"].as_str().is_some_and(|id| id.contains(&scene.node) && id.contains(&pod));
        let message = wait::until("a message of each POP, which was running already", Duration::from_secs(150), || {
            Ok(told(&scene)?.into_iter().find(from))
        })?;
        assert!(message["ComponentStatus"]["rpz"].is_object() && message["Counters"].is_object(), "{message}");
    }

    scene.patch(&json!({"spec": {"pop": {"telemetry": {"enabled": false}}}}))?;
    wait::until_true("the copy of the data key to go", Duration::from_secs(30), || Ok(keys(&scene)? == 0))?;
    scene.passed()
}
