use super::*;
use crate::identity::due::Why;

const NODE: &str = "a.edge.test";

fn secret(key: &str) -> SecretFacts {
    SecretFacts {
        node: Some(NODE.to_owned()),
        credentials: Some("made-with".to_owned()),
        data_key: Some(key.to_owned()),
        content: format!("content of {key}"),
        defect: None,
        terminating: false,
        protected: true,
    }
}

fn facts() -> Facts {
    Facts {
        namespace_terminating: false,
        identity: None,
        pending: None,
        rescue: None,
        recorded: None,
        credentials: Credentials::Valid { node: NODE.to_owned(), fingerprint: "made-with".to_owned() },
        existing: None,
        shared_with: None,
        due: Due::No,
        removed_at_core: false,
    }
}

fn settled() -> Plan {
    Plan::Settled { node: NODE.to_owned(), ignored_credentials: None }
}

fn missing() -> Credentials {
    Credentials::Missing { what: "no Secret".to_owned() }
}

fn recorded() -> Option<String> {
    Some(NODE.to_owned())
}

#[test]
fn keys_are_stored_before_nodeman_is_called() {
    assert_eq!(plan(&facts()), Plan::Do(Step::CreatePending));
    assert_eq!(plan(&Facts { pending: Some(secret("k")), ..facts() }), Plan::Do(Step::Enrol));
}

#[test]
fn after_the_identity_the_edge_remembers_and_only_then_pending_goes() {
    let both = Facts { pending: Some(secret("k")), identity: Some(secret("k")), ..facts() };
    assert_eq!(plan(&both), Plan::Do(Step::Record));
    let remembered = Facts { recorded: recorded(), ..both };
    assert_eq!(plan(&remembered), Plan::Do(Step::RemovePending));
    assert_eq!(plan(&Facts { pending: None, ..remembered }), settled());
}

#[test]
fn pending_keys_recover_an_identity_that_vanished_before_they_were_removed() {
    assert_eq!(plan(&Facts { pending: Some(secret("k")), recorded: recorded(), ..facts() }), Plan::Do(Step::Enrol));
}

#[test]
fn used_credentials_may_be_deleted() {
    assert_eq!(plan(&Facts { identity: Some(secret("k")), recorded: recorded(), credentials: missing(), ..facts() }), settled());
}

#[test]
fn a_recreated_edge_adopts_with_the_same_credentials_only() {
    let recreated = Facts { identity: Some(secret("k")), ..facts() };
    assert_eq!(plan(&recreated), Plan::Do(Step::Record));
    let other_node = Credentials::Valid { node: "b.edge.test".into(), fingerprint: "made-with".into() };
    let other_key = Credentials::Valid { node: NODE.into(), fingerprint: "forged".into() };
    for credentials in [other_node, other_key] {
        let plan = plan(&Facts { credentials, ..recreated.clone() });
        assert!(matches!(plan, Plan::Blocked(Blocked::IdentityMismatch { .. })), "{plan:?}");
    }
    assert!(matches!(plan(&Facts { credentials: missing(), ..recreated }), Plan::Blocked(Blocked::CredentialsMissing(_))));
}

#[test]
fn an_enrolled_edge_does_not_become_another_node_by_other_credentials() {
    let credentials = Credentials::Valid { node: "b.edge.test".into(), fingerprint: "other".into() };
    let facts = Facts { identity: Some(secret("k")), recorded: recorded(), credentials, ..facts() };
    assert_eq!(plan(&facts), Plan::Settled { node: NODE.to_owned(), ignored_credentials: Some("b.edge.test".to_owned()) });
}

#[test]
fn a_lost_identity_never_becomes_a_silent_new_key() {
    for credentials in [facts().credentials, missing()] {
        let plan = plan(&Facts { recorded: recorded(), credentials, ..facts() });
        assert_eq!(plan, Plan::Blocked(Blocked::IdentityLost(NODE.to_owned())));
    }
    let remedy = Credentials::Valid { node: "b.edge.test".into(), fingerprint: "new".into() };
    assert_eq!(plan(&Facts { recorded: recorded(), credentials: remedy, ..facts() }), Plan::Do(Step::CreatePending));
}

/// Follows a deletion by somebody through all steps, playing the API server.
#[test]
fn a_deleted_identity_comes_back_the_same() {
    let mut state = Facts { identity: Some(SecretFacts { terminating: true, ..secret("k") }), recorded: recorded(), ..facts() };
    let mut steps = Vec::new();
    while let Plan::Do(step) = plan(&state) {
        steps.push(step);
        match step {
            Step::CopyToRescue => state.rescue = Some(SecretFacts { protected: false, ..secret("k") }),
            Step::Release => state.identity = None,
            Step::Restore => state.identity = Some(secret("k")),
            Step::RemoveRescue => state.rescue = None,
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(steps, [Step::CopyToRescue, Step::Release, Step::Restore, Step::RemoveRescue]);
    assert_eq!(plan(&state), settled());
}

#[test]
fn an_identity_in_the_way_can_be_deleted_once_the_mismatch_is_proven() {
    let identity = SecretFacts { terminating: true, ..secret("k") };
    let credentials = Credentials::Valid { node: "b.edge.test".into(), fingerprint: "other".into() };
    let mismatch = Facts { identity: Some(identity), credentials, ..facts() };
    assert_eq!(plan(&mismatch), Plan::Do(Step::Release));
    assert_eq!(plan(&Facts { identity: None, ..mismatch.clone() }), Plan::Do(Step::CreatePending));
    for own in [Facts { recorded: recorded(), ..mismatch.clone() }, Facts { credentials: missing(), ..mismatch }] {
        assert_eq!(plan(&own), Plan::Do(Step::CopyToRescue));
    }
}

#[test]
fn the_copy_is_whole_before_the_original_is_let_go() {
    let stale = SecretFacts { content: "before a renewal".to_owned(), ..secret("k") };
    let terminating = SecretFacts { terminating: true, ..secret("k") };
    let facts = Facts { identity: Some(terminating), rescue: Some(stale), recorded: recorded(), ..facts() };
    assert_eq!(plan(&facts), Plan::Do(Step::CopyToRescue));
}

#[test]
fn two_different_data_keys_are_never_decided_by_us() {
    for terminating in [true, false] {
        let identity = Some(SecretFacts { terminating, ..secret("k") });
        let plan = plan(&Facts { identity, rescue: Some(secret("other")), recorded: recorded(), ..facts() });
        assert_eq!(plan, Plan::Blocked(Blocked::RescueConflict));
    }
}

#[test]
fn a_namespace_that_goes_is_never_held_up() {
    let identity = SecretFacts { terminating: true, ..secret("k") };
    let going = Facts { namespace_terminating: true, identity: Some(identity.clone()), pending: Some(secret("k")), ..facts() };
    assert_eq!(plan(&going), Plan::Do(Step::Release));
    assert_eq!(plan(&Facts { identity: Some(SecretFacts { protected: false, ..identity }), ..going.clone() }), Plan::Leave);
    assert_eq!(plan(&Facts { identity: None, ..going }), Plan::Leave);
}

#[test]
fn new_credentials_replace_pending_keys_only_after_asking_nodeman() {
    let credentials = Credentials::Valid { node: "b.edge.test".into(), fingerprint: "new".into() };
    assert_eq!(plan(&Facts { pending: Some(secret("k")), credentials, ..facts() }), Plan::Do(Step::DiscardPending));
}

#[test]
fn shared_credentials_stop_the_second_edge_before_any_key_is_made() {
    let shared = Facts { shared_with: Some("dns/first".to_owned()), ..facts() };
    for facts in [shared.clone(), Facts { pending: Some(secret("k")), ..shared }] {
        assert_eq!(plan(&facts), Plan::Blocked(Blocked::CredentialsShared("dns/first".to_owned())));
    }
}

#[test]
fn bad_credentials_are_told_apart() {
    let invalid = Credentials::Invalid { why: "not JSON".to_owned() };
    assert!(matches!(plan(&Facts { credentials: missing(), ..facts() }), Plan::Blocked(Blocked::CredentialsMissing(_))));
    assert!(matches!(plan(&Facts { credentials: invalid, ..facts() }), Plan::Blocked(Blocked::CredentialsInvalid(_))));
}

#[test]
fn an_unprotected_identity_is_protected_and_a_damaged_one_reported() {
    let bare = Facts { identity: Some(SecretFacts { protected: false, ..secret("k") }), recorded: recorded(), ..facts() };
    assert_eq!(plan(&bare), Plan::Do(Step::Protect));
    let damaged = SecretFacts { defect: Some("tls.key is missing".to_owned()), ..secret("k") };
    assert!(matches!(plan(&Facts { identity: Some(damaged), ..bare }), Plan::Blocked(Blocked::IdentityInvalid(_))));
}

#[test]
fn an_installation_that_was_there_before_is_taken_over_by_its_own_key() {
    let existing = Facts { existing: Some("k".to_owned()), ..facts() };
    assert_eq!(plan(&existing), Plan::Do(Step::Adopt));
    assert_eq!(plan(&Facts { pending: Some(secret("k")), ..existing.clone() }), Plan::Do(Step::Enrol));
    // Keys that were made for earlier credentials of the same node.
    assert_eq!(plan(&Facts { pending: Some(secret("other")), ..existing.clone() }), Plan::Do(Step::DiscardPending));
    // With its key at hand nothing is lost.
    assert_eq!(plan(&Facts { recorded: recorded(), ..existing.clone() }), Plan::Do(Step::Adopt));
    let shared = Facts { shared_with: Some("dns/first".to_owned()), ..existing };
    assert!(matches!(plan(&shared), Plan::Blocked(Blocked::CredentialsShared(_))));
}

#[test]
fn core_is_asked_only_for_an_identity_that_is_whole_and_recorded() {
    for (due, step) in [(Due::Renew(Why::Time), Step::Renew), (Due::Refresh, Step::Refresh)] {
        let due = Facts { identity: Some(secret("k")), recorded: recorded(), due, ..facts() };
        assert_eq!(plan(&due), Plan::Do(step));
        assert_eq!(plan(&Facts { recorded: None, ..due.clone() }), Plan::Do(Step::Record));
        assert_eq!(plan(&Facts { pending: Some(secret("k")), ..due.clone() }), Plan::Do(Step::RemovePending));
        let identity = Some(SecretFacts { terminating: true, ..secret("k") });
        assert_eq!(plan(&Facts { identity, ..due.clone() }), Plan::Do(Step::CopyToRescue));
        let identity = Some(SecretFacts { defect: Some("damaged".to_owned()), ..secret("k") });
        assert!(matches!(plan(&Facts { identity, ..due }), Plan::Blocked(Blocked::IdentityInvalid(_))));
    }
}

/// Follows a new enrolment through all steps, playing API server and Core.
#[test]
fn an_edge_becomes_another_node_only_when_core_removed_its_own() {
    let credentials = Credentials::Valid { node: "b.edge.test".into(), fingerprint: "other".into() };
    let enrolled = Facts { identity: Some(secret("k")), recorded: recorded(), credentials, ..facts() };
    assert!(matches!(plan(&enrolled), Plan::Settled { .. }), "not by other credentials alone");
    let removed = Facts { removed_at_core: true, ..enrolled };
    let own = Credentials::Valid { node: NODE.to_owned(), fingerprint: "made-with".to_owned() };
    assert_eq!(plan(&Facts { credentials: own, ..removed.clone() }), settled(), "nor by the removal alone");
    let shared = Facts { shared_with: Some("dns/first".to_owned()), ..removed.clone() };
    assert!(matches!(plan(&shared), Plan::Settled { .. }), "nor while another edge goes first");

    let mut state = removed;
    let mut steps = Vec::new();
    let new = SecretFacts { node: Some("b.edge.test".to_owned()), credentials: Some("other".to_owned()), ..secret("new") };
    while let Plan::Do(step) = plan(&state) {
        steps.push(step);
        match step {
            Step::CreatePending => state.pending = Some(new.clone()),
            Step::ReplaceByNew => state.identity = Some(new.clone()),
            Step::Record => state.recorded = Some("b.edge.test".to_owned()),
            Step::RemovePending => state.pending = None,
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(steps, [Step::CreatePending, Step::ReplaceByNew, Step::Record, Step::RemovePending]);
    assert_eq!(plan(&state), Plan::Settled { node: "b.edge.test".to_owned(), ignored_credentials: None });
}
