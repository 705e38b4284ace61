//! What resolvers answer for well-known names reaches Core as histograms, minute by minute.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tapir_scenarios::dig::dig;
use tapir_scenarios::objects::{name, text};
use tapir_scenarios::record::{bytes_of, find};
use tapir_scenarios::scene::Scene;
use tapir_scenarios::sidecar::status;
use tapir_scenarios::{core, wait};

/// Where EDM answers for itself.
const EDM_PORT: u16 = 9841;
/// On the example's list, each as an entry of its own.
const ASKED: [&str; 3] = ["example.org", "www.example.org", "example.com"];

/// Histograms that Core took from this node: what it read them from.
fn taken(scene: &Scene) -> Result<Vec<Vec<u8>>> {
    let of_node = format!("keyid=\"{}\"", scene.node);
    let uploads = core::dump()?.into_iter().filter(|entry| {
        entry["target"] == "/api/v1/aggregate/histogram"
            && entry["status"] == 201
            && entry["headers"].to_string().contains(&of_node.replace('"', "\\\""))
    });
    Ok(uploads.flat_map(|entry| bytes_of(&entry)).filter(|bytes| bytes.starts_with(b"PAR1")).collect())
}

/// Of which Core told the rest of itself.
fn announced(scene: &Scene) -> Result<BTreeSet<String>> {
    let entries = core::dump()?.into_iter().filter(|entry| entry["kind"] == "announcement" && entry["subject"] == "aggregates");
    Ok(entries
        .filter(|entry| entry["data"]["creator"] == scene.node.as_str())
        .map(|entry| text(&entry["data"]["aggregate_id"]))
        .collect())
}

/// What tells the Pod that a histogram comes from apart from others: a number in the footer.
fn instance(histogram: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"tapir.instance";
    const DIGITS: usize = 32;
    let at = histogram.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let digits = histogram.get(at..)?.windows(DIGITS).find(|window| window.iter().all(u8::is_ascii_hexdigit))?;
    Some(String::from_utf8_lossy(digits).into_owned())
}

/// Two Pods that counted the same must not be taken for one that sends twice.
#[test]
fn what_each_pod_counted_for_well_known_names_is_at_core_when_its_minute_has_ended() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("aggregates")?;
    let pods = scene.pods()?;
    ensure!(pods.len() == 2, "the example has two Pods, not {}", pods.len());
    for asked in ASKED {
        for pod in &pods {
            dig(&text(&pod["status"]["podIP"]), asked)?;
        }
    }
    for pod in &pods {
        let (pod, mut last) = (name(pod), Value::Null);
        let sent = wait::until_true(&format!("a histogram of {pod} to be sent"), Duration::from_secs(150), || {
            last = status(&scene.namespace, &pod, EDM_PORT)?["edm"]["aggregates"].clone();
            Ok(last["sent"].as_u64().is_some_and(|sent| sent > 0) && last["error"].is_null())
        });
        sent.map_err(|error| error.context(format!("last status: {last}")))?;
    }
    let histograms = taken(&scene)?;
    let of_names = histograms.iter().filter(|histogram| find(histogram, b"example"));
    let instances: BTreeSet<_> = of_names.filter_map(|histogram| instance(histogram)).collect();
    ensure!(
        instances.len() == pods.len(),
        "of {} histograms at Core, those with the names that were asked for are of {instances:?}",
        histograms.len()
    );
    let announced = announced(&scene)?;
    ensure!(announced.len() >= pods.len(), "Core stored {} histograms of two Pods", announced.len());
    scene.passed()
}
