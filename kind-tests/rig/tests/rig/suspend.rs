//! `spec.suspend`: Core hears nothing, and nothing is written but status and finalizers.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tapir_rig::client::{CONFIG_MAPS, EDGES, SECRETS, condition};
use tapir_rig::{PATIENCE, Rig, Site, wait};

/// Several rounds of every controller.
const A_WHILE: Duration = Duration::from_secs(5);

/// Neither of these changes anything but how an edge is shown, or that it is held.
fn is_allowed(write: &str) -> bool {
    write.starts_with("patch tapiredges/status ") || write.starts_with("patch tapirpolicies/status ")
}

#[test]
fn a_suspended_edge_is_looked_at_and_nothing_else() -> Result<()> {
    let site = Site::new(Rig::shared()?, "suspended", &[])?;
    let core = site.core(&[])?;
    let _operator = site.operator("operator-0", &[])?;
    let node = site.new_edge(&core, "demo")?;
    site.wait_condition("demo", "Enrolled", "True", None)?;
    wait::until_true("the pending Secret to go", PATIENCE, || Ok(site.secret("demo-pending")?.is_none()))?;

    let spec = |patch| site.admin().merge(EDGES, &site.namespace, "demo", &patch);
    let generation = spec(json!({"spec": {"suspend": true}}))?["metadata"]["generation"].clone();
    wait::until_true("the suspension to be seen", PATIENCE, || {
        Ok(site.edge("demo")?["status"]["observedGeneration"] == generation)
    })?;
    let (writes_before, calls_before) = (site.writes()?.len(), core.dump()?.len());
    // All that would make it act: other configuration, a rendered object gone, a wish for a renewal, Core's keys changed.
    core.rotate_keys("core-2027")?;
    site.admin().delete(CONFIG_MAPS, &site.namespace, "demo-edm")?;
    site.admin().delete(SECRETS, &site.namespace, "demo-identity")?;
    spec(json!({
        "metadata": {"annotations": {"dnstapir.se/renew-now": "1", "dnstapir.se/reconcile-now": "1"}},
        "spec": {"pop": {"zone": "other."}},
    }))?;
    wait::holds("nothing but the status is written", A_WHILE, || {
        Ok(site.writes()?.iter().skip(writes_before).all(|write| is_allowed(write)) && core.dump()?.len() == calls_before)
    })?;
    // What was deleted is held, and comes back with all the rest.
    assert!(site.secret("demo-identity")?.is_some(), "the finalizer holds the identity");
    spec(json!({"spec": {"suspend": false}}))?;
    wait::until_true("all to be done", PATIENCE, || {
        let identity = site.secret("demo-identity")?.unwrap_or_default();
        let has_map = site.admin().get(CONFIG_MAPS, &site.namespace, "demo-edm")?.is_some();
        let renewed = core.calls(&node, "renew")? == [Some(200)];
        Ok(identity["metadata"]["deletionTimestamp"].is_null() && identity["data"].is_object() && has_map && renewed)
    })?;
    site.passed()
}

/// Credentials may come later, or a person wants to look first.
#[test]
fn an_edge_that_begins_suspended_is_not_enrolled() -> Result<()> {
    let site = Site::new(Rig::shared()?, "begins-suspended", &[])?;
    let core = site.core(&[])?;
    let _operator = site.operator("operator-0", &[])?;
    let node = site.credentials(&core, "demo")?;
    site.policy()?;
    let mut edge = site.edge_manifest("demo");
    edge["spec"]["suspend"] = true.into();
    site.admin().create(EDGES, &site.namespace, &edge)?;
    site.wait_condition("demo", "Ready", "False", Some("Suspended"))?;
    wait::holds("nothing is written", A_WHILE, || {
        let writes = site.writes()?;
        Ok(writes.iter().all(|write| is_allowed(write) || write.starts_with("patch tapiredges ")))
    })?;
    assert!(core.calls(&node, "enroll")?.is_empty());
    site.admin().merge(EDGES, &site.namespace, "demo", &json!({"spec": {"suspend": false}}))?;
    site.wait_condition("demo", "Enrolled", "True", None)?;
    site.passed()
}

/// Deleted while it is suspended: it waits and says so, and goes as any other when the suspension ends.
#[test]
fn a_suspended_edge_that_is_deleted_waits() -> Result<()> {
    let site = Site::new(Rig::shared()?, "suspended-deleted", &[])?;
    let core = site.core(&[])?;
    let _operator = site.operator("operator-0", &[])?;
    site.new_edge(&core, "demo")?;
    site.wait_condition("demo", "Enrolled", "True", None)?;
    wait::until_true("the pending Secret to go", PATIENCE, || Ok(site.secret("demo-pending")?.is_none()))?;
    let suspend = |suspend: bool| site.admin().merge(EDGES, &site.namespace, "demo", &json!({"spec": {"suspend": suspend}}));
    suspend(true)?;
    site.wait_condition("demo", "Ready", "False", Some("Suspended"))?;
    let (writes_before, calls_before) = (site.writes()?.len(), core.dump()?.len());
    site.admin().delete(EDGES, &site.namespace, "demo")?;
    wait::until_true("it to say why it is there still", PATIENCE, || {
        Ok(condition(&site.edge("demo")?, "Ready").is_some_and(|(_, _, message)| message.contains("offboarding waits")))
    })?;
    wait::holds("nothing but the status is written", A_WHILE, || {
        Ok(site.writes()?.iter().skip(writes_before).all(|write| is_allowed(write)) && core.dump()?.len() == calls_before)
    })?;
    suspend(false)?;
    wait::until_true("it to go", PATIENCE, || Ok(site.admin().get(EDGES, &site.namespace, "demo")?.is_none()))?;
    assert!(site.secret("demo-identity")?.is_some(), "its identity is kept");
    site.passed()
}
