//! Pods that must never be refused: each is created on the real API server and seen to resolve.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::dig::{Answer, dig};
use tapir_scenarios::objects::{is_injected, name, text};
use tapir_scenarios::scene::Scene;
use tapir_scenarios::wait;

const ASKED: &str = "www.example.se";

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

/// One Pod for each name and path that the injection would bring, as it stands in the edge's status.
fn colliding_pods(scene: &Scene) -> Result<Vec<Value>> {
    let injection = scene.edge()?["status"]["injection"].clone();
    let list = |what: &str, member: &str| {
        injection[what].as_array().into_iter().flatten().map(|entry| text(&entry[member])).collect::<Vec<_>>()
    };
    let (containers, volumes, paths) =
        (list("burstable", "name"), list("volumes", "name"), list("resolverVolumeMounts", "mountPath"));
    assert!(containers.len() == 2 && volumes.len() >= 6 && !paths.is_empty(), "{injection}");
    let mut template = scene.bare_pod("")?;
    // All of them are there at the same time.
    template["spec"]["containers"][0]["resources"]["requests"] = json!({"cpu": "10m", "memory": "32Mi"});
    let pod = |form: &str, what: &str, change: &dyn Fn(&mut Value)| {
        let mut pod = template.clone();
        let plain: String = what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        pod["metadata"]["name"] = json!(format!("same-{form}-{}", plain.trim_matches('-')));
        change(&mut pod["spec"]);
        pod
    };
    let push = |list: &mut Value, entry: Value| {
        list.as_array_mut().map(|list| list.push(entry)).unwrap_or_default();
    };
    let mut pods = Vec::new();
    for name in &containers {
        pods.push(pod("container", name, &|spec| {
            let mut other = spec["containers"][0].clone();
            for probe in ["readinessProbe", "ports", "lifecycle"] {
                other[probe] = Value::Null;
            }
            other["name"] = json!(name);
            other["command"] = json!(["/usr/sbin/unbound", "-d", "-c", "/dev/null"]);
            push(&mut spec["containers"], other);
        }));
    }
    for name in &volumes {
        pods.push(pod("volume", name, &|spec| push(&mut spec["volumes"], json!({"name": name, "emptyDir": {}}))));
    }
    for path in paths.iter().flat_map(|path| [path.clone(), format!("/var{path}/"), format!("{path}/below")]) {
        pods.push(pod("path", &path, &|spec| {
            push(&mut spec["volumes"], json!({"name": "mine", "emptyDir": {}}));
            push(&mut spec["containers"][0]["volumeMounts"], json!({"name": "mine", "mountPath": path}));
        }));
    }
    Ok(pods)
}

#[test]
fn collisions_of_every_name_and_path_of_ours_are_admitted_without_sidecars() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("collide")?;
    let pods = colliding_pods(&scene)?;
    assert!(pods.len() >= 11, "{}", pods.len());
    for pod in &pods {
        scene.apply_json(pod)?;
    }
    for pod in &pods {
        let admitted = resolves(&scene, pod)?;
        assert!(!is_injected_by_us(&admitted), "{} was injected in spite of the collision", name(pod));
    }
    // The same Pod without a collision is injected, so it was the collision that kept the others from it.
    assert!(is_injected_by_us(&resolves(&scene, &scene.bare_pod("no-collision")?)?));
    scene.passed()
}

/// Some cases have containers of our names: the annotation comes with the injection alone.
fn is_injected_by_us(pod: &Value) -> bool {
    pod["metadata"]["annotations"]["dnstapir.se/injection-revision"].is_string()
}

#[test]
fn host_network_is_injected_and_resolves() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("hostnet")?;
    let mut pod = scene.bare_pod("host-network")?;
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
    let mut pod = scene.bare_pod("root-pod")?;
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
fn a_label_that_names_no_edge_changes_nothing() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("noedge")?;
    let mut pod = scene.bare_pod("no-edge")?;
    pod["metadata"]["labels"]["dnstapir.se/edge"] = json!("nobody");
    assert!(!is_injected(&resolves(&scene, &pod)?));
    scene.passed()
}

#[test]
fn no_api_token_is_visible_in_injected_containers() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("token")?;
    let mut pod = scene.bare_pod("with-token")?;
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
    // The sidecars' images have no shell: a container that shares their processes looks into their root.
    let seen = |target: &str| -> Result<String> {
        let look = format!("look-into-{target}");
        let image = format!("--image={}", cluster().image("tools")?);
        let (container, target) = (format!("--container={look}"), format!("--target={target}"));
        scene.kubectl(&[
            "debug",
            "with-token",
            &image,
            &container,
            &target,
            "--profile=restricted",
            "--",
            "/bin/sleep",
            "infinity",
        ])?;
        let list = format!("/proc/1/root{TOKEN_FOLDER}");
        wait::until("the container that looks", Duration::from_secs(60), || {
            scene.kubectl(&["exec", "with-token", "--container", &look, "--", "/usr/bin/tapir-probe", "list", &list]).map(Some)
        })
    };
    assert!(seen("unbound")?.lines().any(|file| file == "token"), "this way of looking does not even see the resolver's token");
    for sidecar in ["tapir-edm", "tapir-pop"] {
        assert_eq!(seen(sidecar)?, "", "files where {sidecar} would have its API token");
    }
    scene.passed()
}
