//! Nothing that leaves the Pod towards Core carries a client address.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::dig::{Answer, TOOLS, dig};
use tapir_scenarios::objects::text;
use tapir_scenarios::record::{bytes_of, find};
use tapir_scenarios::scene::Scene;
use tapir_scenarios::{core, wait};

#[test]
fn what_core_recorded_contains_no_client_address_in_any_form() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::ready("privacy")?;
    scene.wait_condition("CoreConnected", "True", None)?;
    let (namespace, pod) = TOOLS;
    let client = cluster().get(namespace, &["pod", pod])?.context("the tools Pod")?;
    let client: Ipv4Addr = text(&client["status"]["podIP"]).parse()?;
    // The query must reach the resolver from the client's own address, else the test proves nothing: ask the Pod, not the Service.
    let server = text(&scene.pods()?[0]["status"]["podIP"]);
    let forms = address_forms(client);
    for (index, form) in forms.iter().enumerate().filter(|(_, form)| form.is_ascii() && !form.contains(&b':')) {
        let label = String::from_utf8_lossy(form);
        dig(&server, &format!("{label}.x{index}.from-edge.looptest.dnstapir.se"))?;
    }
    let marker = format!("marker-{}.from-edge.looptest.dnstapir.se", scene.namespace);
    assert!(matches!(dig(&server, &marker)?, Answer::Records(_)));
    let sent = || Ok(core::dump()?.iter().any(|entry| bytes_of(entry).iter().any(|bytes| find(bytes, marker.as_bytes()))));
    wait::until_true("the marker at Core", Duration::from_secs(20), sent)?;
    for entry in core::dump()? {
        for bytes in bytes_of(&entry) {
            for form in &forms {
                assert!(!find(&bytes, form), "the client address left the Pod as {:?} in {entry}", String::from_utf8_lossy(form));
            }
        }
    }
    scene.passed()
}

fn address_forms(address: Ipv4Addr) -> Vec<Vec<u8>> {
    let [a, b, c, d] = address.octets();
    let hexadecimal = format!("{a:02x}{b:02x}{c:02x}{d:02x}");
    let mut forms: Vec<Vec<u8>> = [
        format!("{a}.{b}.{c}.{d}"),
        format!("{d}.{c}.{b}.{a}"),
        format!("{a}-{b}-{c}-{d}"),
        format!("{d}-{c}-{b}-{a}"),
        hexadecimal.clone(),
        hexadecimal.to_uppercase(),
        format!("::ffff:{a}.{b}.{c}.{d}"),
    ]
    .map(String::into_bytes)
    .to_vec();
    forms.push(address.octets().to_vec());
    forms
}

#[test]
fn the_search_finds_an_address_in_each_encoding() {
    let address = Ipv4Addr::new(198, 18, 3, 77);
    let entry = serde_json::json!({"body": "eyJwYXlsb2FkIjoiZXlKeElqb2lNVGs0TGpFNExqTXVOemNpZlEifQ", "binary": "xhIDTQAAAAA="});
    let forms = address_forms(address);
    let all = bytes_of(&entry);
    assert!(all.iter().any(|bytes| find(bytes, &forms[0])), "text inside a JWS payload inside a body");
    assert!(all.iter().any(|bytes| find(bytes, &address.octets())), "binary inside base64");
}
