//! The sidecars of a Pod: what they say of themselves, and what becomes of their workers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::cluster::cluster;
use crate::objects::{name, text};
use crate::scene::Scene;

/// Containers whose workers are killed.
const WORKERS: [&str; 2] = ["tapir-edm", "tapir-pop"];

/// `GET /status` of POP in a Pod, asked through the API server.
///
/// # Errors
/// When it does not answer.
pub fn pop_status(namespace: &str, pod: &str) -> Result<Value> {
    status(namespace, pod, 9842)
}

/// `GET /status` at a sidecar's port.
///
/// # Errors
/// When it does not answer.
pub fn status(namespace: &str, pod: &str, port: u16) -> Result<Value> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/status");
    Ok(serde_json::from_str(&cluster().kubectl(&["get", "--raw", &path])?)?)
}

/// What killing came to.
#[derive(Debug)]
pub struct Kills {
    /// Workers that were there and got the signal, by Pod and container.
    pub hits: BTreeMap<(String, &'static str), u32>,
    /// How often all were tried.
    pub rounds: u32,
    /// From the first round to the end of the last.
    pub took: Duration,
}

impl Kills {
    /// Every worker of the Pods was really killed so many times at least: by the answers to the signals, and by what `tapir-init` wrote.
    ///
    /// # Errors
    /// With all counts.
    pub fn each_at_least(&self, scene: &Scene, least: u32) -> Result<()> {
        let pods = scene.pods()?.len();
        ensure!(pods > 0 && self.hits.len() == 2 * pods, "not the workers of {pods} Pods: {:?}", self.hits);
        for ((pod, container), hits) in &self.hits {
            let log = scene.kubectl(&["logs", pod, "--container", container])?;
            let ended = log.lines().filter(|line| line.contains(r#""worker_ended""#) && line.contains("SIGKILL")).count();
            ensure!(*hits >= least && ended >= least as usize, "{container} of {pod} ended {ended} times by SIGKILL: {self:?}");
        }
        Ok(())
    }
}

/// Kills every worker once a second. `tapir-init` starts them again after pauses that grow to five seconds, so a round may find none. `check`
/// is done in every round.
///
/// # Errors
/// When `check` fails.
pub fn kill_workers_for(scene: &Scene, duration: Duration, check: impl Fn() -> Result<()>) -> Result<Kills> {
    let pods: Vec<String> = scene.pods()?.iter().map(name).collect();
    let all = pods.iter().flat_map(|pod| WORKERS.map(|container| (pod.clone(), container)));
    let mut kills = Kills { hits: all.map(|worker| (worker, 0)).collect(), rounds: 0, took: Duration::ZERO };
    let start = Instant::now();
    while start.elapsed() < duration {
        let round = Instant::now();
        std::thread::scope(|threads| {
            let signalled: Vec<_> = kills
                .hits
                .iter_mut()
                .map(|((pod, container), hits)| threads.spawn(|| *hits += u32::from(kill(scene, pod, container))))
                .collect();
            signalled.into_iter().for_each(|thread| drop(thread.join()));
        });
        check()?;
        kills.rounds += 1;
        std::thread::sleep(Duration::from_secs(1).saturating_sub(round.elapsed()));
    }
    kills.took = start.elapsed();
    Ok(kills)
}

fn kill(scene: &Scene, pod: &str, container: &str) -> bool {
    scene.kubectl(&["exec", pod, "--container", container, "--", "/usr/bin/tapir-init", "kill", "KILL"]).is_ok()
}

/// Fails when a container of the scene's Pods was started again.
///
/// # Errors
/// Names it.
pub fn no_container_restarted(scene: &Scene) -> Result<()> {
    for pod in scene.pods()? {
        let lists = ["initContainerStatuses", "containerStatuses"].map(|list| pod["status"][list].as_array());
        for status in lists.into_iter().flatten().flatten() {
            ensure!(status["restartCount"] == 0, "container {} of {} restarted", text(&status["name"]), name(&pod));
        }
    }
    Ok(())
}
