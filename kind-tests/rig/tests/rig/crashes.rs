//! The operator ends at the worst moment of an enrolment, or Core's answer is lost: one node, one identity, no lost key.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tapir_rig::client::{SECRETS, text};
use tapir_rig::{Core, PATIENCE, Rig, Site, wait};

/// Exit code of an operator that ended at a failpoint.
pub(crate) const FAILPOINT: i32 = 99;

/// What nodeman answered to the calls about the node, in order.
#[derive(Debug)]
struct Calls {
    enrolments: Vec<Option<u64>>,
    renewals: Vec<Option<u64>>,
}

impl Calls {
    /// The one call was enough.
    fn one(&self) -> bool {
        self.enrolments == [Some(200)] && self.renewals.is_empty()
    }

    /// The first answer did not come to be known, so it was asked again with the same key: nodeman says that the node is enrolled already,
    /// and the key that was kept gets its certificate by renewal.
    fn asked_again(&self) -> bool {
        let (first, again) = self.enrolments.split_first().unwrap_or((&None, &[]));
        matches!(first, Some(200) | None)
            && !again.is_empty()
            && again.iter().all(|status| *status == Some(400))
            && self.renewals == [Some(200)]
    }
}

fn ends_enrolled_after_a_crash(point: &str, calls_are_right: impl Fn(&Calls) -> bool) -> Result<()> {
    let site = Site::new(Rig::shared()?, point, &[])?;
    let core = site.core(&[])?;
    let first = site.operator("operator-0", &[("TAPIR_FAILPOINT", point)])?;
    let node = site.new_edge(&core, "demo")?;
    assert_eq!(first.exit_code(PATIENCE)?, FAILPOINT, "it ends where it was told to");
    let held = data_key(&site, "demo-pending")?.or(data_key(&site, "demo-identity")?).context("the data key is on record")?;

    // As the kubelet starts the container again.
    let _second = site.operator("operator-0", &[])?;
    site.wait_condition("demo", "Enrolled", "True", None)?;
    one_node_one_identity(&site, &core, &node, &held)?;
    let calls = Calls { enrolments: core.calls(&node, "enroll")?, renewals: core.calls(&node, "renew")? };
    assert!(calls_are_right(&calls), "{point}: {calls:?}");
    site.passed()
}

/// The data key of a Secret, if it is there.
fn data_key(site: &Site<'_>, secret: &str) -> Result<Option<Value>> {
    Ok(site.secret(secret)?.map(|secret| secret["data"]["datakey.jwk"].clone()))
}

fn one_node_one_identity(site: &Site<'_>, core: &Core, node: &str, held: &Value) -> Result<()> {
    wait::until_true("the pending Secret to go", PATIENCE, || Ok(site.secret("demo-pending")?.is_none()))?;
    assert_eq!(data_key(site, "demo-identity")?.as_ref(), Some(held), "the key that was on record is the node's");
    let secrets = site.admin().list(SECRETS, &site.namespace)?;
    let identities = secrets.iter().filter(|secret| text(&secret["metadata"]["name"]).contains("identity"));
    assert_eq!(identities.count(), 1, "one identity");
    assert_eq!(core.nodes()?, [node], "one node, the one that the credentials were for");
    let known = core.node(node)?.context("Core knows the node")?;
    let key: Value = serde_json::from_slice(&tapir_rig::client::decoded(held)?)?;
    ensure!(known["public_key"]["x"] == key["x"], "Core knows the node by the key that was kept");
    Ok(())
}

#[test]
fn before_the_call_to_nodeman() -> Result<()> {
    ends_enrolled_after_a_crash("before-enrol", Calls::one)
}

#[test]
fn after_nodeman_answered() -> Result<()> {
    ends_enrolled_after_a_crash("after-enrol", Calls::asked_again)
}

#[test]
fn after_the_identity_was_written() -> Result<()> {
    ends_enrolled_after_a_crash("after-identity", Calls::one)
}

/// nodeman enrols the node, and nobody hears of it; the operator goes on living.
#[test]
fn the_answer_of_nodeman_is_lost() -> Result<()> {
    let site = Site::new(Rig::shared()?, "answer-lost", &[])?;
    let core = site.core(&[])?;
    core.fault("lose-answer")?;
    let _operator = site.operator("operator-0", &[])?;
    let node = site.new_edge(&core, "demo")?;
    wait::until_true("the call whose answer is lost", PATIENCE, || Ok(core.calls(&node, "enroll")? == [None]))?;
    let held = data_key(&site, "demo-pending")?.context("the data key is on record")?;
    core.fault("none")?;
    site.wait_condition("demo", "Enrolled", "True", None)?;
    one_node_one_identity(&site, &core, &node, &held)?;
    let calls = Calls { enrolments: core.calls(&node, "enroll")?, renewals: core.calls(&node, "renew")? };
    assert!(calls.asked_again(), "{calls:?}");
    site.passed()
}
