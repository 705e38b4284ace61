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

/// What Core knows of a node, as its administrator sees it; the public data key is in `public_key`.
///
/// # Errors
/// When the dev Core has no such node.
pub fn node(name: &str) -> Result<Value> {
    Ok(serde_json::from_str(&control(&["node", "show", name])?)?)
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

/// A misbehaving dev Core. It behaves again when this is dropped, also when the scenario fails.
#[derive(Debug)]
pub struct Fault(());

impl Fault {
    /// `offline`, `nonsense`, `refuse` or `lose-answer`.
    ///
    /// # Errors
    /// When the dev Core cannot be asked.
    pub fn begin(kind: &str) -> Result<Self> {
        let fault = Self(());
        fault.change(kind)?;
        Ok(fault)
    }

    /// Another one instead.
    ///
    /// # Errors
    /// When the dev Core cannot be asked.
    pub fn change(&self, kind: &str) -> Result<()> {
        control(&["fault", kind]).map(|_| ())
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        let _ = control(&["fault", "none"]);
    }
}
