//! A new certificate comes to sidecars that run: without a restart, and without a loss of what they hold.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tapir_scenarios::core;
use tapir_scenarios::dig::dig;
use tapir_scenarios::endpoints::Change;
use tapir_scenarios::objects::{name, text};
use tapir_scenarios::probe::Probe;
use tapir_scenarios::record::{bytes_of, find};
use tapir_scenarios::scene::{EDGE, RESOLVER, Scene};
use tapir_scenarios::sidecar::{no_container_restarted, status};
use tapir_scenarios::wait;

/// Names that are asked for while the certificate changes.
const NAMES: usize = 40;

fn serial(scene: &Scene) -> Result<String> {
    Ok(text(&scene.edge()?["status"]["node"]["certificate"]["serial"]))
}

/// What both sidecars of all Pods say.
fn statuses(scene: &Scene) -> Result<Vec<Value>> {
    let pods: Vec<String> = scene.pods()?.iter().map(name).collect();
    pods.iter().flat_map(|pod| [9841, 9842].map(|port| status(&scene.namespace, pod, port))).collect()
}

#[test]
fn a_renewed_certificate_is_in_use_within_seconds_and_no_event_is_lost() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("renewal")?;
    scene.wait_condition("CoreConnected", "True", None)?;
    let (first, server) = (serial(&scene)?, scene.service_address()?);
    let data_key = core::node(&scene.node)?["public_key"].clone();
    let probe = Probe::start(&scene.namespace, RESOLVER, "www.example.se")?;
    let asked: Vec<String> =
        (0..NAMES).map(|number| format!("{}-{number}.from-edge.looptest.dnstapir.se", scene.namespace)).collect();
    for (number, name) in asked.iter().enumerate() {
        if number == NAMES / 4 {
            scene.kubectl(&["annotate", "tapiredge", EDGE, "dnstapir.se/renew-now=once"])?;
        }
        dig(&server, name)?;
    }
    wait::until_true("another certificate in the status", Duration::from_secs(30), || Ok(serial(&scene)? != first))?;
    let second = serial(&scene)?;
    wait::until_true("all sidecars use it towards Core", Duration::from_secs(30), || {
        let all = statuses(&scene)?;
        let uses =
            |status: &Value| status["identity"]["certificateSerial"] == second.as_str() && status["core"]["connected"] == true;
        Ok(all.len() == 4 && all.iter().all(uses))
    })?;
    wait::until("every name at Core", Duration::from_secs(60), || {
        let taken: Vec<Vec<u8>> =
            core::dump()?.into_iter().filter(|entry| entry["verdict"] == "accepted").flat_map(|entry| bytes_of(&entry)).collect();
        let missing = asked.iter().filter(|name| !taken.iter().any(|bytes| find(bytes, name.as_bytes()))).count();
        Ok((missing == 0).then_some(()))
    })?;
    ensure!(core::node(&scene.node)?["public_key"] == data_key, "the data key must stay");
    ensure!(core::calls(&scene.node, "renew")?.len() == 1, "one renewal was asked for: {:?}", core::calls(&scene.node, "renew")?);
    no_container_restarted(&scene)?;
    scene.wait_condition("Ready", "True", None)?;
    probe.undisturbed("while the certificate changed", Change::None)?;
    serial(&scene).ok().filter(|now| *now == second).context("it was renewed once more")?;
    scene.passed()
}
