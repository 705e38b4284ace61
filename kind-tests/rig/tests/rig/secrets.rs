//! Errors name what is wrong and never show a key: the end of each test here searches all that people may read.

use anyhow::Result;
use serde_json::{Value, json};
use tapir_rig::client::{EDGES, SECRETS, condition};
use tapir_rig::{PATIENCE, Rig, Site, wait};

const PUBLIC: &str = "UFVCTElDLVBVQkxJQy1QVUJMSUMtUFVCTElDLVBVQkxJQw";
/// Recognised anywhere, by whole and by part.
const CANARY: &str = "Q0FOQVJZLUNBTkFSWS1DQU5BUlktQ0FOQVJZLUNBTkFSWQ";

#[test]
fn credentials_that_cannot_be_used_are_not_quoted() -> Result<()> {
    let site = Site::new(Rig::shared()?, "canary", &[])?;
    let core = site.core(&[])?;
    let operator = site.operator("operator-0", &[("TAPIR_LOG", "debug")])?;
    site.policy()?;
    let url = core.url();
    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "1", "alg": "EdDSA", "x": PUBLIC, "d": CANARY});
    let good = json!({"name": site.node("unknown"), "key": key, "nodeman_url": url});
    let with = |change: fn(&mut Value)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad.to_string()
    };
    let cases = [
        // Core does not know such a node.
        ("unknown", with(|_| {})),
        ("broken", good.to_string()[..good.to_string().len() - 20].to_owned()),
        ("text", format!("the key is {CANARY}")),
        ("short", with(|bad| bad["key"]["d"] = CANARY[..20].into())),
        ("symmetric", with(|bad| bad["key"] = json!({"kty": "oct", "alg": "HS256", "k": format!("{CANARY}!")}))),
        ("odd-url", with(|bad| bad["nodeman_url"] = format!("https://user:{CANARY}@").into())),
        ("no-object", json!([CANARY]).to_string()),
    ];
    for (edge, credentials) in &cases {
        let secret = json!({"metadata": {"name": format!("{edge}-enrollment")}, "stringData": {"credentials.json": credentials}});
        site.admin().create(SECRETS, &site.namespace, &secret)?;
        site.admin().create(EDGES, &site.namespace, &site.edge_manifest(edge))?;
    }
    for (edge, _) in &cases {
        let said =
            wait::until("a verdict", PATIENCE, || Ok(condition(&site.edge(edge)?, "Enrolled").filter(|said| said.0 == "False")))?;
        assert!(!format!("{said:?}").contains(&CANARY[..20]), "{edge}: {said:?}");
    }
    let everything = format!("{}{}", operator.log(), operator.metrics()?);
    assert!(!everything.contains(&CANARY[..20]));
    site.passed()
}

#[test]
fn a_core_that_misbehaves_makes_nobody_show_a_key() -> Result<()> {
    let site = Site::new(Rig::shared()?, "misbehaving", &[])?;
    let core = site.core(&[])?;
    let _operator = site.operator("operator-0", &[("TAPIR_LOG", "debug")])?;
    for fault in ["refuse", "nonsense", "lose-answer"] {
        let node = site.node(fault);
        core.fault_of(&node, fault)?;
        site.new_edge(&core, fault)?;
        wait::until_true("the call that fails", PATIENCE, || Ok(!core.calls(&node, "enroll")?.is_empty()))?;
        site.wait_condition(fault, "Enrolled", "False", None)?;
    }
    site.passed()
}
