//! The dev Core, through its own control commands.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cluster::cluster;
use crate::objects::text;

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

/// Names of all nodes that Core's administrator sees, whether enrolled or not.
///
/// # Errors
/// When the dev Core refuses.
pub fn nodes() -> Result<Vec<String>> {
    let list: Value = serde_json::from_str(&control(&["node", "list"])?)?;
    let nodes = list["nodes"].as_array().context("a list of nodes")?;
    Ok(nodes.iter().map(|node| text(&node["name"])).collect())
}

/// Everything that the dev Core received so far.
///
/// # Errors
/// When it cannot be asked, or had no room for everything: what is missing might be what is looked for.
pub fn dump() -> Result<Vec<Value>> {
    whole(&control(&["dump"])?)
}

/// The first line is about the record itself.
fn whole(dump: &str) -> Result<Vec<Value>> {
    let mut lines = dump.lines().map(|line| serde_json::from_str::<Value>(line).context("a line of the dump"));
    let summary = lines.next().context("the dump is empty")??;
    ensure!(summary["complete"] == true, "the dev Core's record is not whole: {summary}");
    lines.collect()
}

/// Requests to nodeman about a node that end in `action`, in order: the status of each answer, none where nothing was answered.
///
/// # Errors
/// Like [`dump`].
pub fn calls(node: &str, action: &str) -> Result<Vec<Option<u64>>> {
    let target = format!("/api/v1/node/{node}/{action}");
    let entries =
        dump()?.into_iter().filter(|entry| entry["kind"] == "http" && entry["method"] == "POST" && entry["target"] == target);
    Ok(entries.map(|entry| entry["status"].as_u64()).collect())
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

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn a_record_with_gaps_is_none() {
        let dump = |complete: &str| whole(&format!("{{\"kind\":\"record\"{complete}}}\n{{\"kind\":\"http\"}}\n"));
        assert_eq!(dump(r#","complete":true"#).unwrap().len(), 1);
        assert!(dump(r#","complete":false"#).is_err() && dump("").is_err() && whole("").is_err());
    }
}
