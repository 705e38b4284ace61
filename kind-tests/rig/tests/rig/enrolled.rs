//! Where many tests begin: an edge that is enrolled, and an operator that has ended in order.

use anyhow::Result;
use tapir_rig::{Core, PATIENCE, Rig, Signal, Site, wait};

/// Its name.
pub(crate) const EDGE: &str = "demo";

/// Goes on until the identity is complete and `found` is in the status of the edge, then ends the operator. Site, Core, the node's name, and that.
pub(crate) fn enrolled<T>(
    name: &str,
    what: &str,
    found: impl Fn(&serde_json::Value) -> Option<T>,
) -> Result<(Site<'static>, Core, String, T)> {
    let site = Site::new(Rig::shared()?, name, &[])?;
    let core = site.core(&[])?;
    let operator = site.operator("operator-0", &[])?;
    let node = site.new_edge(&core, EDGE)?;
    site.wait_condition(EDGE, "Enrolled", "True", None)?;
    wait::until_true("the pending Secret to go", PATIENCE, || Ok(site.secret("demo-pending")?.is_none()))?;
    let found = wait::until(what, PATIENCE, || Ok(found(&site.edge(EDGE)?["status"])))?;
    operator.signal(Signal::SIGTERM)?;
    operator.exit_code(PATIENCE)?;
    Ok((site, core, node, found))
}
