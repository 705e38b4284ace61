//! What resolvers answer for well-known names reaches Core as histograms, minute by minute.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tapir_scenarios::dig::{Answer, dig};
use tapir_scenarios::objects::{name, text};
use tapir_scenarios::outage::ScaledDown;
use tapir_scenarios::record::{bytes_of, find};
use tapir_scenarios::scene::Scene;
use tapir_scenarios::sidecar::status;
use tapir_scenarios::{core, wait};

/// Where EDM answers for itself.
const EDM_PORT: u16 = 9841;
/// On the example's list, each as an entry of its own.
const ASKED: [&str; 3] = ["example.org", "www.example.org", "example.com"];

/// Names, and what of the list they hit: themselves, what is below a name, another one.
const ITSELF: (&str, &str) = ("example.org", "example.org.");
const BELOW: (&str, &str) = ("www.example.org", ".example.org.");
const ANOTHER: (&str, &str) = ("example.com", "example.com.");

/// For a minute to end and its histogram to be sent.
const A_MINUTE: Duration = Duration::from_secs(150);
/// For a list to reach a running Pod: the kubelet looks at its volumes about once a minute.
const ANOTHER_LIST: Duration = Duration::from_secs(240);
/// The file of a list with `example.com.` alone.
const ONE_NAME: &str = "AAAAGAcIAQ0Mcr4cLteDscqucbvdqugB";

/// Uploads of this node that Core took.
fn uploads(scene: &Scene) -> Result<Vec<Value>> {
    let of_node = format!("keyid=\"{}\"", scene.node);
    let mut uploads = core::dump()?;
    uploads.retain(|entry| {
        entry["target"] == "/api/v1/aggregate/histogram"
            && entry["status"] == 201
            && entry["headers"].to_string().contains(&of_node.replace('"', "\\\""))
    });
    Ok(uploads)
}

/// Histograms that Core took from this node: what it read them from.
fn taken(scene: &Scene) -> Result<Vec<Vec<u8>>> {
    Ok(uploads(scene)?.iter().flat_map(bytes_of).filter(|bytes| bytes.starts_with(b"PAR1")).collect())
}

/// In which minutes of the day the intervals of the uploads began, in order.
fn minutes(scene: &Scene) -> Result<BTreeSet<u32>> {
    let mut minutes = BTreeSet::new();
    for upload in uploads(scene)? {
        let headers = upload["headers"].as_array().into_iter().flatten();
        let mut interval = headers.filter(|header| text(&header[0]).eq_ignore_ascii_case("aggregate-interval"));
        let start = interval.next().map(|header| text(&header[1])).context("an interval")?;
        let clock = start.split_once('T').and_then(|(_, time)| time.split_once(':')).context("a time")?;
        let minute = clock.1.get(..2).context("a minute")?;
        minutes.insert(clock.0.parse::<u32>()? * 60 + minute.parse::<u32>()?);
    }
    Ok(minutes)
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

/// The one Pod of a scene, and its address.
fn the_pod(scene: &Scene) -> Result<(String, String)> {
    let [pod] = &scene.pods()?[..] else { anyhow::bail!("one Pod was asked for") };
    Ok((name(pod), text(&pod["status"]["podIP"])))
}

/// What EDM of the Pod says of itself has this value.
fn edm_says(scene: &Scene, pod: &str, limit: Duration, pointer: &str, value: u64) -> Result<()> {
    let mut last = Value::Null;
    let said = wait::until_true(&format!("{pointer} = {value} in the status of {pod}"), limit, || {
        last = status(&scene.namespace, pod, EDM_PORT)?["edm"].clone();
        Ok(last.pointer(pointer).and_then(Value::as_u64) == Some(value))
    });
    said.map_err(|error| error.context(format!("last status: {last}")))
}

/// Asks so often, and notes it at the entry that the name hits.
fn ask(server: &str, asked: &mut BTreeMap<String, u64>, (name, entry): (&str, &str), times: u64) -> Result<()> {
    for _ in 0..times {
        ensure!(dig(server, name)? != Answer::Silence, "{name} is not answered");
    }
    *asked.entry(entry.to_owned()).or_default() += times;
    Ok(())
}

/// Answers by name, in all histograms that Core took from this node.
fn answers_at_core(scene: &Scene) -> Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for histogram in taken(scene)? {
        for (name, answers) in crate::histogram::answers(&histogram) {
            *all.entry(name).or_default() += answers;
        }
    }
    Ok(all)
}

/// All that was asked for is at Core, and counted once.
fn all_arrive(scene: &Scene, asked: &BTreeMap<String, u64>, limit: Duration) -> Result<()> {
    let mut last = BTreeMap::new();
    let arrived = wait::until_true("every answer at Core", limit, || {
        last = answers_at_core(scene)?;
        Ok(last == *asked)
    });
    arrived.map_err(|error| error.context(format!("asked {asked:?}, at Core {last:?}")))
}

/// Two minutes, a third with another list, and what was asked for just before the end.
#[test]
fn minute_after_minute_and_to_the_end_of_the_pod_core_has_every_answer_once() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::with_pods("minutes", 1, |manifest| manifest)?;
    let (pod, server) = the_pod(&scene)?;
    // What a resolver answers before it has reached the socket, nobody is told.
    edm_says(&scene, &pod, Duration::from_secs(60), "/connections", 1)?;
    let mut asked = BTreeMap::new();
    for minute in 1..=2 {
        // Sent when the minute is over, so the next answers are those of the next minute.
        ask(&server, &mut asked, ITSELF, 3 * minute)?;
        ask(&server, &mut asked, BELOW, minute)?;
        all_arrive(&scene, &asked, A_MINUTE)?;
    }
    let minutes = minutes(&scene)?;
    ensure!(minutes.iter().any(|minute| minutes.contains(&((minute + 1) % (24 * 60)))), "not one after the other: {minutes:?}");

    let list = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "well-known-domains"}, "binaryData": {"well-known-domains.dawg": ONE_NAME}});
    scene.apply_json(&list)?;
    edm_says(&scene, &pod, ANOTHER_LIST, "/wellKnownDomains", 1)?;
    // The second is not on it any more.
    ask(&server, &mut asked, ANOTHER, 5)?;
    ask(&server, &mut BTreeMap::new(), BELOW, 2)?;
    all_arrive(&scene, &asked, A_MINUTE)?;

    // Nobody waits for the end of this minute. What unbound has not told yet when it ends, within a second of the answer, nobody is told.
    let frames = status(&scene.namespace, &pod, EDM_PORT)?["edm"]["frames"].as_u64().context("frames")?;
    ask(&server, &mut asked, ANOTHER, 7)?;
    edm_says(&scene, &pod, Duration::from_secs(30), "/frames", frames + 7)?;
    scene.scale(0)?;
    scene.wait_pods(0)?;
    all_arrive(&scene, &asked, Duration::from_secs(60))?;
    scene.passed()
}

/// Names of the events that Core got from this node.
fn names_at_core(scene: &Scene) -> Result<Vec<String>> {
    let topic = format!("events/up/{}/new_qname", scene.node);
    let messages = core::dump()?.into_iter().filter(|entry| entry["kind"] == "mqtt" && entry["topic"] == topic.as_str());
    let inner = messages.flat_map(|entry| bytes_of(&entry)).filter_map(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    Ok(inner.filter(|event| event["qname"].is_string()).map(|event| text(&event["qname"])).collect())
}

#[test]
fn names_that_are_asked_for_while_the_broker_is_away_are_told_once_it_is_back() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::with_pods("brokeraway", 1, |manifest| manifest)?;
    scene.wait_condition("CoreConnected", "True", None)?;
    let (pod, server) = the_pod(&scene)?;
    let down = ScaledDown::new(core::NAMESPACE, "broker")?;
    scene.wait_condition("CoreConnected", "False", None)?;
    let mut asked: Vec<_> = (0..5).map(|number| format!("away{number}.{}.example.se", scene.namespace)).collect();
    for name in &asked {
        ensure!(dig(&server, name)? != Answer::Silence, "{name} is not answered");
    }
    edm_says(&scene, &pod, Duration::from_secs(30), "/eventsQueued", asked.len() as u64)?;
    down.still()?;
    drop(down);
    edm_says(&scene, &pod, Duration::from_secs(120), "/eventsSent", asked.len() as u64)?;
    edm_says(&scene, &pod, Duration::from_secs(30), "/eventsQueued", 0)?;
    asked.iter_mut().for_each(|name| name.push('.'));
    let mut last = Vec::new();
    let arrived = wait::until_true("their names at Core", Duration::from_secs(30), || {
        last = names_at_core(&scene)?;
        last.sort();
        Ok(last == asked)
    });
    arrived.map_err(|error| error.context(format!("asked {asked:?}, at Core {last:?}")))?;
    scene.passed()
}
