//! What one test has for itself on an API server that it may share: a release of the chart, a namespace that it serves, a Core.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::client::{Api, CONFIG_MAPS, DEPLOYMENTS, EDGES, LEASES, POLICIES, SECRETS, WEBHOOKS, condition, text};
use crate::core::Core;
use crate::operator::Operator;
use crate::processes::{Process, free_port};
use crate::server::Rig;
use crate::{audit, chart, programs, secrets, wait};

/// Longer than anything here should take on two busy cores, so that only what never comes fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Group of a test that acts as the operator; the check of the operator's rights knows it too. No role is bound to it.
const BY_A_TEST: &str = "rig:test";
/// Group of an operator whose settings a test made wider than its rights; the check of the operator's rights knows it too. No role is bound to it.
const BEYOND_ITS_RIGHTS: &str = "rig:beyond-its-rights";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// One test's surroundings. Its folder stays, and is named, unless [`Site::passed`] is called.
#[derive(Debug)]
pub struct Site<'rig> {
    rig: &'rig Rig,
    /// The namespace that the operator serves.
    pub namespace: String,
    /// The namespace that the operator runs in.
    pub system: String,
    /// Name of the release, and of its ServiceAccount.
    pub release: String,
    folder: PathBuf,
    /// The chart's Deployment as it was last installed: replicas are started while the API server is away, too.
    deployment: Mutex<Value>,
    /// Where operators that were started serve their pages.
    replicas: Mutex<Vec<String>>,
    passed: bool,
}

impl<'rig> Site<'rig> {
    /// Installs the chart with these values; no operator runs yet.
    pub fn new(rig: &'rig Rig, test: &str, values: &[(&str, &str)]) -> Result<Self> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("{test}-{number}");
        let site = Self {
            rig,
            system: format!("{namespace}-system"),
            // Short: the chart cuts what would be too long for names made of it.
            release: format!("tapir-operator-{number}"),
            folder: rig.folder().join(&namespace),
            namespace,
            deployment: Mutex::default(),
            replicas: Mutex::default(),
            passed: false,
        };
        fs::create_dir_all(&site.folder).with_context(|| format!("creating {}", site.folder.display()))?;
        rig.namespace(&site.namespace)?;
        rig.namespace(&site.system)?;
        site.chart(values)?;
        Ok(site)
    }

    /// Installs the chart again, with other values.
    pub fn chart(&self, values: &[(&str, &str)]) -> Result<()> {
        let served = format!("{{{}}}", self.namespace);
        let mut all = Vec::new();
        if !values.iter().any(|(name, _)| matches!(*name, "watchNamespaces" | "clusterWide")) {
            all.push(("watchNamespaces", served.as_str()));
        }
        all.extend(values);
        chart::install(self.rig, "tapir-operator", &self.release, &self.system, &all)?;
        let deployment = self.admin().read(DEPLOYMENTS, &self.system, &self.release)?;
        *self.deployment.lock().unwrap_or_else(PoisonError::into_inner) = deployment;
        Ok(())
    }

    pub fn rig(&self) -> &'rig Rig {
        self.rig
    }

    /// The API server with all rights.
    pub fn admin(&self) -> &'rig Api {
        self.rig.admin()
    }

    /// Logs of this test's processes.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The user that the operator is to the API server.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.system, self.release)
    }

    fn groups(&self) -> [String; 2] {
        ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{}", self.system)]
    }

    /// The API server with the operator's rights, for tests of these. What they do is no use that the operator makes of its rights: a group
    /// tells it apart in the audit log.
    pub fn as_operator(&self) -> Result<Api> {
        let [all_accounts, accounts] = self.groups();
        self.rig.client_as(&self.user(), &[&all_accounts, &accounts, BY_A_TEST])
    }

    /// What the operator asked of the API server so far.
    pub fn audit(&self) -> Result<Vec<Value>> {
        let user = self.user();
        let is_its = |event: &Value| event["user"]["username"] == user.as_str() && !has_group(event, BY_A_TEST);
        Ok(self.rig.audit()?.into_iter().filter(is_its).collect())
    }

    /// The same for one replica: each has a group of its own in its certificate.
    pub fn audit_of(&self, pod: &str) -> Result<Vec<Value>> {
        let group = replica_group(pod);
        let is_its =
            |event: &Value| event["user"]["groups"].as_array().is_some_and(|groups| groups.contains(&group.as_str().into()));
        Ok(self.audit()?.into_iter().filter(is_its).collect())
    }

    /// What the operator wrote so far, each described; the Lease and Events are left out.
    pub fn writes(&self) -> Result<Vec<String>> {
        let counts =
            |event: &Value| audit::writes(event) && !matches!(event["objectRef"]["resource"].as_str(), Some("leases" | "events"));
        Ok(self.audit()?.iter().filter(|event| counts(event)).map(audit::describe).collect())
    }

    /// Starts a Core and makes its CA known in the served namespace (ConfigMap `core-ca`).
    pub fn core(&self, arguments: &[&str]) -> Result<Core> {
        let core = Core::start(&self.folder, arguments)?;
        let object = json!({"metadata": {"name": "core-ca"}, "data": {"ca.crt": core.ca()}});
        if self.admin().get(CONFIG_MAPS, &self.namespace, "core-ca")?.is_none() {
            self.admin().create(CONFIG_MAPS, &self.namespace, &object)?;
        }
        Ok(core)
    }

    /// Lets the API server find the webhook by an address, as there is no kube-proxy. Gives where it is to listen; its name is `localhost`.
    ///
    /// # Errors
    /// When the chart was not installed with `injection.mode=Webhook`.
    pub fn webhook_without_service(&self) -> Result<String> {
        let (port, name) = (free_port(), format!("{}-webhook", self.release));
        let mut configuration = self.admin().read(WEBHOOKS, "", &name)?;
        configuration["webhooks"][0]["clientConfig"] = json!({"url": format!("https://localhost:{port}/mutate")});
        self.admin().replace(WEBHOOKS, "", &configuration)?;
        Ok(format!("127.0.0.1:{port}"))
    }

    /// Starts a replica with the environment that the chart's Deployment gives it; `environment` adds to that or replaces it. A second
    /// start under the same Pod name is a restart of its container: it holds the Lease still.
    pub fn operator(&self, pod: &str, environment: &[(&str, &str)]) -> Result<Operator> {
        self.start(pod, environment, &[])
    }

    /// The same with settings that ask for more than the chart grants: what it is denied is no surprise.
    pub fn operator_beyond_its_rights(&self, pod: &str, environment: &[(&str, &str)]) -> Result<Operator> {
        self.start(pod, environment, &[BEYOND_ITS_RIGHTS])
    }

    fn start(&self, pod: &str, environment: &[(&str, &str)], groups: &[&str]) -> Result<Operator> {
        let deployment = self.deployment.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let given = container["env"].as_array().into_iter().flatten();
        let mut all: BTreeMap<String, String> =
            given.filter_map(|entry| Some((text(&entry["name"]), entry["value"].as_str()?.to_owned()))).collect();
        let [all_accounts, accounts] = self.groups();
        let replica = replica_group(pod);
        let groups = [&[all_accounts.as_str(), &accounts, &replica], groups].concat();
        let kubeconfig = self.folder.join(format!("{pod}.kubeconfig"));
        let access = self.rig.kubeconfig_as(&self.user(), &groups)?;
        fs::write(&kubeconfig, access).with_context(|| format!("writing {}", kubeconfig.display()))?;
        let [listen, webhook] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        for (name, value) in [
            ("POD_NAME", pod),
            ("POD_NAMESPACE", &self.system),
            ("HTTP_LISTEN", &listen),
            ("WEBHOOK_LISTEN", &webhook),
            ("KUBECONFIG", &kubeconfig.to_string_lossy()),
        ] {
            all.insert(name.to_owned(), value.to_owned());
        }
        all.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let command = container["command"].as_array().into_iter().flatten().map(text);
        let environment: Vec<(String, String)> = all.into_iter().collect();
        let process =
            Process::start(&self.folder, pod, &programs::operator()?, &command.skip(1).collect::<Vec<_>>(), &environment)?;
        let address = format!("http://{listen}");
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner).push(address.clone());
        Ok(Operator { process, address, webhook: format!("https://{webhook}") })
    }

    /// Name of an edge's node in Core.
    pub fn node(&self, edge: &str) -> String {
        format!("{edge}.{}.edge.tapir.test", self.namespace)
    }

    /// Makes the edge's node in Core and puts the credentials into Secret `<edge>-enrollment`; gives the node's name.
    pub fn credentials(&self, core: &Core, edge: &str) -> Result<String> {
        let node = self.node(edge);
        let credentials = core.create_node(&node)?;
        let secret = json!({"metadata": {"name": format!("{edge}-enrollment")}, "stringData": {"credentials.json": credentials}});
        self.admin().create(SECRETS, &self.namespace, &secret)?;
        Ok(node)
    }

    /// A TapirEdge that enrols with `<edge>-enrollment` at the Core of this site.
    pub fn edge_manifest(&self, edge: &str) -> Value {
        json!({
            "apiVersion": "dnstapir.se/v1alpha1",
            "kind": "TapirEdge",
            "metadata": {"name": edge, "namespace": self.namespace},
            "spec": {
                "enrollment": {"credentialsSecretRef": {"name": format!("{edge}-enrollment")}},
                "core": {"caBundle": {"configMapRef": {"name": "core-ca", "key": "ca.crt"}}},
                "resolver": {"container": "unbound"},
                "pop": {"policyRef": {"name": "default"}},
            },
        })
    }

    /// Policy `default`, unless it is there.
    pub fn policy(&self) -> Result<()> {
        if self.admin().get(POLICIES, &self.namespace, "default")?.is_none() {
            self.admin().create(POLICIES, &self.namespace, &policy_manifest("default"))?;
        }
        Ok(())
    }

    /// Node, credentials, policy and edge: all that a user does. Gives the node's name.
    pub fn new_edge(&self, core: &Core, edge: &str) -> Result<String> {
        let node = self.credentials(core, edge)?;
        self.edge_with_credentials(edge)?;
        Ok(node)
    }

    /// Policy and edge, when its credentials are there.
    pub fn edge_with_credentials(&self, edge: &str) -> Result<()> {
        self.policy()?;
        self.admin().create(EDGES, &self.namespace, &self.edge_manifest(edge)).map(|_| ())
    }

    /// The edge.
    pub fn edge(&self, edge: &str) -> Result<Value> {
        self.admin().read(EDGES, &self.namespace, edge)
    }

    /// A Secret in the served namespace.
    pub fn secret(&self, name: &str) -> Result<Option<Value>> {
        self.admin().get(SECRETS, &self.namespace, name)
    }

    /// Waits for a condition of an edge, and for its reason when one is given; gives the edge.
    pub fn wait_condition(&self, edge: &str, kind: &str, status: &str, reason: Option<&str>) -> Result<Value> {
        let mut last = Value::Null;
        let what = format!("{kind}={status} {} of edge {edge}", reason.unwrap_or_default());
        wait::until(&what, PATIENCE, || {
            let object = self.edge(edge)?;
            last = object["status"]["conditions"].clone();
            let holds =
                condition(&object, kind).is_some_and(|(is, why, _)| is == status && reason.is_none_or(|reason| reason == why));
            Ok(holds.then_some(object))
        })
        .with_context(|| format!("last conditions: {last}; logs in {}", self.folder.display()))
    }

    /// Has the present term of the leader's Lease end soon, as if its holder had asked for a short one: nobody waits half a minute.
    pub fn shorten_term(&self) -> Result<()> {
        let patch = json!({"spec": {"leaseDurationSeconds": 2}});
        self.admin().merge(LEASES, &self.system, &self.release, &patch).map(|_| ())
    }

    /// Who leads, by the Lease.
    pub fn leader(&self) -> Result<String> {
        let lease = self.admin().get(LEASES, &self.system, &self.release)?.unwrap_or_default();
        Ok(text(&lease["spec"]["holderIdentity"]))
    }

    pub(crate) fn replicas(&self) -> Vec<String> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The test held, and nothing of what the operator logged, served or wrote shows anything private: then nothing is kept. Without this
    /// call everything counts as failed. Call it while the operators run, so that their metrics are searched too.
    pub fn passed(mut self) -> Result<()> {
        secrets::nothing_is_shown(&self)?;
        self.passed = true;
        Ok(())
    }
}

fn has_group(event: &Value, group: &str) -> bool {
    event["user"]["groups"].as_array().is_some_and(|groups| groups.iter().any(|one| one == group))
}

/// No role is bound to it.
fn replica_group(pod: &str) -> String {
    format!("rig:replica:{pod}")
}

/// A policy that anything goes with.
pub fn policy_manifest(name: &str) -> Value {
    json!({
        "apiVersion": "dnstapir.se/v1alpha1",
        "kind": "TapirPolicy",
        "metadata": {"name": name},
        "spec": {
            "sources": [{"name": "own-deny", "list": "Deny", "inline": {"names": ["denied.example.se"]}}],
            "deny": {"action": "NXDOMAIN"},
        },
    })
}

impl Drop for Site<'_> {
    #[expect(clippy::print_stderr, reason = "a person who reads the failed test must find the folder")]
    fn drop(&mut self) {
        if self.passed {
            // Whoever cannot remove it could not have made it.
            let _ = fs::remove_dir_all(&self.folder);
        } else {
            eprintln!("logs of the failed test: {}; of its API server: {}", self.folder.display(), self.rig.folder().display());
        }
    }
}
