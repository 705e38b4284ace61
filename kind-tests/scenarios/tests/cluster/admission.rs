//! Pods that must never be refused: each is created on the real API server and seen to resolve.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::dig::{Answer, dig};
use tapir_scenarios::objects::{is_injected, text};
use tapir_scenarios::scene::Scene;
use tapir_scenarios::wait;

const ASKED: &str = "www.example.se";

/// A bare resolver Pod like those of the example's Deployment.
fn resolver_pod(scene: &Scene, pod_name: &str) -> Result<Value> {
    let deployment = cluster().get(&scene.namespace, &["deployment", "unbound"])?.context("the example's Deployment")?;
    let mut pod = deployment["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"] = json!({"name": pod_name, "labels": {"dnstapir.se/edge": "demo", "case": pod_name}});
    Ok(pod)
}

/// The Pod is admitted and its resolver answers, whatever became of the sidecars.
fn resolves(scene: &Scene, pod: &Value) -> Result<Value> {
    let pod_name = text(&pod["metadata"]["name"]);
    scene.apply_json(pod)?;
    wait::until(&format!("Pod {pod_name} answers"), Duration::from_secs(60), || {
        let now = cluster().get(&scene.namespace, &["pod", &pod_name])?.context("the Pod")?;
        let address = text(&now["status"]["podIP"]);
        if address.is_empty() {
            return Ok(None);
        }
        let server =
            match pod["spec"]["containers"][0]["env"].as_array().and_then(|env| env.iter().find(|entry| entry["name"] == "PORT"))
            {
                Some(port) => format!("{address} -p {}", text(&port["value"])),
                None => address,
            };
        Ok(matches!(dig(&server, ASKED)?, Answer::Records(_)).then_some(now))
    })
}

#[test]
fn collisions_of_names_and_paths_are_admitted_without_sidecars() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("collide")?;
    let mut same_container = resolver_pod(&scene, "same-container")?;
    let mut other = same_container["spec"]["containers"][0].clone();
    other["name"] = json!("tapir-edm");
    other["command"] = json!(["/usr/sbin/unbound", "-d", "-c", "/dev/null"]);
    other["readinessProbe"] = Value::Null;
    same_container["spec"]["containers"].as_array_mut().context("containers")?.push(other);
    same_container["spec"]["restartPolicy"] = json!("Always");

    let mut same_volume = resolver_pod(&scene, "same-volume")?;
    same_volume["spec"]["volumes"].as_array_mut().context("volumes")?.push(json!({"name": "tapir-run", "emptyDir": {}}));

    let mut same_path = resolver_pod(&scene, "same-path")?;
    same_path["spec"]["volumes"].as_array_mut().context("volumes")?.push(json!({"name": "mine", "emptyDir": {}}));
    same_path["spec"]["containers"][0]["volumeMounts"]
        .as_array_mut()
        .context("mounts")?
        .push(json!({"name": "mine", "mountPath": "/run/tapir"}));

    for pod in [same_container, same_volume, same_path] {
        let admitted = resolves(&scene, &pod)?;
        assert!(!is_injected(&admitted), "{} was injected in spite of the collision", pod["metadata"]["name"]);
    }
    scene.passed()
}

#[test]
fn host_network_is_injected_and_resolves() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("hostnet")?;
    let mut pod = resolver_pod(&scene, "host-network")?;
    pod["spec"]["hostNetwork"] = json!(true);
    // Unsafe together with the host's network, and port 53 of the node is not ours to take.
    pod["spec"]["securityContext"]["sysctls"] = Value::Null;
    let configuration = cluster().get(&scene.namespace, &["configmaps"])?.context("ConfigMaps")?;
    let configuration = configuration["items"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|map| map["data"]["unbound.conf"].is_string())
        .context("unbound.conf")?
        .clone();
    // A node has several addresses; answers must come from the one that was asked.
    let moved =
        text(&configuration["data"]["unbound.conf"]).replace("server:", "server:\n    port: 5300\n    interface-automatic: yes");
    let mut data = configuration["data"].clone();
    data["unbound.conf"] = json!(moved);
    scene.apply_json(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "moved"}, "data": data}))?;
    let original = text(&configuration["metadata"]["name"]);
    for volume in pod["spec"]["volumes"].as_array_mut().context("volumes")? {
        if volume["configMap"]["name"] == original.as_str() {
            volume["configMap"]["name"] = json!("moved");
        }
    }
    let container = &mut pod["spec"]["containers"][0];
    for field in ["ports", "readinessProbe", "livenessProbe", "startupProbe"] {
        container[field] = Value::Null;
    }
    container["env"] = json!([{"name": "PORT", "value": "5300"}]);
    let admitted = resolves(&scene, &pod)?;
    assert!(is_injected(&admitted));
    scene.passed()
}

#[test]
fn run_as_root_at_pod_level_keeps_the_sidecars_unprivileged() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("rootpod")?;
    let mut pod = resolver_pod(&scene, "root-pod")?;
    pod["spec"]["securityContext"]["runAsUser"] = json!(0);
    pod["spec"]["securityContext"]["runAsNonRoot"] = Value::Null;
    let admitted = resolves(&scene, &pod)?;
    assert!(is_injected(&admitted));
    for container in admitted["spec"]["containers"].as_array().into_iter().flatten() {
        if text(&container["name"]).starts_with("tapir-") {
            let context = &container["securityContext"];
            assert!(context["runAsNonRoot"] == true && context["runAsUser"].as_u64() > Some(0), "{container}");
        }
    }
    wait::until_true("all containers run", Duration::from_secs(60), || {
        let now = cluster().get(&scene.namespace, &["pod", "root-pod"])?.unwrap_or_default();
        let statuses = now["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        Ok(statuses.len() == 3 && statuses.iter().all(|status| status["ready"] == true))
    })?;
    scene.passed()
}

#[test]
fn a_quota_a_limit_range_and_pod_security_restricted_leave_room_for_the_documented_requests() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::new("quota")?;
    cluster().kubectl(&["label", "namespace", &scene.namespace, "pod-security.kubernetes.io/enforce=restricted"])?;
    scene.apply_json(&json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"},
        "spec": {"hard": {"requests.cpu": "2", "requests.memory": "2Gi", "limits.cpu": "4", "limits.memory": "4Gi", "pods": "10"}}}))?;
    scene.apply_json(&json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "range"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "500m", "memory": "256Mi"}, "defaultRequest": {"cpu": "10m", "memory": "16Mi"},
            "max": {"cpu": "1", "memory": "1Gi"}, "min": {"cpu": "5m", "memory": "8Mi"}}]}}))?;
    scene.credentials()?;
    scene.apply_example()?;
    scene.wait_ready()?;
    let server = scene.service_address()?;
    assert!(matches!(dig(&server, ASKED)?, Answer::Records(_)));
    scene.passed()
}

#[test]
fn a_label_that_names_no_edge_changes_nothing() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("noedge")?;
    let mut pod = resolver_pod(&scene, "no-edge")?;
    pod["metadata"]["labels"]["dnstapir.se/edge"] = json!("nobody");
    assert!(!is_injected(&resolves(&scene, &pod)?));
    scene.passed()
}

#[test]
fn no_api_token_is_visible_in_injected_containers() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("token")?;
    let mut pod = resolver_pod(&scene, "with-token")?;
    pod["spec"]["automountServiceAccountToken"] = json!(true);
    let admitted = resolves(&scene, &pod)?;
    assert!(is_injected(&admitted));
    const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let volumes = admitted["spec"]["volumes"].as_array().context("volumes")?;
    let mut resolver_has_a_token = false;
    for container in admitted["spec"]["containers"].as_array().into_iter().flatten() {
        let mount = container["volumeMounts"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|mount| mount["mountPath"] == TOKEN_FOLDER)
            .context("something is mounted there")?;
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).context("its volume")?;
        let projected = volume["projected"].is_object();
        if text(&container["name"]).starts_with("tapir-") {
            assert!(!projected && volume["emptyDir"].is_object(), "{} sees an API token", container["name"]);
        } else {
            resolver_has_a_token = projected;
        }
    }
    assert!(resolver_has_a_token, "the resolver kept its own token, so the case was a real one");
    scene.passed()
}
