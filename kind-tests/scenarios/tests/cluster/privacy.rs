//! Nothing that leaves the Pod towards Core carries a client address.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::dig::{Answer, TOOLS, dig};
use tapir_scenarios::objects::{is_injected, is_ready, name, text};
use tapir_scenarios::record::{bytes_of, find};
use tapir_scenarios::scene::Scene;
use tapir_scenarios::{core, wait};

const BELOW: &str = "from-edge.looptest.dnstapir.se";

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
    let forms = Forms::of_v4(client);
    for (index, label) in forms.texts.iter().enumerate() {
        dig(&server, &format!("{label}.x{index}.{BELOW}"))?;
    }
    for (index, octets) in forms.octets.iter().enumerate() {
        dig(&server, &format!("{}.z{index}.{BELOW}", escaped(octets)))?;
    }
    let marker = format!("marker-{}.{BELOW}", scene.namespace);
    assert!(matches!(dig(&server, &marker)?, Answer::Records(_)));
    nothing_of(&forms, &marker)?;
    scene.passed()
}

/// The cluster's Pods have no IPv6 network, but each has `::1`: there the resolver is asked by a client in its own Pod.
#[test]
fn nor_the_address_of_a_client_that_asked_over_ipv6() -> Result<()> {
    let _guard = crate::shared();
    let scene = Scene::new("privacy6")?;
    scene.credentials()?;
    let listens = |manifest: String| {
        manifest.replace(
            "    interface: 0.0.0.0\n",
            "    interface: 0.0.0.0\n        interface: ::0\n        access-control: ::0/0 allow\n",
        )
    };
    scene.apply_changed_example(listens)?;
    scene.wait_ready()?;
    scene.wait_condition("CoreConnected", "True", None)?;
    let deployment = cluster().get(&scene.namespace, &["deployment", "unbound"])?.context("the example's Deployment")?;
    let mut pod = deployment["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"] = json!({"name": "with-client", "labels": {"dnstapir.se/edge": "demo"}});
    let mut client = json!({"name": "client", "image": cluster().image("tools")?, "command": ["/bin/sleep", "infinity"]});
    client["securityContext"] = pod["spec"]["containers"][0]["securityContext"].clone();
    pod["spec"]["containers"].as_array_mut().context("containers")?.push(client);
    scene.apply_json(&pod)?;
    wait::until_true("the resolver with a client beside it", Duration::from_secs(60), || {
        Ok(scene.pods()?.iter().any(|pod| name(pod) == "with-client" && is_ready(pod) && is_injected(pod)))
    })?;
    let run = |command: &[&str]| scene.kubectl(&[&["exec", "with-client", "--container", "client", "--"], command].concat());
    // The name may begin like an option.
    let ask = |name: &str| run(&["dig", "+tries=1", "+time=2", "@::1", "-t", "A", "-q", name]);
    let forms = Forms::of_v6(Ipv6Addr::LOCALHOST);
    for (index, label) in forms.texts.iter().enumerate() {
        ask(&format!("{label}.y{index}.{BELOW}"))?;
    }
    for (index, octets) in forms.octets.iter().enumerate() {
        ask(&format!("{}.z{index}.{BELOW}", escaped(octets)))?;
    }
    let marker = format!("marker-{}.{BELOW}", scene.namespace);
    let answer = ask(&marker)?;
    ensure!(answer.contains("192.0.2.80"), "{answer}");
    nothing_of(&forms, &marker)?;
    scene.passed()
}

/// Once the marker has arrived, what was asked before it would have, too.
fn nothing_of(forms: &Forms, marker: &str) -> Result<()> {
    let sent = || Ok(core::dump()?.iter().any(|entry| bytes_of(entry).iter().any(|bytes| find(bytes, marker.as_bytes()))));
    wait::until_true("the marker at Core", Duration::from_secs(20), sent)?;
    for entry in core::dump()? {
        let found = forms.found_in(&entry);
        ensure!(found.is_none(), "a client address left the Pod as {:?} in {entry}", found.unwrap_or_default());
    }
    Ok(())
}

/// Ways to write an address, in text and in octets.
struct Forms {
    /// Also asked for as labels of names. Found in upper and lower case.
    texts: Vec<String>,
    octets: Vec<Vec<u8>>,
}

impl Forms {
    fn of_v4(address: Ipv4Addr) -> Self {
        let mapped = address.to_ipv6_mapped();
        let [a, b, c, d] = address.octets();
        let [high, low] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        let mut reversed = address.octets();
        reversed.reverse();
        let number = u32::from(address);
        let texts = vec![
            format!("{a}.{b}.{c}.{d}"),
            format!("{d}.{c}.{b}.{a}"),
            format!("{a}-{b}-{c}-{d}"),
            format!("{d}-{c}-{b}-{a}"),
            format!("{a:03}{b:03}{c:03}{d:03}"),
            format!("{number:08x}"),
            format!("{:08x}", number.swap_bytes()),
            format!("{number}"),
            format!("{}", number.swap_bytes()),
            format!("{mapped}"),
            format!("::ffff:{high:x}:{low:x}"),
            format!("0-0-0-0-0-ffff-{high:x}-{low:x}"),
        ];
        Self { texts, octets: vec![address.octets().to_vec(), reversed.to_vec(), mapped.octets().to_vec()] }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let groups = address.segments();
        let join = |separator: &str, digits: usize| groups.map(|group| format!("{group:0digits$x}")).join(separator);
        let nibbles: Vec<String> = join("", 4).chars().map(String::from).collect();
        let texts = vec![
            address.to_string(),
            address.to_string().replace(':', "-"),
            join(":", 1),
            join(":", 4),
            join("-", 1),
            join("-", 4),
            join("", 4),
            nibbles.join("."),
            nibbles.iter().rev().cloned().collect::<Vec<_>>().join("."),
        ];
        let mut reversed = address.octets();
        reversed.reverse();
        Self { texts, octets: vec![address.octets().to_vec(), reversed.to_vec()] }
    }

    fn found_in(&self, entry: &Value) -> Option<String> {
        bytes_of(entry).iter().find_map(|bytes| {
            let lower = bytes.to_ascii_lowercase();
            let text = self.texts.iter().find(|text| find(&lower, text.as_bytes())).cloned();
            let raw = |octets: &&Vec<u8>| find(bytes, octets) || find(bytes, presentation(octets).as_bytes());
            text.or_else(|| self.octets.iter().find(raw).map(|octets| format!("octets {octets:?}")))
        })
    }
}

/// Octets in the presentation of a name (RFC 1035 section 5.1).
fn escaped(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!(r"\{octet:03}")).collect()
}

/// The same, with the backslashes as JSON has them.
fn presentation(octets: &[u8]) -> String {
    escaped(octets).replace('\\', r"\\")
}

#[test]
fn the_search_finds_an_address_in_each_encoding() {
    let forms = Forms::of_v4(Ipv4Addr::new(198, 18, 3, 77));
    for entry in [
        json!({"body": "eyJwYXlsb2FkIjoiZXlKeElqb2lNVGs0TGpFNExqTXVOemNpZlEifQ", "why": "text inside a JWS payload inside a body"}),
        json!({"binary": "xhIDTQAAAAA="}),
        json!({"nothing else in the base64": "xhIDTQ=="}),
        json!({"reversed": "AABNAxLGAA=="}),
        json!({"headers": [["x-client", "198.18.3.77"]]}),
        json!({"user_properties": [["C612034D", ""]]}),
        json!({"number": 3_323_069_261_u32}),
        json!({"number as a text": "q3323069261x"}),
        json!({"mapped": "::ffff:198.18.3.77"}),
        json!({"mapped": "::FFFF:C612:34D"}),
        json!({"mapped": "AAAAAAAAAAAAAP//xhIDTQ=="}),
        json!({"name": r"a.\198\018\003\077.se"}),
    ] {
        assert!(forms.found_in(&entry).is_some(), "{entry}");
    }
    assert_eq!(forms.found_in(&json!({"at": "198.18.3.7", "number": 3_323_069_260_u32, "binary": "xhIDTAAAAAA="})), None);
    let forms = Forms::of_v6("fe80::a00:27ff:fe4e:66a1".parse().unwrap());
    for text in ["FE80::a00:27ff:fe4e:66a1", "fe80-0000-0000-0000-0a00-27ff-fe4e-66a1", "1.a.6.6.e.4.e.f.f.f.7.2.0.0.a.0.0.0.0.0"]
    {
        assert!(forms.found_in(&json!({"name": format!("x.{text}.0.0.0.0.0.0.0.0.0.8.e.f.y")})).is_some(), "{text}");
    }
}
