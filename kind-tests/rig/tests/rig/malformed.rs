//! Resources that the operator cannot read: from a time of other definitions, or written past them.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tapir_rig::client::{DEFINITIONS, EDGES, POLICIES, condition};
use tapir_rig::{Options, PATIENCE, Rig, Site, Version, wait};

const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";

/// One malformed edge and one malformed policy in the served namespace: all others are served, also changes that come later.
#[test]
fn a_malformed_resource_stops_neither_its_watch_nor_the_others() -> Result<()> {
    let rig = Rig::start("loose", Version::V1_36, Options::default())?;
    let site = Site::new(&rig, "malformed", &[])?;
    let core = site.core(&[])?;
    let operator = site.operator("operator-0", &[])?;
    site.new_edge(&core, "before")?;
    site.wait_condition("before", "Enrolled", "True", None)?;

    let definitions = ["tapiredges.dnstapir.se", "tapirpolicies.dnstapir.se"];
    let strict = definitions.map(|name| rig.admin().read(DEFINITIONS, "", name)).into_iter().collect::<Result<Vec<_>>>()?;
    for definition in &strict {
        let mut loose = definition.clone();
        // With what was written to it meanwhile.
        loose["metadata"] =
            json!({"name": definition["metadata"]["name"], "resourceVersion": definition["metadata"]["resourceVersion"]});
        *loose.pointer_mut(SCHEMA).context("a schema")? = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        rig.admin().replace(DEFINITIONS, "", &loose)?;
    }
    let odd = |kind: &str| {
        json!({
            "apiVersion": "dnstapir.se/v1alpha1",
            "kind": kind,
            "metadata": {"name": "odd", "finalizers": ["dnstapir.se/offboard"]},
            "spec": {"resolver": 7, "sources": "many"},
            "status": "fine",
        })
    };
    // The looser schema takes a moment to be in force.
    wait::until("the malformed resources", PATIENCE, || {
        if rig.admin().get(EDGES, &site.namespace, "odd")?.is_none() {
            rig.admin().create(EDGES, &site.namespace, &odd("TapirEdge"))?;
        }
        rig.admin().create(POLICIES, &site.namespace, &odd("TapirPolicy")).map(Some)
    })?;
    for definition in &strict {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let mut again = rig.admin().read(DEFINITIONS, "", name)?;
        *again.pointer_mut(SCHEMA).context("a schema")? = definition.pointer(SCHEMA).cloned().context("a schema")?;
        rig.admin().replace(DEFINITIONS, "", &again)?;
    }

    site.new_edge(&core, "after")?;
    site.wait_condition("after", "Enrolled", "True", None)?;
    // A change of one that was there before is seen, too.
    let generation = rig.admin().merge(EDGES, &site.namespace, "before", &json!({"spec": {"pop": {"zone": "other."}}}))?;
    let generation = &generation["metadata"]["generation"];
    wait::until_true("the change to be seen", PATIENCE, || {
        let edge = site.edge("before")?;
        Ok(&edge["status"]["observedGeneration"] == generation && condition(&edge, "Enrolled").is_some())
    })?;
    operator.process().still_runs()?;

    // Also for a fresh start, which begins with lists of everything.
    drop(operator);
    let _again = site.operator("operator-0", &[])?;
    site.new_edge(&core, "later")?;
    site.wait_condition("later", "Enrolled", "True", None)?;
    assert_ne!(
        rig.admin().read(EDGES, &site.namespace, "odd")?["spec"]["resolver"],
        Value::Null,
        "it was malformed all the time"
    );
    site.passed()
}
