//! A fleet whose certificates end together: Core is asked as fast as it may be and no faster, and nobody's certificate ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tapir_rig::client::{EDGES, SECRETS, text};
use tapir_rig::{Core, Options, Rig, Site, Version, wait};
use tapir_wire::certificate::TlsKey;
use tapir_wire::enrolment::{Credentials, enrolment_request};
use tapir_wire::jwk::DataKey;
use tapir_wire::node::{CA_CERTIFICATE, CRYPTOPAN_KEY, DATA_KEY, NODE_DOCUMENT, TLS_CERTIFICATE, TLS_KEY, TRUSTED_KEYS};

const FLEET: usize = 1000;
/// Seconds. Of certificates that are renewed from a fifth of it on, so that all are due when the operator comes back from a long absence.
const LIFETIME: u64 = 900;
/// What the chart says, and what the operator makes of it at once.
const PER_SECOND: usize = 10;
const AT_ONCE: usize = 2 * PER_SECOND;
/// Renewals under way, of two calls each: what was let through and is late.
const UNDER_WAY: usize = 16;
/// Long before the certificates end.
const PATIENCE: Duration = Duration::from_secs(600);
const MAKERS: usize = 8;

/// An enrolled edge, as it stands after an enrolment long ago.
fn enrolled(site: &Site<'_>, core: &Core, edge: &str) -> Result<()> {
    let node = site.node(edge);
    let credentials = Credentials::parse(&core.create_node(&node)?)?;
    let (data, tls) = (DataKey::generate(&credentials.name)?, TlsKey::generate()?);
    let request = enrolment_request(&credentials, &data, &tls.csr(&credentials.name)?, Timestamp::now(), None)?;
    let answer = core.call(&node, "enroll", request)?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text);
    let answer = answer.json();
    let document = json!({"format": 1, "name": node, "mqtt_broker": answer["mqtt_broker"], "mqtt_topics": answer["mqtt_topics"],
        "nodeman_url": answer["nodeman_url"], "aggrec_url": answer["aggrec_url"]});
    let secret = json!({
        "type": "kubernetes.io/tls",
        "metadata": {
            "name": format!("{edge}-identity"),
            "labels": {"app.kubernetes.io/managed-by": "tapir-operator", "dnstapir.se/edge": edge},
            "annotations": {"dnstapir.se/node": node, "dnstapir.se/nodeman-url": core.url()},
            "finalizers": ["dnstapir.se/identity"],
        },
        "stringData": {
            TLS_CERTIFICATE: answer["x509_certificate"], TLS_KEY: tls.pem().as_str(), CA_CERTIFICATE: answer["x509_ca_certificate"],
            DATA_KEY: data.to_jwk().as_str(), TRUSTED_KEYS: answer["trusted_jwks"].to_string(), NODE_DOCUMENT: document.to_string(),
            CRYPTOPAN_KEY: "unused in this test, and as long as it needs to be",
        },
    });
    site.admin().create(SECRETS, &site.namespace, &secret)?;
    let mut manifest = site.edge_manifest(edge);
    manifest["metadata"]["annotations"] = json!({"dnstapir.se/node": node});
    manifest["metadata"]["finalizers"] = json!(["dnstapir.se/offboard"]);
    manifest["spec"]["certificate"] = json!({"renewAt": "20%"});
    manifest["spec"]["pop"] = json!({"enabled": false});
    site.admin().create(EDGES, &site.namespace, &manifest).map(|_| ())
}

fn fleet(site: &Site<'_>, core: &Core) -> Result<()> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let makers: Vec<_> = (0..MAKERS)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= FLEET {
                            return Ok(());
                        }
                        enrolled(site, core, &format!("edge-{number}"))?;
                    }
                })
            })
            .collect();
        makers.into_iter().try_for_each(|maker| maker.join().expect("a maker"))
    })
}

/// When an edge asked nodeman, the node, the action, and the answer.
type Call = (Timestamp, String, String, Option<u64>);

fn calls(core: &Core) -> Result<Vec<Call>> {
    let of_a_node = |entry: &Value| {
        let target = text(&entry["target"]);
        let (node, action) = target.strip_prefix("/api/v1/node/")?.split_once('/')?;
        Some((node.to_owned(), action.to_owned()))
    };
    let mut calls = Vec::new();
    for entry in core.dump()? {
        if let Some((node, action)) = of_a_node(&entry) {
            calls.push((text(&entry["at"]).parse().context("a time")?, node, action, entry["status"].as_u64()));
        }
    }
    calls.sort();
    Ok(calls)
}

/// The most calls in any stretch of this length.
fn busiest(times: &[Timestamp], stretch: SignedDuration) -> usize {
    let until = |begin: &Timestamp| times.partition_point(|time| time.duration_since(*begin) <= stretch);
    times.iter().enumerate().map(|(at, begin)| until(begin) - at).max().unwrap_or_default()
}

#[test]
#[ignore = "takes some minutes: a thousand renewals at ten calls a second"]
fn a_thousand_certificates_that_end_together_are_renewed_within_the_limit_and_in_time() -> Result<()> {
    let rig = Rig::start("storm", Version::V1_36, Options::default())?;
    let site = Site::new(&rig, "storm", &[("core.requestsPerSecond", &PER_SECOND.to_string())])?;
    let core = site.core(&["--certificate-lifetime", &LIFETIME.to_string(), "--record-bytes", "400000000"])?;
    fleet(&site, &core)?;
    let enrolments = calls(&core)?;
    ensure!(enrolments.len() == FLEET, "{} enrolments", enrolments.len());
    let end = enrolments[0].0 + SignedDuration::from_secs(LIFETIME.cast_signed());
    // Those that come now last long enough not to be renewed in this test again.
    core.certificate_lifetime(86_400, None)?;

    let operator = site.operator("operator-0", &[("TAPIR_LOG", "info")])?;
    let renewed = |metrics: &str| {
        let line = metrics.lines().find(|line| line.contains("core_requests_total{endpoint=\"renew\",outcome=\"Success\"}"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default()
    };
    wait::until_true("all to be renewed", PATIENCE, || Ok(renewed(&operator.metrics()?) >= FLEET as f64))?;

    let all = calls(&core)?;
    let asked: Vec<_> = all.iter().filter(|(_, _, action, _)| action != "enroll").collect();
    let times: Vec<Timestamp> = asked.iter().map(|(at, ..)| *at).collect();
    for seconds in [1, 10, 60] {
        let (most, allowed) =
            (busiest(&times, SignedDuration::from_secs(seconds as i64)), AT_ONCE + PER_SECOND * seconds + UNDER_WAY);
        assert!(most <= allowed, "{most} calls in {seconds} s, and {allowed} are allowed");
    }
    let mut renewals: BTreeMap<&str, Vec<(Timestamp, Option<u64>)>> = BTreeMap::new();
    for (at, node, action, status) in &asked {
        assert_eq!(*status, Some(200), "{action} of {node}");
        if action == "renew" {
            renewals.entry(node).or_default().push((*at, *status));
        }
    }
    assert_eq!(renewals.len(), FLEET);
    assert!(renewals.values().all(|of_one| of_one.len() == 1), "each once");
    let last = renewals.values().map(|of_one| of_one[0].0).max().context("none")?;
    assert!(last < end, "the last was renewed at {last}, and the first certificate ended at {end}");
    // What Core issued is what the edges have, and none was ever said to have ended.
    wait::until_true("the last write", tapir_rig::PATIENCE, || {
        let secrets = site.admin().list(SECRETS, &site.namespace)?;
        let new = |secret: &&Value| secret["metadata"]["annotations"]["dnstapir.se/renewed-at"].is_string();
        Ok(secrets.iter().filter(new).count() == FLEET)
    })?;
    assert!(!operator.log().contains("Expired"), "a certificate ended");
    site.passed()
}
