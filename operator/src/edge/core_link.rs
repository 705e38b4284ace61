//! What the sidecars say about their way to Core and about their configuration: condition `CoreConnected`. Pure but for reading the board.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use crate::conditions::{Draft, Truth};
use crate::sidecars::{Board, Component, EdgeKey, Heard, Target};

/// Sidecars to ask, from the Pods that run them.
#[must_use]
pub(super) fn targets(pods: &[Pod]) -> Vec<Target> {
    pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).flat_map(of_pod).collect()
}

fn of_pod(pod: &Pod) -> Vec<Target> {
    let address =
        pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).and_then(|address| address.parse::<IpAddr>().ok());
    let (Some(address), Some(uid), Some(spec)) = (address, pod.uid(), &pod.spec) else { return Vec::new() };
    let runs = |name: &str| spec.containers.iter().any(|container| container.name == name);
    [("tapir-edm", Component::Edm), ("tapir-pop", Component::Pop)]
        .into_iter()
        .filter(|(name, _)| runs(name))
        .map(|(_, component)| Target { pod: pod.name_any(), uid: uid.clone(), address, component })
        .collect()
}

/// The last answer of each, also of those that are silent now: a refusal does not pass by a missed answer.
#[must_use]
pub(super) fn last(board: &Board, edge: &EdgeKey, targets: &[Target]) -> Vec<(Target, Option<Heard>)> {
    targets.iter().map(|target| (target.clone(), board.last(edge, target))).collect()
}

/// What was heard of each.
#[must_use]
pub(super) fn heard(board: &Board, edge: &EdgeKey, targets: Vec<Target>) -> Vec<(Target, Option<Heard>)> {
    let heard = |target: &Target| board.heard(edge, target).flatten();
    targets.into_iter().map(|target| (heard(&target), target)).map(|(heard, target)| (target, heard)).collect()
}

/// The condition `CoreConnected`.
#[must_use]
pub(super) fn core_connected(heard: &[(Target, Option<Heard>)]) -> Draft {
    let draft = |truth, reason: &str, message: String| Draft::new("CoreConnected", truth, reason, message);
    let name = |target: &Target| format!("{} of Pod {}", <&str>::from(target.component).to_uppercase(), target.pod);
    let disconnected = heard.iter().find(|(_, heard)| heard.as_ref().is_some_and(|heard| !heard.connected && !heard.disabled));
    if let Some((target, Some(heard))) = disconnected {
        let cause = heard.identity_error.as_ref().or(heard.core_error.as_ref()).map_or("no cause given", String::as_str);
        return draft(Truth::False, "Disconnected", format!("{} is not connected to Core: {cause}; DNS goes on", name(target)));
    }
    if heard.is_empty() {
        return draft(Truth::Unknown, "NoPods", "no Pod runs the sidecars".to_owned());
    }
    match heard.iter().find(|(_, heard)| heard.is_none()) {
        Some((target, _)) => draft(
            Truth::Unknown,
            "StatusUnknown",
            format!("{} has not answered; the operator asks port {}", name(target), target.component.port()),
        ),
        None => draft(Truth::True, "Connected", "every sidecar is connected to Core".to_owned()),
    }
}

/// A sidecar that refused its newest configuration and does not have the wanted one either.
#[must_use]
pub(super) fn refused_configuration(
    heard: &[(Target, Option<Heard>)],
    component: Component,
    wanted: Option<&str>,
) -> Option<String> {
    heard.iter().filter(|(target, _)| target.component == component).find_map(|(target, heard)| {
        let heard = heard.as_ref().filter(|heard| wanted != Some(heard.revision.as_str()))?;
        let error = heard.config_error.as_ref()?;
        Some(format!(
            "{} of Pod {} refuses its configuration and keeps the last good one: {error}",
            <&str>::from(component).to_uppercase(),
            target.pod
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(component: Component) -> Target {
        Target { pod: "p".into(), uid: "u".into(), address: [10, 0, 0, 1].into(), component }
    }

    fn sidecar(connected: bool) -> Option<Heard> {
        Some(Heard {
            revision: "r".into(),
            config_error: None,
            disabled: false,
            connected,
            core_error: Some("connection refused".into()),
            identity_error: None,
            certificate_serial: None,
            certificate_not_after: None,
            sources: crate::sidecars::Sources::default(),
        })
    }

    fn condition(edm: Option<Heard>, pop: Option<Heard>) -> (Truth, String) {
        let draft = core_connected(&[(target(Component::Edm), edm), (target(Component::Pop), pop)]);
        (draft.truth, draft.message)
    }

    #[test]
    fn silence_is_unknown_and_disconnection_is_certain() {
        assert_eq!(condition(sidecar(true), sidecar(true)).0, Truth::True);
        assert_eq!(condition(sidecar(true), None).0, Truth::Unknown);
        let (truth, message) = condition(None, sidecar(false));
        assert!(truth == Truth::False && message.contains("POP of Pod p") && message.contains("connection refused"), "{message}");
        assert_eq!(core_connected(&[]).truth, Truth::Unknown);
    }

    #[test]
    fn pods_without_address_or_sidecars_are_not_asked() {
        let pod = |spec: serde_json::Value, status: serde_json::Value| -> Pod {
            serde_json::from_value(serde_json::json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec, "status": status}))
                .unwrap()
        };
        let both = serde_json::json!({"containers": [{"name": "unbound"}, {"name": "tapir-edm"}, {"name": "tapir-pop"}]});
        let plain = serde_json::json!({"containers": [{"name": "unbound"}]});
        let running = serde_json::json!({"podIP": "10.0.0.1"});
        assert_eq!(targets(&[pod(both.clone(), running.clone())]).len(), 2);
        assert_eq!(targets(&[pod(both, serde_json::json!({})), pod(plain, running)]).len(), 0);
    }
}
