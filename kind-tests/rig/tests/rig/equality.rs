//! The admission policy of 1.36, the webhook on 1.36 and the webhook on 1.35 make equal Pods of every case, in both forms and all classes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tapir_rig::client::{Api, EDGES, Kind, PODS, SECRETS, decoded, text};
use tapir_rig::{Operator, Options, PATIENCE, Rig, Signal, Site, Version, wait};

const RUNTIME_CLASSES: Kind = Kind("/apis/node.k8s.io/v1", "runtimeclasses");
const FORMS: [(&str, &str); 2] = [("Containers", "demo"), ("Native", "native")];
/// In which two API servers of different versions may differ. None is known.
const ACCEPTED_DIFFERENCES: [&str; 0] = [];

fn repository(path: &str) -> Result<Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    serde_json::from_str(&fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?)
        .context("reading JSON")
}

/// The table, and what only a cluster with other objects can be asked.
fn cases() -> Result<Vec<Value>> {
    let mut cases = repository("tapir-inject/cases.json")?["cases"].as_array().cloned().context("cases")?;
    ensure!(cases.len() > 50, "{}", cases.len());
    let spec = json!({"containers": [{"name": "unbound", "image": "resolver"}], "runtimeClassName": "equality"});
    cases.push(json!({"case": "a-runtime-class", "class": "BestEffort", "metadata": {}, "spec": spec}));
    Ok(cases)
}

/// What the operator renders, for an edge of this form.
fn injection(form: &str) -> Result<Value> {
    let mut injection = repository("operator/src/build/structures/2.json")?;
    injection["form"] = json!(form);
    for class in ["bestEffort", "burstable", "guaranteed"] {
        for container in injection[class].as_array_mut().context("containers")? {
            match form {
                "Native" => container["restartPolicy"] = json!("Always"),
                _ => drop(container.as_object_mut().map(|container| container.remove("restartPolicy"))),
            }
        }
    }
    Ok(injection)
}

/// Both edges, as the operator would leave them.
fn edges(site: &Site<'_>) -> Result<()> {
    for (form, name) in FORMS {
        site.admin().create(EDGES, &site.namespace, &site.edge_manifest(name))?;
        let status = json!({"status": {"injection": injection(form)?}});
        site.admin().merge(EDGES, &site.namespace, &format!("{name}/status"), &status)?;
    }
    let class = json!({"metadata": {"name": "equality"}, "handler": "runc"});
    if site.admin().get(RUNTIME_CLASSES, "", "equality")?.is_none() {
        site.admin().create(RUNTIME_CLASSES, "", &class)?;
    }
    Ok(())
}

/// The case as it stands, and with resources that make it one class or the other.
fn variants(case: &Value) -> [(String, Value); 3] {
    let with = |resources: Option<Value>| {
        let mut spec = case["spec"].clone();
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                if let Some(resources) = &resources {
                    container["resources"] = resources.clone();
                }
            }
        }
        spec
    };
    // Where those of the whole Pod are there, if empty, the containers' make no class.
    let class = |class: &str| if case["spec"]["resources"].is_null() { class.to_owned() } else { "BestEffort".to_owned() };
    [
        (class(case["class"].as_str().unwrap_or_default()), with(None)),
        (class("Burstable"), with(Some(json!({"requests": {"cpu": "1m"}})))),
        (class("Guaranteed"), with(Some(json!({"limits": {"cpu": "1m", "memory": "1Mi"}})))),
    ]
}

fn asked(api: &Api, namespace: &str, case: &Value, spec: &Value, edge: &str) -> Result<Value> {
    let mut pod = json!({"metadata": case["metadata"], "spec": spec});
    pod["metadata"]["name"] = case["case"].clone();
    if pod["metadata"]["labels"].is_null() || pod["metadata"]["labels"]["dnstapir.se/edge"] == "demo" {
        pod["metadata"]["labels"]["dnstapir.se/edge"] = json!(edge);
    }
    api.try_create(PODS, namespace, &pod).with_context(|| format!("case {} was refused", case["case"]))
}

fn is_injected(pod: &Value) -> bool {
    pod["metadata"]["annotations"]["dnstapir.se/injection-revision"].is_string()
}

/// Every Pod that this API server makes, without what no two have in common.
fn every_pod(site: &Site<'_>) -> Result<BTreeMap<String, Value>> {
    let mut pods = BTreeMap::new();
    for case in &cases()? {
        for (form, edge) in FORMS {
            let rendered = injection(form)?;
            // What is left alone is left alone whatever its resources.
            let variants = variants(case);
            let variants = &variants[..if case["why"].is_null() { variants.len() } else { 1 }];
            for (number, (class, spec)) in variants.iter().enumerate() {
                let key = format!("{} {form} {number}", text(&case["case"]));
                let mut pod = asked(site.admin(), &site.namespace, case, spec, edge)?;
                ensure!(is_injected(&pod) == case["why"].is_null(), "{key}: {pod}");
                if is_injected(&pod) {
                    is_of_the_class(&pod, &rendered, class).with_context(|| key.clone())?;
                }
                for field in ["uid", "creationTimestamp", "managedFields", "namespace"] {
                    pod["metadata"].as_object_mut().context("metadata")?.remove(field);
                }
                pods.insert(key, without_token_name(&pod)?);
            }
        }
    }
    Ok(pods)
}

/// All of the rendered containers, those of the class, at the end of their list, and the class is what it was.
fn is_of_the_class(pod: &Value, rendered: &Value, class: &str) -> Result<()> {
    let list = if rendered["form"] == "Native" { "initContainers" } else { "containers" };
    let member = format!("{}{}", class[..1].to_lowercase(), &class[1..]);
    let wanted = rendered[&member].as_array().context("containers of the class")?;
    let found = pod["spec"][list].as_array().context("containers of the Pod")?;
    let ours = &found[found.len() - wanted.len()..];
    for (ours, wanted) in ours.iter().zip(wanted) {
        ensure!(ours["name"] == wanted["name"] && ours["restartPolicy"] == wanted["restartPolicy"], "{ours}");
        ensure!(
            ours["resources"] == wanted["resources"] || wanted["resources"].is_null() && ours["resources"] == json!({}),
            "{ours}"
        );
    }
    ensure!(pod["status"]["qosClass"] == class, "{}", pod["status"]);
    Ok(())
}

/// The volume of the API token has a random name.
fn without_token_name(pod: &Value) -> Result<Value> {
    const PREFIX: &str = "kube-api-access-";
    let (mut rest, mut plain) = (pod.to_string(), String::new());
    while let Some(at) = rest.find(PREFIX) {
        plain.push_str(&rest[..at + PREFIX.len()]);
        rest = rest[at + PREFIX.len() + 5..].to_owned();
    }
    serde_json::from_str(&(plain + &rest)).context("the Pod again")
}

fn by_policy(rig: &Rig) -> Result<BTreeMap<String, Value>> {
    let site = Site::new(rig, "equal-policy", &[("injection.mode", "Policy"), ("injection.bindings", "Static")])?;
    edges(&site)?;
    in_force(&site)?;
    let pods = every_pod(&site)?;
    site.passed().map(|()| pods)
}

/// A site whose webhook is a process here: the API server reaches it by an address in place of a Service. With a failpoint the first process
/// ends there, and another one takes over.
fn webhook_site<'rig>(rig: &'rig Rig, name: &str, failpoint: Option<&str>) -> Result<(Site<'rig>, Operator)> {
    let site = Site::new(rig, name, &[("injection.mode", "Webhook")])?;
    // The operator's controllers serve another namespace, so that nobody but the test writes the edges.
    let both = format!("{{{},{}}}", site.namespace, site.system);
    site.chart(&[("injection.mode", "Webhook"), ("watchNamespaces", &both)])?;
    let listen = site.webhook_without_service()?;
    edges(&site)?;
    let environment = [("WATCH_NAMESPACES", site.system.as_str()), ("WEBHOOK_LISTEN", &listen), ("WEBHOOK_NAMES", "localhost")];
    if let Some(point) = failpoint {
        let first = site.operator("operator-0", &[&environment[..], &[("TAPIR_FAILPOINT", point)]].concat())?;
        assert_eq!(first.exit_code(PATIENCE)?, 99, "it ends where it was told to");
        let plain = &cases()?[0];
        ensure!(!is_injected(&asked(site.admin(), &site.namespace, plain, &plain["spec"], "demo")?), "nobody answers");
    }
    let operator = site.operator("operator-0", &environment)?;
    in_force(&site).with_context(|| operator.log())?;
    Ok((site, operator))
}

fn in_force(site: &Site<'_>) -> Result<()> {
    let plain = &cases()?[0];
    wait::until_true("a Pod to be injected", PATIENCE, || {
        Ok(is_injected(&asked(site.admin(), &site.namespace, plain, &plain["spec"], "demo")?))
    })
}

fn by_webhook(rig: &Rig, name: &str) -> Result<BTreeMap<String, Value>> {
    let (site, operator) = webhook_site(rig, name, None)?;
    let pods = every_pod(&site)?;

    // Whoever upgrades the release does not take the bundle away, and the key stays where it is.
    let secret = site.admin().read(SECRETS, &site.system, &format!("{}-webhook", site.release))?;
    ensure!(secret["data"]["ca.key"].is_string() && !operator.log().contains("PRIVATE KEY"), "the webhook's own authority");

    // Without any replica Pods are admitted as they are, and soon.
    operator.signal(Signal::SIGKILL)?;
    operator.exit_code(PATIENCE)?;
    let begin = std::time::Instant::now();
    let plain = &cases()?[0];
    let pod = asked(site.admin(), &site.namespace, plain, &plain["spec"], "demo")?;
    ensure!(!is_injected(&pod) && begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    site.passed().map(|()| pods)
}

fn differences(one: &BTreeMap<String, Value>, other: &BTreeMap<String, Value>) -> Vec<String> {
    let differs = |(key, pod): &(&String, &Value)| other.get(*key) != Some(pod) && !ACCEPTED_DIFFERENCES.contains(&key.as_str());
    one.iter().filter(differs).map(|(key, pod)| format!("{key}:\n{pod}\n{}", other.get(key).unwrap_or(&Value::Null))).collect()
}

#[test]
fn policy_and_webhook_make_equal_pods_on_both_versions() -> Result<()> {
    let newest = Rig::shared()?;
    let oldest = Rig::start("equality", Version::V1_35, Options::default())?;
    let policy = by_policy(newest)?;
    let webhook = by_webhook(newest, "equal-webhook")?;
    let older = by_webhook(&oldest, "equal-older")?;
    ensure!(policy.len() > 200 && webhook.len() == policy.len() && older.len() == policy.len(), "{}", policy.len());
    let different = [differences(&policy, &webhook), differences(&policy, &older)].concat();
    ensure!(different.is_empty(), "{} Pods differ, the first of them:\n{}", different.len(), different[0]);
    Ok(())
}

#[test]
fn whoever_takes_over_after_a_crash_brings_the_webhook_s_certificate_to_its_end() -> Result<()> {
    for point in ["webhook-after-secret", "webhook-after-bundle"] {
        let (site, _operator) = webhook_site(Rig::shared()?, point, Some(point))?;
        let secret = site.admin().read(SECRETS, &site.system, &format!("{}-webhook", site.release))?;
        let authorities = String::from_utf8(decoded(&secret["data"]["ca.crt"])?)?.matches("BEGIN").count();
        assert_eq!(authorities, 1, "the authority of the one that ended is good enough");
        site.passed()?;
    }
    Ok(())
}
