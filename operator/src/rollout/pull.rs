//! Pods that have an image pulled on a node before a sidecar there is restarted with it: a sidecar is away for as long as its image takes
//! to come, and its Pod out of its Services. They say their version and end. Where none may be made, Pods are changed without.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tapir_plan::rollout::{PullState, PullView};

use crate::names::{FIELD_MANAGER, LABEL_MANAGED_BY};
use crate::pods::{is_about_image, words};

/// Label with the edge for which an image is pulled. Not the edge's own label: nothing is to be injected, no Service is to find it.
pub const LABEL_PULL_FOR: &str = "dnstapir.se/pull-for";
/// How long an image may take to come.
const DEADLINE_SECONDS: i64 = 300;
/// How long a registry may be out of reach before that is believed.
const GRACE: Duration = Duration::from_secs(60);
/// How long it is remembered that none may be made on a node.
const REFUSED: Duration = Duration::from_mins(10);
/// Not root, as the sidecars.
const USER: i64 = 65532;

/// What is remembered of pulls of one edge. Lost with the process: then they are looked at, or tried, once more.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    /// Since when an image has not come.
    failing: HashMap<String, Timestamp>,
    refused: HashMap<String, Timestamp>,
    /// Some may be there.
    pub begun: bool,
}

impl Pulls {
    /// Nothing is wanted any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) fn refused(&mut self, node: &str, image: &str, now: Timestamp) {
        self.refused.insert(name(node, image), now);
    }

    /// How the pull of an image on a node is, from its Pod if there is one.
    pub(super) fn view(&mut self, node: &str, image: &str, pod: Option<&Pod>, now: Timestamp) -> Option<PullView> {
        let name = name(node, image);
        let recent = |since: &Timestamp, limit| Duration::try_from(now.duration_since(*since)).unwrap_or_default() < limit;
        let state = match pod {
            Some(pod) => match state(pod) {
                Seen::Came(state) => state,
                Seen::Failing(words) => {
                    let since = *self.failing.entry(name).or_insert(now);
                    if recent(&since, GRACE) { PullState::Running } else { PullState::Failed(words) }
                }
            },
            None if self.refused.get(&name).is_some_and(|since| recent(since, REFUSED)) => PullState::Refused,
            None => return None,
        };
        Some(PullView { node: node.to_owned(), image: image.to_owned(), state })
    }
}

enum Seen {
    Came(PullState),
    /// Not yet, and perhaps never.
    Failing(String),
}

fn state(pod: &Pod) -> Seen {
    let Some(status) = &pod.status else { return Seen::Came(PullState::Running) };
    let container = status.container_statuses.iter().flatten().next().and_then(|container| container.state.as_ref());
    match status.phase.as_deref() {
        Some("Succeeded") => return Seen::Came(PullState::Done),
        Some("Failed") => {
            let ended = container.and_then(|state| state.terminated.as_ref());
            let late = status.reason.as_deref() == Some("DeadlineExceeded");
            return Seen::Came(match ended {
                _ if late => PullState::Failed(format!("it did not come within {DEADLINE_SECONDS} s")),
                Some(ended) => PullState::Failed(words(&format!(
                    "its program does not start: {}, exit code {}: {}",
                    ended.reason.as_deref().unwrap_or("ended"),
                    ended.exit_code,
                    ended.message.as_deref().unwrap_or("no message")
                ))),
                // The kubelet did not take it: full, or not for such Pods.
                None => PullState::Refused,
            });
        }
        _ => {}
    }
    let waiting = container.and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let said = waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or("no message");
    match reason {
        "InvalidImageName" | "ErrImageNeverPull" => Seen::Came(PullState::Failed(words(&format!("{reason}: {said}")))),
        reason if is_about_image(reason) => Seen::Failing(words(&format!("{reason}: {said}"))),
        _ => Seen::Came(PullState::Running),
    }
}

/// One name for one image on one node, whoever asks.
#[must_use]
pub(super) fn name(node: &str, image: &str) -> String {
    format!("tapir-pull-{}", hex::encode(&Sha256::digest(format!("{node} {image}"))[..8]))
}

/// The Pod. Restricted, without token, volumes or environment; `limits.yaml` of the chart allows no other.
fn pod(edge: &str, node: &str, image: &str, secrets: &[String]) -> Result<Pod, serde_json::Error> {
    let secrets: Vec<_> = secrets.iter().map(|name| json!({"name": name})).collect();
    serde_json::from_value(json!({
        "metadata": {
            "name": name(node, image),
            "labels": {LABEL_PULL_FOR: edge, LABEL_MANAGED_BY: FIELD_MANAGER, "app.kubernetes.io/part-of": "dns-tapir-edge"},
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 1,
            // It goes where a Pod of the resolver is already.
            "tolerations": [{"operator": "Exists"}],
            "imagePullSecrets": secrets,
            "securityContext": {"runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "pull",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/usr/bin/tapir-init", "--version"],
                "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    }))
}

/// What came of asking for a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Yes,
    /// By right, quota or admission.
    Refused,
}

/// Begins a pull.
///
/// # Errors
/// When the API server fails, which says nothing about whether it may be begun.
pub(super) async fn begin(api: &Api<Pod>, edge: &str, node: &str, image: &str, secrets: &[String]) -> Result<Begun, kube::Error> {
    let Ok(pod) = pod(edge, node, image, secrets) else { return Ok(Begun::Refused) };
    match api.create(&PostParams::default(), &pod).await {
        Ok(_) => Ok(Begun::Yes),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Begun::Yes),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) && status.code != 429 => {
            tracing::info!(
                edge,
                node,
                image,
                why = words(&status.message),
                "no Pod may be made to pull an image; its Pods are changed without"
            );
            Ok(Begun::Refused)
        }
        Err(error) => Err(error),
    }
}

/// Removes all that were made for an edge.
///
/// # Errors
/// When the API server refuses.
pub(super) async fn clear(api: &Api<Pod>, edge: &str) -> Result<(), kube::Error> {
    let made = api.list_metadata(&ListParams::default().labels(&format!("{LABEL_PULL_FOR}={edge}"))).await?;
    for pod in made.items.iter().filter(|pod| pod.name_any().starts_with("tapir-pull-")) {
        match api.delete(&pod.name_any(), &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => other.map(drop)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn seen(status: &Value) -> Pod {
        serde_json::from_value(json!({"status": status})).unwrap()
    }

    fn waiting(reason: &str) -> Pod {
        seen(
            &json!({"phase": "Pending", "containerStatuses": [{"name": "pull", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": "m"}}}]}),
        )
    }

    fn view(pod: &Pod) -> PullState {
        Pulls::default().view("n", "i", Some(pod), at(0)).unwrap().state
    }

    #[test]
    fn what_a_pull_came_to() {
        assert_eq!(view(&seen(&json!({"phase": "Succeeded"}))), PullState::Done);
        assert_eq!(view(&seen(&json!({"phase": "Pending"}))), PullState::Running);
        assert_eq!(view(&waiting("ContainerCreating")), PullState::Running);
        assert_eq!(view(&waiting("InvalidImageName")), PullState::Failed("InvalidImageName: m".into()));
        assert!(matches!(view(&seen(&json!({"phase": "Failed", "reason": "DeadlineExceeded"}))), PullState::Failed(_)));
        assert_eq!(view(&seen(&json!({"phase": "Failed", "reason": "OutOfcpu"}))), PullState::Refused);
        let ended = json!({"phase": "Failed", "containerStatuses": [{"name": "pull", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": {"exitCode": 128, "reason": "StartError", "message": "no such file"}}}]});
        assert!(
            matches!(view(&seen(&ended)), PullState::Failed(words) if words.contains("StartError") && words.contains("no such file"))
        );
    }

    #[test]
    fn a_registry_may_be_out_of_reach_for_a_moment() {
        let mut pulls = Pulls::default();
        let mut ask = |second| pulls.view("n", "i", Some(&waiting("ErrImagePull")), at(second)).unwrap().state;
        assert_eq!((ask(0), ask(59)), (PullState::Running, PullState::Running));
        assert_eq!(ask(60), PullState::Failed("ErrImagePull: m".into()));
    }

    #[test]
    fn a_refusal_is_remembered_for_a_while() {
        let mut pulls = Pulls::default();
        assert_eq!(pulls.view("n", "i", None, at(0)), None);
        pulls.refused("n", "i", at(0));
        assert_eq!(pulls.view("n", "i", None, at(599)).map(|view| view.state), Some(PullState::Refused));
        assert_eq!((pulls.view("n", "i", None, at(600)), pulls.view("other", "i", None, at(1))), (None, None));
    }

    #[test]
    fn the_pod_is_what_the_chart_allows() {
        let pod = serde_json::to_value(pod("stockholm", "n", "edm:2", &["registry".into()]).unwrap()).unwrap();
        assert!(pod["metadata"]["name"].as_str().unwrap().starts_with("tapir-pull-"));
        assert!(pod["metadata"]["labels"]["dnstapir.se/edge"].is_null());
        let spec = &pod["spec"];
        assert_eq!(spec["containers"].as_array().unwrap().len(), 1);
        assert_eq!(spec["containers"][0]["command"], json!(["/usr/bin/tapir-init", "--version"]));
        assert_eq!((&spec["automountServiceAccountToken"], &spec["restartPolicy"]), (&json!(false), &json!("Never")));
        assert!(spec["activeDeadlineSeconds"].is_number() && spec["volumes"].is_null() && spec["containers"][0]["env"].is_null());
        assert_eq!(spec["containers"][0]["securityContext"]["runAsNonRoot"], json!(true));
        assert_eq!(spec["imagePullSecrets"][0]["name"], json!("registry"));
    }
}
