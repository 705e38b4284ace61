//! What a user did, out of audit logs (audit.k8s.io/v1, one JSON object a line).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Right;

/// ServiceAccount of the operator as the chart names it, or the beginning of it.
const ACCOUNT: &str = "tapir-operator";

/// Group of a test that acts as the operator, on an API server of its own: no use that the operator makes of its rights.
const BY_A_TEST: &str = "rig:test";

/// Group of an operator whose settings a test made wider than its rights.
const BEYOND_ITS_RIGHTS: &str = "rig:beyond-its-rights";

/// HTTP status of an object that was made by the request.
const CREATED: u16 = 201;

/// Everything that was used, and everything that was refused for want of a right.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(crate) rights: BTreeSet<Right>,
    pub(crate) denied: BTreeSet<String>,
}

impl Used {
    /// Adds what operators did by one log.
    pub(crate) fn read(&mut self, log: &Path) -> Result<()> {
        let file = File::open(log).with_context(|| format!("opening the audit log {}", log.display()))?;
        for line in BufReader::new(file).lines() {
            let line = line.with_context(|| format!("reading {}", log.display()))?;
            // Most lines are of others: not worth parsing.
            if line.contains(ACCOUNT) {
                // The last line of a server that was killed may be cut off.
                if let Ok(event) = serde_json::from_str::<Value>(&line) {
                    self.add(&event);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, event: &Value) {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let Some(release) = text("/user/username").strip_prefix("system:serviceaccount:").and_then(|user| user.split_once(':'))
        else {
            return;
        };
        let groups = event.pointer("/user/groups").and_then(Value::as_array);
        let is_in = |group: &str| groups.is_some_and(|groups| groups.iter().any(|found| found == group));
        if !release.1.starts_with(ACCOUNT) || text("/objectRef/resource").is_empty() || is_in(BY_A_TEST) {
            return;
        }
        let resource = match text("/objectRef/subresource") {
            "" => format!("{}/{}", text("/objectRef/apiGroup"), text("/objectRef/resource")),
            sub => format!("{}/{}/{sub}", text("/objectRef/apiGroup"), text("/objectRef/resource")),
        };
        let verb = text("/verb").to_owned();
        let annotations = event.get("annotations");
        let annotation = |name: &str| annotations.and_then(|all| all.get(name)).and_then(Value::as_str).unwrap_or_default();
        match annotation("authorization.k8s.io/decision") {
            "allow" => {
                if let Some(role) = role(annotation("authorization.k8s.io/reason")) {
                    // Tests have releases of their own, whose roles are called after them.
                    let role = role.replacen(release.1, ACCOUNT, 1);
                    // A patch that applies what is not there needs the right to create it too, which the log does not tell of.
                    let created = verb == "patch" && event.pointer("/responseStatus/code") == Some(&CREATED.into());
                    let verbs = [Some(verb), created.then(|| "create".to_owned())];
                    let right = |verb| Right { role: role.clone(), resource: resource.clone(), verb };
                    self.rights.extend(verbs.into_iter().flatten().map(right));
                }
            }
            _ if is_in(BEYOND_ITS_RIGHTS) => {}
            _ => {
                let namespace = text("/objectRef/namespace");
                self.denied.insert(format!("{verb} {resource} in {namespace}"));
            }
        }
    }
}

/// `RBAC: allowed by RoleBinding "a/b" of Role "c" to ServiceAccount "d/e"` names the role behind `of`.
fn role(reason: &str) -> Option<String> {
    let (_, of) = reason.split_once(" of ")?;
    let (name, _) = of.split_once('"')?.1.split_once('"')?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const USER: &str = "system:serviceaccount:test-1-system:tapir-operator-test-1";

    fn event(decision: &str, subresource: Option<&str>) -> Value {
        json!({
            "verb": "patch",
            "user": {"username": USER},
            "objectRef": {"apiGroup": "dnstapir.se", "resource": "tapiredges", "namespace": "dns", "subresource": subresource},
            "annotations": {
                "authorization.k8s.io/decision": decision,
                "authorization.k8s.io/reason": "RBAC: allowed by RoleBinding \"tapir-operator-test-1-leader/dns\" of Role \"tapir-operator-test-1-leader\" to ServiceAccount \"tapir-operator-test-1/test-1-system\"",
            },
        })
    }

    #[test]
    fn an_event_tells_role_resource_and_verb() {
        let mut used = Used::default();
        used.add(&event("allow", Some("status")));
        used.add(&event("forbid", None));
        let mut foreign = event("allow", None);
        foreign["user"]["username"] = "somebody else".into();
        used.add(&foreign);
        let mut posing = event("allow", Some("scale"));
        posing["user"]["groups"] = json!(["system:serviceaccounts", "rig:test"]);
        used.add(&posing);
        let mut bold = event("forbid", Some("scale"));
        bold["user"]["groups"] = json!(["system:serviceaccounts", "rig:beyond-its-rights"]);
        used.add(&bold);
        let mut created = event("allow", Some("status"));
        created["responseStatus"] = json!({"code": 201});
        let right = |verb: &str| Right {
            role: "tapir-operator-leader".into(),
            resource: "dnstapir.se/tapiredges/status".into(),
            verb: verb.into(),
        };
        assert_eq!(used.rights, BTreeSet::from([right("patch")]));
        used.add(&created);
        assert_eq!(used.rights, BTreeSet::from([right("create"), right("patch")]));
        assert_eq!(used.denied, BTreeSet::from(["patch dnstapir.se/tapiredges in dns".to_owned()]));
    }
}
