//! Identities that come from elsewhere: an installation on a virtual machine, a backup. The same node, and no second enrolment.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use tapir_harness::progress::{feed, output};
use tapir_rig::client::{CONFIG_MAPS, EDGES, EVENTS, SECRETS, decoded, text};
use tapir_rig::{Core, PATIENCE, Rig, Signal, Site, wait};
use tapir_wire::certificate::TlsKey;
use tapir_wire::enrolment::{Credentials, enrolment_request};
use tapir_wire::jwk::DataKey;

use crate::enrolled::{EDGE, enrolled};

const OPERATIONS: &str = include_str!("../../../../docs/operations.md");
/// What the guide has a backup keep of a Secret.
const KEPT: [&str; 4] = ["name", "namespace", "labels", "annotations"];

/// Enrols a node as the client on a virtual machine does; gives its files.
fn enrolled_elsewhere(core: &Core, node: &str) -> Result<Value> {
    let credentials = Credentials::parse(&core.create_node(node)?)?;
    let (data, tls) = (DataKey::generate(&credentials.name)?, TlsKey::generate()?);
    let request = enrolment_request(&credentials, &data, &tls.csr(&credentials.name)?, Timestamp::now(), None)?;
    let answer = core.call(node, "enroll", request)?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text);
    let mut key: Value = serde_json::from_str(&data.to_jwk())?;
    key["iss"] = json!(core.url());
    let certificate = answer.json()["x509_certificate"].clone();
    Ok(json!({"datakey-priv.json": key.to_string(), "tls.key": tls.pem().as_str(), "tls.crt": certificate}))
}

#[test]
fn a_node_of_a_virtual_machine_becomes_an_edge() -> Result<()> {
    let site = Site::new(Rig::shared()?, "from-a-machine", &[])?;
    let core = site.core(&[])?;
    let _operator = site.operator("operator-0", &[])?;
    let node = site.node("machine");
    let files = enrolled_elsewhere(&core, &node)?;
    let secret = json!({"metadata": {"name": "machine"}, "stringData": files});
    let secret = site.admin().create(SECRETS, &site.namespace, &secret)?;
    site.policy()?;
    let mut edge = site.edge_manifest(EDGE);
    edge["spec"]["enrollment"] = json!({"existingIdentitySecretRef": {"name": "machine"}});
    site.admin().create(EDGES, &site.namespace, &edge)?;
    let edge = site.wait_condition(EDGE, "Enrolled", "True", None)?;
    wait::until_true("the pending Secret to go", PATIENCE, || Ok(site.secret("demo-pending")?.is_none()))?;
    assert_eq!(edge["metadata"]["annotations"]["dnstapir.se/node"], node.as_str());
    assert_eq!((core.calls(&node, "enroll")?, core.calls(&node, "renew")?), (vec![Some(200)], vec![Some(200)]));
    assert_eq!(core.nodes()?, [node.as_str()]);
    let identity = site.secret("demo-identity")?.context("the identity")?;
    let (old, new): (Value, Value) = (
        serde_json::from_str(&text(&files["datakey-priv.json"]))?,
        serde_json::from_slice(&decoded(&identity["data"]["datakey.jwk"])?)?,
    );
    assert_eq!((&old["d"], &old["kid"]), (&new["d"], &new["kid"]), "the data key is the node");
    assert_ne!(identity["data"]["tls.key"], secret["data"]["tls.key"], "a TLS key of its own");
    assert_eq!(site.secret("machine")?, Some(secret), "what was taken over is left as it is");
    wait::until_true("an Event", PATIENCE, || {
        let events = site.admin().list(EVENTS, &site.namespace)?;
        Ok(events.iter().any(|event| event["reason"] == "IdentityAdopted"))
    })?;
    site.passed()
}

/// An enrolled edge, its backup as the guide has it made, and how it was.
struct BackedUp<'rig> {
    site: Site<'rig>,
    core: Core,
    node: String,
    identities: String,
    edges: String,
    injection: Value,
}

impl BackedUp<'_> {
    fn new(name: &str) -> Result<Self> {
        let injection = |status: &Value| Some(status["injection"].clone()).filter(Value::is_object);
        let (site, core, node, injection) = enrolled(name, "what new Pods get", injection)?;
        let mut backed_up = Self { site, core, node, identities: String::new(), edges: String::new(), injection };
        backed_up.back_up()?;
        Ok(backed_up)
    }

    fn kubectl(&self) -> Result<Command> {
        let mut kubectl = self.site.rig().kubectl()?;
        kubectl.args(["-n", &self.site.namespace]);
        Ok(kubectl)
    }

    /// With the commands of docs/operations.md; what jq does there is done here.
    fn back_up(&mut self) -> Result<()> {
        const GET: &str = "get secrets --selector app.kubernetes.io/managed-by=tapir-operator --output json";
        let filter = format!("jq '.items[].metadata |= {{{}}}'", KEPT.join(", "));
        for words in [GET, &filter, "kubectl create --filename", "kubectl replace --filename"] {
            ensure!(OPERATIONS.contains(words), "the guide no longer says {words:?}: have this test do what it says");
        }
        let mut list: Value = serde_json::from_str(&output(self.kubectl()?.args(GET.split(' ')))?)?;
        for secret in list["items"].as_array_mut().context("items")? {
            secret["metadata"].as_object_mut().context("metadata")?.retain(|name, _| KEPT.contains(&name.as_str()));
        }
        self.identities = list.to_string();
        // What backup tools do: no status, and nothing of this cluster.
        let mut list: Value = serde_json::from_str(&output(self.kubectl()?.args(["get", "tapiredges", "--output", "json"]))?)?;
        for edge in list["items"].as_array_mut().context("items")? {
            edge.as_object_mut().context("an edge")?.remove("status");
            edge["metadata"].as_object_mut().context("metadata")?.retain(|name, _| KEPT.contains(&name.as_str()));
        }
        self.edges = list.to_string();
        Ok(())
    }

    fn put_back(&self, verb: &str, objects: &str) -> Result<()> {
        feed(self.kubectl()?.args([verb, "--filename", "-"]), objects).map(|_| ())
    }

    /// As in a new cluster: nothing that the operator or the user made of the edge is there.
    fn lose_all(&self) -> Result<()> {
        let (api, namespace) = (self.site.admin(), &self.site.namespace);
        for (kind, name) in [(EDGES, EDGE), (SECRETS, "demo-identity")] {
            api.delete(kind, namespace, name)?;
            api.merge(kind, namespace, name, &json!({"metadata": {"finalizers": null}}))?;
            ensure!(api.get(kind, namespace, name)?.is_none(), "{name} is gone");
        }
        for map in ["demo-edm", "demo-pop"] {
            api.delete(CONFIG_MAPS, namespace, map)?;
        }
        Ok(())
    }

    /// The edge is the node that it was, as if nothing had been.
    fn is_back(&self) -> Result<()> {
        let kept: Value = serde_json::from_str(&self.identities)?;
        self.site.wait_condition(EDGE, "Enrolled", "True", None)?;
        wait::until_true("what new Pods get", PATIENCE, || Ok(self.site.edge(EDGE)?["status"]["injection"] == self.injection))?;
        wait::until_true("the identity to be protected", PATIENCE, || {
            let identity = self.site.secret("demo-identity")?.context("the identity")?;
            ensure!(identity["data"] == kept["items"][0]["data"], "it is the one of the backup");
            Ok(identity["metadata"]["finalizers"] == json!(["dnstapir.se/identity"]))
        })?;
        assert_eq!(self.site.edge(EDGE)?["status"]["node"]["name"], self.node.as_str());
        assert_eq!(self.core.calls(&self.node, "enroll")?, [Some(200)], "enrolled once, and never again");
        assert_eq!((self.core.calls(&self.node, "renew")?.len(), self.core.nodes()?), (0, vec![self.node.clone()]));
        Ok(())
    }
}

#[test]
fn a_backup_brings_the_same_node_back() -> Result<()> {
    let edge = BackedUp::new("backup")?;
    edge.lose_all()?;
    let _operator = edge.site.operator("operator-0", &[])?;
    edge.put_back("create", &edge.identities)?;
    edge.put_back("create", &edge.edges)?;
    edge.is_back()?;
    edge.site.passed()
}

/// The order that the guide warns of.
#[test]
fn an_edge_that_is_restored_before_its_identity_waits_for_it() -> Result<()> {
    let edge = BackedUp::new("backup-late")?;
    edge.lose_all()?;
    let _operator = edge.site.operator("operator-0", &[])?;
    edge.put_back("create", &edge.edges)?;
    edge.site.wait_condition(EDGE, "Enrolled", "False", Some("IdentityLost"))?;
    edge.put_back("create", &edge.identities)?;
    edge.is_back()?;
    edge.site.passed()
}

#[test]
fn a_damaged_identity_is_replaced_by_its_backup() -> Result<()> {
    let edge = BackedUp::new("backup-damaged")?;
    let _operator = edge.site.operator("operator-0", &[])?;
    let damage = json!({"stringData": {"datakey.jwk": "{}"}});
    edge.site.admin().merge(SECRETS, &edge.site.namespace, "demo-identity", &damage)?;
    edge.site.wait_condition(EDGE, "Enrolled", "False", Some("IdentityInvalid"))?;
    edge.put_back("replace", &edge.identities)?;
    edge.is_back()?;
    edge.site.passed()
}

#[test]
fn a_status_that_was_dropped_is_made_again() -> Result<()> {
    let edge = BackedUp::new("backup-status")?;
    let operator = edge.site.operator("operator-0", &[])?;
    wait::until_true("it to be ready", PATIENCE, || Ok(operator.page("/readyz")?.status == 200))?;
    let none = json!({"status": null});
    edge.site.admin().merge(EDGES, &edge.site.namespace, &format!("{EDGE}/status"), &none)?;
    edge.is_back()?;
    edge.site.passed()
}

/// Core's keys changed and somebody asked to look, and no operator ran: the next one need not wait for its turn to look.
#[test]
fn what_was_asked_for_while_no_operator_ran_is_done_at_its_start() -> Result<()> {
    let edge = BackedUp::new("asked-before")?;
    let keys = || -> Result<String> {
        let identity = edge.site.secret("demo-identity")?.context("the identity")?;
        Ok(String::from_utf8_lossy(&decoded(&identity["data"]["trusted-jwks.json"])?).into_owned())
    };
    for value in ["1", "2"] {
        let kid = format!("core-{value}");
        edge.core.rotate_keys(&kid)?;
        let asked = json!({"metadata": {"annotations": {"dnstapir.se/reconcile-now": value}}});
        edge.site.admin().merge(EDGES, &edge.site.namespace, EDGE, &asked)?;
        let operator = edge.site.operator("operator-0", &[])?;
        wait::until_true("the key that Core lists", PATIENCE, || Ok(keys()?.contains(&kid)))?;
        wait::until_true("the status to say that it was done", PATIENCE, || {
            Ok(edge.site.edge(EDGE)?["status"]["handled"]["reconcileNow"] == value)
        })?;
        operator.signal(Signal::SIGTERM)?;
        operator.exit_code(PATIENCE)?;
    }
    let _operator = edge.site.operator("operator-0", &[])?;
    edge.site.passed()
}
