//! The dev Core, through its own control commands.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::cluster::cluster;

/// Namespace of the dev Core.
pub const NAMESPACE: &str = "tapir-core";

fn control(arguments: &[&str]) -> Result<String> {
    let mut command = vec!["--namespace", NAMESPACE, "exec", "deployment/core", "--", "/usr/bin/core-dev"];
    command.extend_from_slice(arguments);
    cluster().kubectl(&command)
}

/// Makes a node as Core's administrator does and gives the enrolment credentials.
///
/// # Errors
/// When the dev Core refuses.
pub fn create_node(name: &str) -> Result<String> {
    control(&["node", "create", name])
}

/// Everything that the dev Core received so far.
///
/// # Errors
/// When it cannot be asked.
pub fn dump() -> Result<Vec<Value>> {
    control(&["dump"])?
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).context("a line of the dump"))
        .collect()
}

/// Makes the dev Core misbehave (`offline`, `nonsense`, `refuse`, `lose-answer`) or behave again (`none`).
///
/// # Errors
/// When it cannot be asked.
pub fn fault(kind: &str) -> Result<()> {
    control(&["fault", kind]).map(|_| ())
}
