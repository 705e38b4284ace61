//! An injected Pod takes what the documentation says, no more, so that a quota for just that is enough.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::dig::{Answer, dig};
use tapir_scenarios::objects::text;
use tapir_scenarios::scene::Scene;
use tapir_scenarios::wait;

const DOCUMENTATION: &str = "examples/unbound/README.md";
/// Of the example.
const PODS: u64 = 2;

/// Thousandths of a processor and MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Amount {
    cpu: u64,
    memory: u64,
}

impl Amount {
    /// Out of `{"cpu": "50m", "memory": "64Mi"}`; what is missing is nothing.
    fn of(quantities: &Value) -> Result<Self> {
        Ok(Self { cpu: read("cpu", &text(&quantities["cpu"]))?, memory: read("memory", &text(&quantities["memory"]))? })
    }
}

fn read(what: &str, quantity: &str) -> Result<u64> {
    let units: &[(&str, u64)] = if what == "cpu" { &[("m", 1), ("", 1000)] } else { &[("Mi", 1), ("Gi", 1024)] };
    if quantity.is_empty() {
        return Ok(0);
    }
    let read = units.iter().find_map(|(unit, factor)| Some(quantity.strip_suffix(unit)?.parse::<u64>().ok()? * factor));
    read.with_context(|| format!("{what} {quantity:?}"))
}

/// Requests and limits of one sidecar in the row of a class of Pods, "requests 50m and 64Mi, limits 500m and 256Mi".
fn documented(documentation: &str, class: &str) -> Result<(Amount, Amount)> {
    let row =
        documentation.lines().find(|line| line.starts_with(&format!("| {class}"))).with_context(|| format!("row {class}"))?;
    let mut words = row.split([' ', ',', '|']).filter(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    let mut amount = || -> Option<Amount> {
        Some(Amount { cpu: read("cpu", words.next()?).ok()?, memory: read("memory", words.next()?).ok()? })
    };
    let requests = amount().with_context(|| format!("requests in {row:?}"))?;
    Ok((requests, amount().unwrap_or(requests)))
}

#[test]
fn a_quota_a_limit_range_and_pod_security_restricted_leave_room_for_just_the_documented_requests() -> Result<()> {
    let _guard = crate::shared();
    let documentation = std::fs::read_to_string(cluster().repo.join(DOCUMENTATION))?;
    let scene = Scene::new("quota")?;
    cluster().kubectl(&["label", "namespace", &scene.namespace, "pod-security.kubernetes.io/enforce=restricted"])?;
    scene.credentials()?;
    // Pods of before the injection would have to go first, and there is no room for two of one.
    scene.apply_changed_example(|manifest| manifest.replace("replicas: 2", "replicas: 0"))?;
    let edge = scene.wait_condition("Enrolled", "True", None)?;
    let injection = &edge["status"]["injection"];
    for (class, member) in [("Burstable", "burstable"), ("Guaranteed", "guaranteed")] {
        let documented = documented(&documentation, class)?;
        for container in injection[member].as_array().context("containers")? {
            let rendered = (Amount::of(&container["resources"]["requests"])?, Amount::of(&container["resources"]["limits"])?);
            ensure!(rendered == documented, "{class}: {DOCUMENTATION} says {documented:?}, rendered is {container}");
        }
    }
    ensure!(injection["bestEffort"].as_array().context("containers")?.iter().all(|container| container["resources"].is_null()));

    let (requests, limits) = documented(&documentation, "Burstable")?;
    let deployment = cluster().get(&scene.namespace, &["deployment", "unbound"])?.context("the example's Deployment")?;
    let own = &deployment["spec"]["template"]["spec"]["containers"][0]["resources"];
    let (own_requests, own_limits) = (Amount::of(&own["requests"])?, Amount::of(&own["limits"])?);
    // The example leaves its own processor limit to the LimitRange.
    let default_cpu = 500;
    ensure!(own_limits.cpu == 0, "{own}");
    let hard = [
        ("requests.cpu", PODS * (own_requests.cpu + 2 * requests.cpu), "m"),
        ("requests.memory", PODS * (own_requests.memory + 2 * requests.memory), "Mi"),
        ("limits.cpu", PODS * (default_cpu + 2 * limits.cpu), "m"),
        ("limits.memory", PODS * (own_limits.memory + 2 * limits.memory), "Mi"),
    ];
    let quantities: Value =
        hard.iter().map(|(what, amount, unit)| ((*what).to_owned(), json!(format!("{amount}{unit}")))).collect();
    scene.apply_json(
        &json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": {"hard": quantities}}),
    )?;
    let least = json!({"cpu": format!("{}m", requests.cpu), "memory": format!("{}Mi", requests.memory)});
    scene.apply_json(&json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "range"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": format!("{default_cpu}m"), "memory": "256Mi"},
            "defaultRequest": least, "max": {"cpu": format!("{}m", limits.cpu), "memory": "512Mi"},
            "min": least}]}}))?;
    let quota = || cluster().get(&scene.namespace, &["resourcequota", "quota"])?.context("the quota");
    wait::until_true("the quota in force", Duration::from_secs(30), || Ok(quota()?["status"]["hard"].is_object()))?;
    scene.kubectl(&["scale", "deployment/unbound", "--replicas=2"])?;
    scene.wait_ready()?;
    assert!(matches!(dig(&scene.service_address()?, "www.example.se")?, Answer::Records(_)));
    let used = quota()?["status"]["used"].clone();
    for (what, amount, _) in hard {
        let kind = if what.ends_with("cpu") { "cpu" } else { "memory" };
        ensure!(read(kind, &text(&used[what]))? == amount, "{what} is to be used up to {amount}: {used}");
    }
    scene.passed()
}

#[test]
fn the_documentation_is_read_as_it_is_meant() -> Result<()> {
    let table = "| Class | each |\n| Burstable, as here | requests 50m and 64Mi, limits 1 and 1Gi |\n| Guaranteed | requests and limits 50m and 256Mi |\n";
    let amount = |cpu, memory| Amount { cpu, memory };
    assert_eq!(documented(table, "Burstable")?, (amount(50, 64), amount(1000, 1024)));
    assert_eq!(documented(table, "Guaranteed")?, (amount(50, 256), amount(50, 256)));
    assert!(documented(table, "BestEffort").is_err());
    Ok(())
}
