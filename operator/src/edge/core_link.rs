//! What the sidecars say about their way to Core and about their configuration: condition `CoreConnected`. Pure but for reading the board.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::conditions::{Draft, Truth};
use crate::sidecars::{Board, Component, EdgeKey, Heard, Target};

/// The last answer of each, also of those that are silent now: a refusal does not pass by a missed answer.
#[must_use]
pub(super) fn last(board: &Board, edge: &EdgeKey, targets: &[Target]) -> Vec<(Target, Option<Heard>)> {
    targets.iter().map(|target| (target.clone(), board.last(edge, target))).collect()
}

/// What was heard of each: nothing yet, silence, or an answer.
#[must_use]
pub(super) fn heard(board: &Board, edge: &EdgeKey, targets: &[Target]) -> Vec<(Target, Option<Option<Heard>>)> {
    targets.iter().map(|target| (target.clone(), board.heard(edge, target))).collect()
}

/// The condition `CoreConnected`. Until everybody was asked for the first time, for instance after a restart of the operator, nothing is
/// taken back that was said before.
#[must_use]
pub(super) fn core_connected(heard: &[(Target, Option<Option<Heard>>)], before: &[Condition]) -> Draft {
    let draft = |truth, reason: &str, message: String| Draft::new("CoreConnected", truth, reason, message);
    let name = |target: &Target| format!("{} of Pod {}", <&str>::from(target.component).to_uppercase(), target.pod);
    let answers = heard.iter().filter_map(|(target, heard)| Some((target, heard.as_ref()?.as_ref()?)));
    if let Some((target, heard)) = answers.clone().find(|(_, heard)| !heard.connected && !heard.disabled) {
        let cause = heard.identity_error.as_ref().or(heard.core_error.as_ref()).map_or("no cause given", String::as_str);
        return draft(Truth::False, "Disconnected", format!("{} is not connected to Core: {cause}; DNS goes on", name(target)));
    }
    if heard.is_empty() {
        return draft(Truth::Unknown, "NoPods", "no Pod runs the sidecars".to_owned());
    }
    let unknown = |target: &Target| {
        draft(
            Truth::Unknown,
            "StatusUnknown",
            format!("{} has not answered; the operator asks port {}", name(target), target.component.port()),
        )
    };
    if let Some((target, _)) = heard.iter().find(|(_, heard)| *heard == Some(None)) {
        return unknown(target);
    }
    match heard.iter().find(|(_, heard)| heard.is_none()) {
        // That there was nobody to ask is over.
        Some((target, _)) => {
            Draft::repeated("CoreConnected", before).filter(|before| before.reason != "NoPods").unwrap_or_else(|| unknown(target))
        }
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

    fn condition(edm: Option<Option<Heard>>, pop: Option<Option<Heard>>, before: &[Condition]) -> (Truth, String) {
        let draft = core_connected(&[(target(Component::Edm), edm), (target(Component::Pop), pop)], before);
        (draft.truth, draft.message)
    }

    #[test]
    fn silence_is_unknown_and_disconnection_is_certain() {
        assert_eq!(condition(Some(sidecar(true)), Some(sidecar(true)), &[]).0, Truth::True);
        assert_eq!(condition(Some(sidecar(true)), Some(None), &[]).0, Truth::Unknown);
        let (truth, message) = condition(Some(None), Some(sidecar(false)), &[]);
        assert!(truth == Truth::False && message.contains("POP of Pod p") && message.contains("connection refused"), "{message}");
        assert_eq!(core_connected(&[], &[]).truth, Truth::Unknown);
    }

    #[test]
    fn an_operator_that_has_not_asked_yet_takes_nothing_back() {
        let before = |draft: Draft| crate::conditions::merge(&[], vec![draft], Some(1), jiff::Timestamp::now()).0;
        let connected = before(Draft::new("CoreConnected", Truth::True, "Connected", "as ever"));
        assert_eq!(condition(None, Some(sidecar(true)), &connected), (Truth::True, "as ever".to_owned()));
        assert_eq!(condition(None, Some(sidecar(true)), &[]).0, Truth::Unknown);
        assert_eq!(condition(None, Some(None), &connected).0, Truth::Unknown, "this one was asked");
        let nobody = before(Draft::new("CoreConnected", Truth::Unknown, "NoPods", "no Pod"));
        assert!(condition(None, None, &nobody).1.contains("has not answered"));
    }
}
