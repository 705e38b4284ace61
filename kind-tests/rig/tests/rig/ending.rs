//! An orderly end: what is under way may end, nothing holds it up for longer than a Pod's grace period, and the Lease is free at the end.

use std::time::Duration;

use anyhow::Result;
use tapir_rig::{Core, Operator, PATIENCE, Rig, Signal, Site, wait};

/// What a Pod's grace period leaves.
const GRACE: Duration = Duration::from_secs(30);

/// An operator whose call to Core is under way.
fn enrolling<'rig>(name: &str, fault: &str) -> Result<(Site<'rig>, Core, Operator)> {
    let site = Site::new(Rig::shared()?, name, &[])?;
    let core = site.core(&[])?;
    let operator = site.operator("operator-0", &[])?;
    wait::until_true("it to be ready", PATIENCE, || Ok(operator.page("/readyz")?.status == 200))?;
    let node = site.credentials(&core, "demo")?;
    core.fault_of(&node, fault)?;
    site.edge_with_credentials("demo")?;
    // Keys are stored right before the call.
    wait::until_true("the call to Core", PATIENCE, || Ok(site.secret("demo-pending")?.is_some()))?;
    Ok((site, core, operator))
}

/// An answer that comes while the end is awaited is stored: nothing has to be asked again.
#[test]
fn an_enrolment_that_is_under_way_ends_before_the_operator_does() -> Result<()> {
    let (site, core, operator) = enrolling("ends-in-order", "slow:6")?;
    operator.signal(Signal::SIGTERM)?;
    assert_eq!(operator.exit_code(GRACE)?, 0);
    assert!(site.secret("demo-identity")?.is_some(), "the answer is stored");
    assert_eq!(core.calls(&site.node("demo"), "enroll")?, [Some(200)]);
    assert_eq!(site.leader()?, "", "the Lease is free");
    site.passed()
}

/// Nothing of Core is waited for longer than a call may take, nor does it make the operator look dead before.
#[test]
fn a_core_that_hangs_does_not_hold_up_the_end() -> Result<()> {
    let (site, _core, operator) = enrolling("ends-in-time", "unreachable")?;
    for page in ["/livez", "/readyz"] {
        assert_eq!(operator.page(page)?.status, 200, "{page}");
    }
    operator.signal(Signal::SIGTERM)?;
    assert_eq!(operator.exit_code(GRACE)?, 0);
    assert_eq!(site.leader()?, "", "the Lease is free");
    site.passed()
}
