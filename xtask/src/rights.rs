//! Every right that the chart grants the operator was used by it during the tests, and it never asked for one that it lacks. What was used
//! stands in the API servers' audit logs, what is granted in the cluster's own roles.

mod audit;
mod grants;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tapir_harness::cluster::Cluster;
use tapir_harness::paths;
use tapir_harness::progress::{self, say};

use audit::Used;

/// Who is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) namespace: &'static str,
    pub(crate) name: &'static str,
}

impl Subject {
    /// The operator as demo and tests install it.
    pub(crate) const OPERATOR: Self = Self { namespace: "tapir-system", name: "tapir-operator" };
}

/// One verb on one resource, granted by one role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    /// Its name. By the chart's values the same rules stand in a Role of each namespace that is served or in one ClusterRole.
    pub(crate) role: String,
    /// `group/resource[/subresource]`.
    pub(crate) resource: String,
    pub(crate) verb: String,
}

impl std::fmt::Display for Right {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {} by {}", self.verb, self.resource, self.role)
    }
}

/// Compares what is granted in `cluster` with what `logs` show.
pub(crate) fn check(cluster: &Cluster, subject: &Subject, logs: &[PathBuf]) -> Result<()> {
    let mut kubectl = cluster.kubectl();
    kubectl.args(["get", "roles,rolebindings,clusterroles,clusterrolebindings", "--all-namespaces", "--output=json"]);
    let objects: Value = serde_json::from_str(&progress::output(&mut kubectl)?).context("reading roles and bindings")?;
    let granted = grants::of(&objects, subject);
    if granted.is_empty() {
        bail!("no role is bound to ServiceAccount {}/{}", subject.namespace, subject.name);
    }
    let mut used = Used::default();
    for log in logs {
        used.read(log)?;
    }
    let findings = findings(&granted, &used);
    if findings.is_empty() {
        say(&format!("    {} rights are granted, and each was used", granted.len()));
        return Ok(());
    }
    bail!("rights and use differ:\n{}", findings.join("\n"))
}

/// Audit logs of the cluster and of the API servers that tests ran without one.
pub(crate) fn logs(cluster: &Cluster) -> Result<Vec<PathBuf>> {
    let mut logs = vec![cluster.audit_log()];
    let rigs = paths::target().join("rig/audit");
    if rigs.exists() {
        for log in fs::read_dir(&rigs).with_context(|| format!("reading {}", rigs.display()))? {
            logs.push(log.with_context(|| format!("reading {}", rigs.display()))?.path());
        }
    }
    Ok(logs)
}

fn findings(granted: &BTreeSet<Right>, used: &Used) -> Vec<String> {
    let unused = granted.difference(&used.rights).map(|right| format!("  granted, never used: {right}"));
    let denied = used.denied.iter().map(|denied| format!("  asked for and denied: {denied}"));
    unused.chain(denied).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(verb: &str) -> Right {
        Right { role: "tapir-operator".into(), resource: "/pods".into(), verb: verb.into() }
    }

    #[test]
    fn an_unused_right_and_a_missing_one_are_findings() {
        let granted = BTreeSet::from([right("list"), right("delete")]);
        let mut used = Used { rights: BTreeSet::from([right("list")]), ..Used::default() };
        assert_eq!(findings(&granted, &used), ["  granted, never used: delete /pods by tapir-operator"]);
        used.rights.insert(right("delete"));
        assert!(findings(&granted, &used).is_empty());
        used.denied.insert("get /nodes".into());
        assert_eq!(findings(&granted, &used), ["  asked for and denied: get /nodes"]);
    }
}
