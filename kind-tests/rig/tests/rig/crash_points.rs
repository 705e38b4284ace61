//! The operator ends at the worst moment of what follows enrolment: renewal, a deleted identity, takeover, another node, offboarding. The next
//! process finishes the work: one node, one identity, no lost key, and nothing twice at Core that Core would not give twice for free.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tapir_rig::client::{CONFIG_MAPS, EDGES, SECRETS, WEBHOOKS, decoded, text};
use tapir_rig::{Core, PATIENCE, Rig, Signal, Site, wait};

use crate::crashes::FAILPOINT;
use crate::enrolled::{EDGE, enrolled};

/// Exit code of an operator that lost the Lease.
const LEASE_LOST: i32 = 3;

/// An enrolled edge whose operator has ended in order.
struct Enrolled<'rig> {
    site: Site<'rig>,
    core: Core,
    node: String,
    identity: Value,
    /// Of its certificate, as the status tells it.
    serial: Value,
}

impl Enrolled<'_> {
    fn new(name: &str) -> Result<Self> {
        let serial = |status: &Value| Some(status["node"]["certificate"]["serial"].clone()).filter(Value::is_string);
        let (site, core, node, serial) = enrolled(name, "the certificate in the status", serial)?;
        let identity = site.secret("demo-identity")?.context("the identity")?;
        Ok(Self { site, core, node, identity, serial })
    }

    /// Does something that brings the operator to the failpoint, and has the next one go on from there until it is `settled`.
    fn crashes_at(
        self,
        point: &str,
        disturb: impl Fn(&Self) -> Result<()>,
        settled: impl Fn(&Self) -> Result<bool>,
    ) -> Result<()> {
        disturb(&self)?;
        self.crashes_at_while(point, |_| Ok(()), settled)
    }

    /// The same with a disturbance under the eyes of the operator.
    fn crashes_at_while(
        self,
        point: &str,
        disturb: impl Fn(&Self) -> Result<()>,
        settled: impl Fn(&Self) -> Result<bool>,
    ) -> Result<()> {
        let first = self.site.operator("operator-0", &[("TAPIR_FAILPOINT", point)])?;
        wait::until_true("it to be ready, or to be there already", PATIENCE, || {
            Ok(first.process().ended()?.is_some() || first.page("/readyz")?.status == 200)
        })?;
        disturb(&self)?;
        assert_eq!(first.exit_code(PATIENCE)?, FAILPOINT, "it ends where it was told to");
        let second = self.site.operator("operator-0", &[])?;
        wait::until_true("the next process to be ready", PATIENCE, || Ok(second.page("/readyz")?.status == 200))?;
        wait::until_true("all to be as it should", PATIENCE, || settled(&self))
            .with_context(|| format!("after {point}: logs in {}", self.site.folder().display()))?;
        self.site.passed()
    }

    fn annotate(&self, name: &str, value: &str) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {name: value}}});
        self.site.admin().merge(EDGES, &self.site.namespace, EDGE, &patch).map(|_| ())
    }

    fn member(&self, name: &str) -> Result<Value> {
        Ok(self.site.secret("demo-identity")?.unwrap_or_default()["data"][name].clone())
    }

    /// Names of Secrets that hold a data key.
    fn keys(&self) -> Result<Vec<String>> {
        let secrets = self.site.admin().list(SECRETS, &self.site.namespace)?;
        let holders = secrets.iter().filter(|secret| !secret["data"]["datakey.jwk"].is_null());
        Ok(holders.map(|secret| text(&secret["metadata"]["name"])).collect())
    }

    /// The node's key is where it belongs, and nowhere else; Core has no other node.
    fn is_whole(&self) -> Result<bool> {
        ensure!(self.core.nodes()? == [self.node.as_str()], "nodes at Core: {:?}", self.core.nodes()?);
        let same_key = self.member("datakey.jwk")? == self.identity["data"]["datakey.jwk"];
        let protected =
            self.site.secret("demo-identity")?.unwrap_or_default()["metadata"]["finalizers"] == json!(["dnstapir.se/identity"]);
        Ok(same_key && protected && self.keys()? == ["demo-identity"])
    }

    fn edge_is_gone(&self) -> Result<bool> {
        Ok(self.site.admin().get(EDGES, &self.site.namespace, EDGE)?.is_none())
    }

    fn delete_edge(&self) -> Result<()> {
        self.site.admin().delete(EDGES, &self.site.namespace, EDGE)
    }

    /// Whether a process has looked at the identity since the certificate changed, and said so.
    fn is_told(&self) -> Result<bool> {
        let edge = self.site.edge(EDGE)?;
        let serial = &edge["status"]["node"]["certificate"]["serial"];
        Ok(serial.is_string() && *serial != self.serial)
    }

    /// With key and certificate that belong together, made since.
    fn is_renewed(&self) -> Result<bool> {
        let changed = ["tls.crt", "tls.key"].map(|name| Ok(self.member(name)? != self.identity["data"][name]));
        let [certificate, key]: [bool; 2] = changed.into_iter().collect::<Result<Vec<_>>>()?.try_into().unwrap_or_default();
        ensure!(certificate == key, "certificate and key change together");
        Ok(certificate && self.is_whole()?)
    }
}

#[test]
fn renewed_at_core_and_the_answer_is_lost() -> Result<()> {
    Enrolled::new("renew-answer")?.crashes_at(
        "renew-after-answer",
        |edge| edge.annotate("dnstapir.se/renew-now", "1"),
        |edge| Ok(edge.is_renewed()? && edge.core.calls(&edge.node, "renew")? == [Some(200), Some(200)]),
    )
}

#[test]
fn renewed_and_written() -> Result<()> {
    Enrolled::new("renew-write")?.crashes_at(
        "renew-after-write",
        |edge| edge.annotate("dnstapir.se/renew-now", "1"),
        |edge| {
            ensure!(edge.core.calls(&edge.node, "renew")? == [Some(200)], "asked once, renewed once");
            Ok(edge.is_renewed()? && edge.is_told()?)
        },
    )
}

#[test]
fn core_has_new_keys_and_nothing_is_written_yet() -> Result<()> {
    let asked_again = Cell::new(false);
    Enrolled::new("refresh")?.crashes_at_while(
        "refresh-before-write",
        |edge| {
            edge.core.rotate_keys("core-2027")?;
            edge.core.withdraw_key("core-observations-ed25519")?;
            edge.annotate("dnstapir.se/reconcile-now", "1")
        },
        |edge| {
            // Else it would ask Core within five minutes.
            if !asked_again.replace(true) {
                edge.annotate("dnstapir.se/reconcile-now", "2")?;
            }
            let keys: Value = serde_json::from_slice(&decoded(&edge.member("trusted-jwks.json")?)?)?;
            let kids: BTreeSet<String> = keys["keys"].as_array().into_iter().flatten().map(|key| text(&key["kid"])).collect();
            Ok(kids == ["core-2027", "core-observations-p256"].map(str::to_owned).into() && edge.is_whole()?)
        },
    )
}

fn identity_deleted(point: &str) -> Result<()> {
    Enrolled::new(point)?.crashes_at(
        point,
        |edge| edge.site.admin().delete(SECRETS, &edge.site.namespace, "demo-identity"),
        |edge| {
            Ok(edge.is_whole()?
                && edge.site.secret("demo-identity")?.unwrap_or_default()["metadata"]["deletionTimestamp"].is_null())
        },
    )
}

#[test]
fn a_deleted_identity_is_copied() -> Result<()> {
    identity_deleted("rescue-after-copy")
}

#[test]
fn a_deleted_identity_is_gone_but_for_its_copy() -> Result<()> {
    identity_deleted("rescue-after-release")
}

#[test]
fn a_deleted_identity_is_back_and_its_copy_still_there() -> Result<()> {
    identity_deleted("rescue-after-restore")
}

/// Deleted under the default policy: the identity stays, and an edge of the same name would have it again.
fn offboarded(point: &str) -> Result<()> {
    Enrolled::new(point)?.crashes_at(point, Enrolled::delete_edge, |edge| {
        // No Pod mounts the disabled configuration, so it goes too.
        let maps = ["demo-edm", "demo-pop"].map(|name| edge.site.admin().get(CONFIG_MAPS, &edge.site.namespace, name));
        let no_map = maps.into_iter().collect::<Result<Vec<_>>>()?.iter().all(Option::is_none);
        let same_key = edge.member("datakey.jwk")? == edge.identity["data"]["datakey.jwk"];
        ensure!(same_key, "the identity is kept");
        Ok(edge.edge_is_gone()? && no_map && edge.keys()? == ["demo-identity"])
    })
}

#[test]
fn an_edge_that_goes_is_bound_to_no_pod() -> Result<()> {
    offboarded("offboard-after-unbind")
}

#[test]
fn an_edge_that_goes_is_disabled() -> Result<()> {
    offboarded("offboard-after-disable")
}

#[test]
fn an_edge_may_go_and_is_still_there() -> Result<()> {
    offboarded("offboard-before-finalizer")
}

#[test]
fn an_identity_that_is_to_be_erased_is_unprotected() -> Result<()> {
    Enrolled::new("erase")?.crashes_at(
        "erase-after-release",
        |edge| {
            let patch = json!({"spec": {"deletionPolicy": "Delete"}});
            edge.site.admin().merge(EDGES, &edge.site.namespace, EDGE, &patch)?;
            edge.delete_edge()
        },
        |edge| Ok(edge.edge_is_gone()? && edge.keys()?.is_empty()),
    )
}

/// Core removed the node; the user gave credentials of another one.
fn becomes_another_node(point: &str) -> Result<()> {
    let new = |edge: &Enrolled<'_>| edge.site.node("again");
    Enrolled::new(point)?.crashes_at(
        point,
        |edge| {
            edge.core.delete_node(&edge.node)?;
            let credentials = edge.core.create_node(&new(edge))?;
            let patch = json!({"stringData": {"credentials.json": credentials}});
            edge.site.admin().merge(SECRETS, &edge.site.namespace, "demo-enrollment", &patch)?;
            edge.annotate("dnstapir.se/reconcile-now", "1")
        },
        |edge| {
            ensure!(edge.core.nodes()? == [new(edge).as_str()], "nodes at Core: {:?}", edge.core.nodes()?);
            let key = edge.member("datakey.jwk")?;
            if key.is_null() || key == edge.identity["data"]["datakey.jwk"] {
                return Ok(false);
            }
            let key: Value = serde_json::from_slice(&decoded(&key)?)?;
            ensure!(key["kid"] == new(edge).as_str(), "the key is of the new node: {}", key["kid"]);
            let keys = edge.keys()?;
            let retired: Vec<&String> = keys.iter().filter(|name| name.starts_with("demo-identity-retired-")).collect();
            let [retired] = retired[..] else { return Ok(false) };
            let old = edge.site.secret(retired)?.unwrap_or_default();
            ensure!(old["data"]["datakey.jwk"] == edge.identity["data"]["datakey.jwk"], "the old key is kept");
            let known = edge.core.node(&new(edge))?.unwrap_or_default();
            Ok(keys.len() == 2 && known["public_key"]["x"] == key["x"])
        },
    )
}

#[test]
fn keys_of_another_node_are_stored() -> Result<()> {
    becomes_another_node("reenrol-after-pending")
}

#[test]
fn the_identity_of_a_removed_node_is_put_aside() -> Result<()> {
    becomes_another_node("reenrol-after-archive")
}

#[test]
fn the_edge_has_become_another_node() -> Result<()> {
    becomes_another_node("reenrol-after-replace")
}

/// A node that was enrolled elsewhere: its data key in a Secret, and nothing else of it.
#[test]
fn keys_of_an_older_installation_are_stored() -> Result<()> {
    Enrolled::new("adopt")?.crashes_at(
        "adopt-after-pending",
        |edge| {
            let (api, namespace) = (edge.site.admin(), &edge.site.namespace);
            // What is left when somebody carries the files of a virtual machine here.
            let old = json!({"metadata": {"name": "vm"}, "data": {"datakey-priv.json": edge.identity["data"]["datakey.jwk"]}});
            api.create(SECRETS, namespace, &old)?;
            for (kind, name) in [(EDGES, EDGE), (SECRETS, "demo-identity")] {
                api.delete(kind, namespace, name)?;
                api.merge(kind, namespace, name, &json!({"metadata": {"finalizers": null}}))?;
            }
            let mut adopting = edge.site.edge_manifest(EDGE);
            adopting["spec"]["enrollment"] = json!({"existingIdentitySecretRef": {"name": "vm", "nodemanUrl": edge.core.url()}});
            api.create(EDGES, namespace, &adopting).map(|_| ())
        },
        |edge| {
            ensure!(edge.core.calls(&edge.node, "enroll")? == [Some(200)], "enrolled by the first, and never again");
            Ok(edge.is_whole()? && edge.site.wait_condition(EDGE, "Enrolled", "True", None).is_ok())
        },
    )
}

/// Stopped with the answer of a renewal in its hands while another one takes over and renews: what the first brings home late is dropped.
#[test]
fn a_late_answer_of_a_stale_leader_is_dropped() -> Result<()> {
    let edge = Enrolled::new("stale")?;
    edge.annotate("dnstapir.se/renew-now", "1")?;
    let first = edge.site.operator("operator-0", &[("TAPIR_FAILPOINT", "renew-after-answer:stop")])?;
    wait::until_true("the first renewal", PATIENCE, || Ok(edge.core.calls(&edge.node, "renew")? == [Some(200)]))?;
    first.wait_for_log("stopping at a failpoint", PATIENCE)?;
    edge.site.shorten_term()?;
    let _second = edge.site.operator("operator-1", &[])?;
    wait::until_true("the second renewal to be written", PATIENCE, || edge.is_renewed())?;
    let certificate = edge.member("tls.crt")?;
    first.signal(Signal::SIGCONT)?;
    assert_eq!(first.exit_code(PATIENCE)?, LEASE_LOST);
    assert_eq!(edge.member("tls.crt")?, certificate, "the certificate of the one that leads");
    assert!(edge.is_renewed()?);
    edge.site.passed()
}

/// The webhook's certificates: in the end the API server trusts the authority of the certificate that is served.
fn webhook(point: &str) -> Result<()> {
    let site = Site::new(Rig::shared()?, point, &[("injection.mode", "Webhook")])?;
    let first = site.operator("operator-0", &[("TAPIR_FAILPOINT", point)])?;
    assert_eq!(first.exit_code(PATIENCE)?, FAILPOINT, "it ends where it was told to");
    let second = site.operator("operator-0", &[])?;
    let name = format!("{}-webhook", site.release);
    wait::until_true("bundle and certificate", PATIENCE, || {
        let secret = site.admin().read(SECRETS, &site.system, &name)?;
        let configuration = site.admin().read(WEBHOOKS, "", &name)?;
        let bundle = &configuration["webhooks"][0]["clientConfig"]["caBundle"];
        Ok(bundle.is_string() && *bundle == secret["data"]["ca.crt"] && secret["data"]["tls.crt"].is_string())
    })?;
    wait::until_true("it to be ready", PATIENCE, || Ok(second.page("/readyz")?.status == 200))?;
    site.passed()
}

#[test]
fn the_webhooks_certificates_are_stored() -> Result<()> {
    webhook("webhook-after-secret")
}

#[test]
fn the_api_server_knows_the_webhooks_new_authority() -> Result<()> {
    webhook("webhook-after-bundle")
}

#[test]
fn every_failpoint_has_its_test() -> Result<()> {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = fs::read_to_string(here.join("../../operator/src/failpoint.rs")).context("reading the failpoints")?;
    let (_, points) = source.split_once("pub enum Failpoint {").context("the failpoints")?;
    let (points, _) = points.split_once("\n}").context("their end")?;
    let mut points: BTreeSet<String> = points.lines().filter_map(|line| line.trim().strip_suffix(',')).map(kebab).collect();
    assert!(points.len() > 3, "{points:?}");
    let tests = [include_str!("crashes.rs"), include_str!("crash_points.rs"), include_str!("rollout.rs")].concat();
    // In quotes: a comment is no test.
    points.retain(|point| !tests.contains(&format!("\"{point}\"")));
    assert!(points.is_empty(), "{points:?}");
    Ok(())
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(character.to_ascii_lowercase());
    }
    kebab
}
