//! What a policy says reaches Pods that run: lists in ConfigMaps and keys too, which their volumes did not know when they were created.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::dig::{Answer, dig};
use tapir_scenarios::endpoints::Change;
use tapir_scenarios::objects::{condition, items, name, pop_image, says, text};
use tapir_scenarios::probe::Probe;
use tapir_scenarios::scene::{EDGE, RESOLVER, Scene};
use tapir_scenarios::sidecar::{kill_workers_for, no_container_restarted, pop_status};
use tapir_scenarios::wait;

const ASKED: &str = "www.example.se";
/// Resolves as long as no list names it.
const LISTED: &str = "listed.apps.example.se";

/// A list with two lines that are no names.
fn list(scene: &Scene) -> Result<()> {
    let text = format!("# our own\n{LISTED}\n\nnot a name!\n{}.example\n", "x".repeat(64));
    scene.apply_json(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "deny"}, "data": {"names.txt": text}}))
}

/// Adds a source to the policy of the example.
fn add_source(scene: &Scene, source: &serde_json::Value) -> Result<()> {
    let patch = json!([{"op": "add", "path": "/spec/sources/-", "value": source}]).to_string();
    scene.kubectl(&["patch", "tapirpolicy", "default", "--type=json", "--patch", &patch]).map(|_| ())
}

/// Before it is listed.
fn each_pod_answers_other_than(scene: &Scene, asked: &str, unwanted: &Answer) -> Result<()> {
    for pod in scene.pods()? {
        let answer = dig(&text(&pod["status"]["podIP"]), asked)?;
        ensure!(answer != *unwanted, "{answer:?} for {asked} in Pod {} to begin with", name(&pod));
    }
    Ok(())
}

fn each_pod_answers(scene: &Scene, asked: &str, wanted: &Answer, within: Duration) -> Result<()> {
    for pod in scene.pods()? {
        let server = text(&pod["status"]["podIP"]);
        wait::until_true(&format!("{wanted:?} for {asked} in Pod {}", name(&pod)), within, || {
            Ok(dig(&server, asked)? == *wanted)
        })?;
    }
    Ok(())
}

#[test]
fn a_list_in_a_config_map_and_a_key_reach_pods_that_run() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("lists")?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    list(&scene)?;
    add_source(&scene, &json!({"name": "ours", "list": "Deny", "configMapRef": {"name": "deny", "key": "names.txt"}}))?;
    each_pod_answers(&scene, LISTED, &Answer::Status("NXDOMAIN".into()), Duration::from_secs(20))?;
    wait::until_true("refused lines are counted in the policy's status", Duration::from_secs(60), || {
        let policy = cluster().get(&scene.namespace, &["tapirpolicy", "default"])?.unwrap_or_default();
        let row = policy["status"]["sources"].as_array().into_iter().flatten().find(|row| row["name"] == "ours").cloned();
        let row = row.unwrap_or_default();
        let lines: Vec<u64> =
            row["rejectedLines"].as_array().into_iter().flatten().filter_map(|line| line["line"].as_u64()).collect();
        Ok(row["rejected"] == 2 && lines == [4, 5] && row["entries"] == 1)
    })?;
    scene.kubectl(&[
        "create",
        "secret",
        "generic",
        "feed-key",
        "--from-literal=key=hmac-sha256:feed:c2VjcmV0c2VjcmV0c2VjcmV0",
    ])?;
    add_source(
        &scene,
        &json!({"name": "feed", "list": "Doubt", "rpz": {"primary": "192.0.2.1:53", "zone": "feed.example.", "tsigSecretRef": {"name": "feed-key", "key": "key"}}}),
    )?;
    wait::until_true("the key is where POP reads it in each Pod", Duration::from_secs(30), || {
        let pods: Vec<String> = scene.pods()?.iter().map(name).collect();
        // There is no shell in the image, so the object that the Pods mount is looked at, and that each POP took the configuration.
        let keys = items(cluster().get(&scene.namespace, &["secrets", "--field-selector", "metadata.name=demo-pop-keys"])?);
        let wanted = scene.edge()?["status"]["policy"]["revision"].clone();
        let reports = pods.iter().map(|pod| pop_status(&scene.namespace, pod));
        let reports: Vec<_> = reports.collect::<Result<_>>()?;
        Ok(!keys.is_empty()
            && reports.iter().all(|status| status["config"]["revision"] == wanted && status["config"]["error"].is_null()))
    })?;
    no_container_restarted(&scene)?;
    probe.undisturbed("while lists and keys came", Change::None)?;
    scene.passed()
}

#[test]
fn a_policy_that_is_deleted_stays_in_force_and_the_edge_says_so() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("nopolicy")?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    scene.kubectl(&["delete", "tapirpolicy", "default"])?;
    let edge = scene.wait_condition("PolicyAccepted", "False", Some("PolicyNotFound"))?;
    says(&edge, "PolicyAccepted", &["default"])?;
    // Also in workers that start anew.
    kill_workers_for(&scene, Duration::from_secs(5), || Ok(()))?;
    each_pod_answers(&scene, "denied.example.se", &Answer::Status("NXDOMAIN".into()), Duration::from_secs(20))?;
    ensure!(condition(&scene.edge()?, "PolicyAccepted").is_some_and(|(status, _)| status == "False"), "{EDGE}");
    probe.undisturbed("while the policy was gone", Change::None)?;
    scene.passed()
}

/// As after an upgrade that is not yet everywhere.
#[test]
fn sidecars_of_two_releases_all_come_back_with_a_new_policy_when_they_are_killed() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::with_pods("skew", 2, |manifest| manifest)?;
    let probe = Probe::start(&scene.namespace, RESOLVER, ASKED)?;
    let other = cluster().image("test-pop-variant")?;
    scene.patch(&json!({"spec": {"rollout": {"strategy": "OnRestart"}, "pop": {"image": other}}}))?;
    scene.wait_given(&other)?;
    // As restored backups do.
    scene.kubectl(&[
        "patch",
        "tapiredge",
        EDGE,
        "--subresource=status",
        "--type=merge",
        "--patch",
        r#"{"status":{"injection":null}}"#,
    ])?;
    wait::until_true("what is injected is there again", Duration::from_secs(5), || {
        Ok(scene.edge()?["status"]["injection"].is_object())
    })?;
    scene.wait_given(&other)?;
    scene.scale(4)?;
    scene.wait_pods(4)?;
    let new = scene.pods()?.iter().filter(|pod| pop_image(pod).as_ref() == Some(&other)).count();
    ensure!(new == 2, "{new} of four Pods have the other release");
    let nxdomain = Answer::Status("NXDOMAIN".into());
    each_pod_answers_other_than(&scene, LISTED, &nxdomain)?;

    add_source(&scene, &json!({"name": "ours", "list": "Deny", "inline": {"names": [LISTED]}}))?;
    let kills = kill_workers_for(&scene, Duration::from_secs(8), || Ok(()))?;
    kills.each_at_least(&scene, 3)?;
    each_pod_answers(&scene, LISTED, &nxdomain, Duration::from_secs(20))?;
    wait::until_true("every POP reports the policy", Duration::from_secs(30), || {
        let wanted = scene.edge()?["status"]["policy"]["revision"].clone();
        let reports: Vec<_> = scene.pods()?.iter().map(|pod| pop_status(&scene.namespace, &name(pod))).collect::<Result<_>>()?;
        Ok(wanted.is_string() && reports.iter().all(|status| status["config"]["revision"] == wanted))
    })?;
    no_container_restarted(&scene)?;
    probe.undisturbed("while sidecars of two releases were killed", Change::Joins(2))?;
    scene.passed()
}
