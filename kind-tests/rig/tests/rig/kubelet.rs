//! A kubelet in a few lines: Pods of a namespace start, restart sidecars whose image changed, and are listed by a Service while they serve.
//!
//! At its worst on purpose: for a moment after a change a Pod stands there as Ready with the container that is no more, as a real kubelet's
//! status does while it pulls.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tapir_rig::client::{Api, Kind, PODS, text};
use tapir_rig::{Method, PATIENCE, Site, wait};

const SLICES: Kind = Kind("/apis/discovery.k8s.io/v1", "endpointslices");
const SIDECARS: [&str; 2] = ["tapir-edm", "tapir-pop"];
/// An image with this in its name is pulled, and its program ends at once.
pub(crate) const BROKEN: &str = "broken";
const TICK: Duration = Duration::from_millis(100);
/// Ticks in which the status is not what is so, and ticks until a restarted Pod is Ready again.
const LATE: u32 = 3;
const START: u32 = 3;

/// What was seen, by name of the Pod.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Sidecars that were restarted, and with which image, in order.
    pub restarts: Vec<(String, String)>,
    /// Pods that were in motion at the same time, where that was more than one.
    pub together: Vec<Vec<String>>,
    error: Option<String>,
}

/// Works until it is dropped.
#[derive(Debug)]
pub(crate) struct Kubelet {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// A Pod as it runs.
#[derive(Debug, Default)]
struct Running {
    /// Image and number of each sidecar's container.
    sidecars: BTreeMap<String, (String, u32)>,
    ready: bool,
    /// Since the last step.
    ticks: u32,
}

impl Kubelet {
    pub(crate) fn start(site: &Site<'_>) -> Self {
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (api, namespace) = (site.admin().clone(), site.namespace.clone());
        let (of_thread, until) = (Arc::clone(&seen), Arc::clone(&stop));
        let work = move || {
            let mut pods = BTreeMap::new();
            while !until.load(Ordering::Relaxed) {
                if let Err(error) = tick(&api, &namespace, &mut pods, &of_thread) {
                    lock(&of_thread).error = Some(format!("{error:#}"));
                    return;
                }
                thread::sleep(TICK);
            }
        };
        Self { seen, stop, thread: Some(thread::spawn(work)) }
    }

    /// What it saw so far, unless it failed itself.
    pub(crate) fn seen(&self) -> Result<MutexGuard<'_, Seen>> {
        let seen = lock(&self.seen);
        ensure!(seen.error.is_none(), "the kubelet of this test failed: {:?}", seen.error);
        Ok(seen)
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a Pod of the edge's resolver as its controller would, once the API server injects.
pub(crate) fn new_pod(site: &Site<'_>, edge: &str, name: &str) -> Result<()> {
    let owner =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": edge, "uid": format!("of-{edge}"), "controller": true}]);
    let pod = json!({
        "metadata": {"name": name, "labels": {"dnstapir.se/edge": edge}, "ownerReferences": owner},
        "spec": {"nodeName": "node", "containers": [{"name": "unbound", "image": "registry.test/unbound:1"}]},
    });
    wait::until_true(&format!("Pods of {edge} to be injected"), PATIENCE, || {
        let made = site.admin().try_create(PODS, &site.namespace, &pod)?;
        Ok(made["metadata"]["annotations"]["dnstapir.se/injection-revision"].is_string())
    })?;
    site.admin().create(PODS, &site.namespace, &pod).map(|_| ())
}

/// The sidecars' images by a Pod's spec.
pub(crate) fn images(pod: &Value) -> BTreeMap<String, String> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let sidecars = containers.filter(|container| SIDECARS.contains(&container["name"].as_str().unwrap_or_default()));
    sidecars.map(|container| (text(&container["name"]), text(&container["image"]))).collect()
}

fn tick(api: &Api, namespace: &str, pods: &mut BTreeMap<String, Running>, seen: &Mutex<Seen>) -> Result<()> {
    let mut moving = Vec::new();
    for pod in api.list(PODS, namespace)? {
        let (name, uid) = (text(&pod["metadata"]["name"]), text(&pod["metadata"]["uid"]));
        if pod["metadata"]["labels"]["dnstapir.se/pull-for"].is_string() {
            if pod["status"]["phase"] != "Succeeded" {
                write(api, namespace, &name, &json!({"phase": "Succeeded"}))?;
            }
            continue;
        }
        let images = images(&pod);
        let Some(running) = pods.get_mut(&uid) else {
            let sidecars = images.into_iter().map(|(sidecar, image)| (sidecar, (image, 0))).collect();
            let running = Running { sidecars, ready: true, ticks: 0 };
            show(api, namespace, &pod, &running, pods.len())?;
            pods.insert(uid, running);
            continue;
        };
        let is_new = |sidecar: &str| running.sidecars.get(sidecar).map(|(image, _)| image) != images.get(sidecar);
        let changed: Vec<String> = images.keys().filter(|sidecar| is_new(sidecar)).cloned().collect();
        if !changed.is_empty() || !running.ready {
            moving.push(name.clone());
            running.ticks += 1;
        }
        if !changed.is_empty() && running.ticks > LATE {
            for sidecar in changed {
                let image = images[&sidecar].clone();
                lock(seen).restarts.push((name.clone(), image.clone()));
                let number = running.sidecars.get(&sidecar).map_or(0, |(_, number)| number + 1);
                running.sidecars.insert(sidecar, (image, number));
            }
            (running.ready, running.ticks) = (false, 0);
            show(api, namespace, &pod, running, 0)?;
        } else if changed.is_empty() && !running.ready && running.ticks > START && running.is_well() {
            (running.ready, running.ticks) = (true, 0);
            show(api, namespace, &pod, running, 0)?;
        }
    }
    if moving.len() > 1 {
        lock(seen).together.push(moving);
    }
    Ok(())
}

impl Running {
    fn is_well(&self) -> bool {
        self.sidecars.values().all(|(image, _)| !image.contains(BROKEN))
    }
}

/// Writes the Pod's status, and the slice of a Service that lists it.
fn show(api: &Api, namespace: &str, pod: &Value, running: &Running, number: usize) -> Result<()> {
    let (name, uid) = (text(&pod["metadata"]["name"]), text(&pod["metadata"]["uid"]));
    let statuses = running.sidecars.iter().map(|(sidecar, (image, number))| {
        let state = if image.contains(BROKEN) {
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}})
        } else {
            json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})
        };
        json!({"name": sidecar, "image": image, "imageID": "", "ready": running.ready, "restartCount": number,
            "containerID": format!("containerd://{uid}-{sidecar}-{number}"), "state": state})
    });
    let ready = if running.ready { "True" } else { "False" };
    let status = json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": ready}],
        "containerStatuses": statuses.collect::<Vec<_>>(),
        // Nobody listens there, and who asks is told at once.
        "podIP": "127.99.99.99", "podIPs": [{"ip": "127.99.99.99"}],
    });
    write(api, namespace, &name, &status)?;
    let conditions = json!({"ready": running.ready, "serving": running.ready, "terminating": false});
    let target = json!({"kind": "Pod", "name": name, "namespace": namespace, "uid": uid});
    let endpoints = |address: &str| json!([{"addresses": [address], "conditions": conditions, "targetRef": target}]);
    let Some(slice) = api.get(SLICES, namespace, &name)? else {
        let slice = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "dns"}},
            "addressType": "IPv4",
            "endpoints": endpoints(&format!("198.18.0.{}", number + 1)),
        });
        return api.create(SLICES, namespace, &slice).map(|_| ());
    };
    let address = text(&slice["endpoints"][0]["addresses"][0]);
    api.merge(SLICES, namespace, &name, &json!({"endpoints": endpoints(&address)})).map(|_| ())
}

/// A Pod that went meanwhile is as good.
fn write(api: &Api, namespace: &str, pod: &str, status: &Value) -> Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/status");
    let body = json!({"status": status});
    let answer = api.raw(Method::PATCH, &path, Some(("application/merge-patch+json", &body)))?;
    ensure!(answer.status < 300 || answer.status == 404, "status of Pod {pod}: {}", answer.text);
    Ok(())
}
