//! What the API server wrote down about requests.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Reads of the control plane and of the test itself would only bury what is looked for.
pub(crate) const POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [rig-admin, system:apiserver, system:kube-controller-manager]
  verbs: [get, list, watch]
- level: None
  nonResourceURLs: ["/*"]
- level: Metadata
"#;

/// Events in order. A line that is just being written is not there yet.
pub(crate) fn read(log: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Whether a request changes something.
pub fn writes(event: &Value) -> bool {
    !matches!(event["verb"].as_str(), Some("get" | "list" | "watch"))
}

/// Verb, resource with subresource, namespace and name: enough to say what was done.
pub fn describe(event: &Value) -> String {
    let member = |name: &str| event["objectRef"][name].as_str().unwrap_or_default();
    let subresource = if member("subresource").is_empty() { String::new() } else { format!("/{}", member("subresource")) };
    let (verb, resource) = (event["verb"].as_str().unwrap_or_default(), member("resource"));
    format!("{verb} {resource}{subresource} {}/{}", member("namespace"), member("name"))
}
