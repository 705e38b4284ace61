//! What POP tells of itself: Core, where that is asked for, and who looks at Events.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::objects::{items, name, text};
use tapir_scenarios::record::bytes_of;
use tapir_scenarios::scene::{EDGE, Scene};
use tapir_scenarios::sidecar::pop_status;
use tapir_scenarios::{core, wait};

/// What Core got from POPs of this node, as they signed it.
fn told(scene: &Scene) -> Result<Vec<Value>> {
    let topic = format!("status/up/{}/tapir-pop", scene.node);
    let messages = core::dump()?.into_iter().filter(|entry| entry["kind"] == "mqtt" && entry["topic"] == topic.as_str());
    let inner = messages.flat_map(|entry| bytes_of(&entry)).filter_map(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    Ok(inner.filter(|payload| payload["Function"] == "tapir-pop").collect())
}

/// Secrets with a copy of the data key for POP.
fn keys(scene: &Scene) -> Result<usize> {
    let selector = format!("metadata.name={EDGE}-pop-datakey");
    Ok(items(cluster().get(&scene.namespace, &["secrets", "--field-selector", &selector])?).len())
}

/// How the POP of a Pod begins its name towards Core: the node, and the part of the Pod's name that no other Pod of its Deployment has.
fn function_of(scene: &Scene, pod: &str) -> String {
    format!("{}-{}", scene.node, pod.rsplit('-').next().unwrap_or_default())
}

#[test]
fn pop_tells_core_how_it_is_for_as_long_as_that_is_asked_for() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("telemetry")?;
    scene.wait_condition("CoreConnected", "True", None)?;
    assert_eq!((told(&scene)?.len(), keys(&scene)?), (0, 0), "off where nothing is said");

    scene.patch(&json!({"spec": {"pop": {"telemetry": {"enabled": true}}}}))?;
    for pod in scene.pods()? {
        let function = function_of(&scene, &name(&pod));
        let from = |message: &Value| message["FunctionID"].as_str().is_some_and(|id| id.starts_with(&function));
        let what = format!("a message of {function}, which was running already");
        let message = wait::until(&what, Duration::from_secs(150), || Ok(told(&scene)?.into_iter().find(from)))?;
        assert!(message["ComponentStatus"]["rpz"].is_object() && message["Counters"].is_object(), "{message}");
    }

    scene.patch(&json!({"spec": {"pop": {"telemetry": {"enabled": false}}}}))?;
    wait::until_true("the copy of the data key to go", Duration::from_secs(30), || Ok(keys(&scene)? == 0))?;
    scene.passed()
}

/// Its identifier leads from the Event to the log of the POP.
#[test]
fn what_goes_wrong_at_a_pop_is_an_event_with_the_identifier_that_its_status_has() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::with_pods("incident", 1, |manifest| manifest)?;
    let [pod] = &scene.pods()?[..] else { anyhow::bail!("one Pod was asked for") };
    let pod = name(pod);
    // Nobody listens there.
    let away = json!({"name": "away", "list": "Deny", "rpz": {"primary": "127.0.0.1:9", "zone": "away.example."}});
    let patch = json!([{"op": "add", "path": "/spec/sources/-", "value": away}]).to_string();
    scene.kubectl(&["patch", "tapirpolicy", "default", "--type=json", "--patch", &patch])?;
    let (mut last, what) = (Value::Null, "the source that is away in POP's status");
    let id = wait::until(what, Duration::from_secs(90), || {
        last = pop_status(&scene.namespace, &pod)?["pop"].clone();
        let mut events = last["events"].as_array().into_iter().flatten();
        Ok(events.find(|event| event["component"] == "rpz-inbound").map(|event| text(&event["id"])))
    });
    let id = id.map_err(|error| error.context(format!("last status: {last}")))?;
    ensure!(id.len() == 36, "an identifier that is a UUID: {id}");
    let mut notes = Vec::new();
    let told = wait::until_true("an Event with its identifier", Duration::from_secs(90), || {
        let events = items(cluster().get(&scene.namespace, &["events.events.k8s.io"])?);
        notes = events.iter().filter(|event| event["reason"] == "SidecarTrouble").map(|event| text(&event["note"])).collect();
        Ok(notes.iter().any(|note| note.contains(&pod) && note.contains(&id)))
    });
    told.map_err(|error| error.context(format!("{id} of {pod} is in none of {notes:?}")))?;
    scene.passed()
}
