//! `/readyz` says what is missing, by names that tell an administrator where to look; `/livez` says only that the process lives.

use std::time::Duration;

use anyhow::Result;
use tapir_rig::client::SECRETS;
use tapir_rig::{Operator, Options, PATIENCE, Rig, Signal, Site, Version, wait};

/// What is missing, each by its name, once that stays the same.
fn wait_missing(operator: &Operator, expected: &[&str]) -> Result<()> {
    let text = format!("waiting for: {}\n", expected.join(", "));
    let mut last = String::new();
    let found = wait::until_true("the right things to be missing", PATIENCE, || {
        let page = operator.page("/readyz")?;
        last = page.text;
        Ok(page.status == 503 && last == text)
    });
    found.map_err(|error| error.context(format!("expected {text:?}, last {last:?}")))
}

#[test]
fn without_an_api_server_the_lease_is_missing() -> Result<()> {
    let rig = Rig::start("ready", Version::V1_36, Options::default())?;
    let site = Site::new(&rig, "ready", &[])?;
    rig.stop_api_server()?;
    let operator = site.operator("operator-0", &[])?;
    wait::until_true("its pages", PATIENCE, || Ok(operator.page("/livez").is_ok_and(|page| page.status == 200)))?;
    wait_missing(&operator, &["leader's lease"])?;
    wait::holds("it lives", Duration::from_secs(5), || Ok(operator.page("/livez")?.status == 200))?;
    rig.start_api_server()?;
    wait::until_true("it to be ready", PATIENCE, || Ok(operator.page("/readyz")?.status == 200))?;
    site.passed()
}

/// A namespace that nothing may be read in is named with each of its watches; the others are not.
#[test]
fn each_watch_that_fails_is_named() -> Result<()> {
    let site = Site::new(Rig::shared()?, "half-blind", &[])?;
    let both = format!("{},{}", site.namespace, site.system);
    let operator = site.operator_beyond_its_rights("operator-0", &[("WATCH_NAMESPACES", &both)])?;
    operator.wait_leading(PATIENCE)?;
    let kinds = ["ConfigMaps", "EndpointSlices", "Pods", "Secrets", "edges", "namespaces", "policies"];
    let expected = kinds.map(|kind| format!("{kind} of namespace {}", site.system));
    wait_missing(&operator, &expected.each_ref().map(String::as_str))?;
    assert_eq!(operator.page("/livez")?.status, 200);
    site.passed()
}

/// Whoever has no certificate cannot answer the API server, and must not be asked.
#[test]
fn a_webhook_without_a_certificate_is_not_ready() -> Result<()> {
    let site = Site::new(Rig::shared()?, "no-certificate", &[("injection.mode", "Webhook")])?;
    // As with cert-manager, before that has issued it.
    let operator = site.operator("operator-0", &[("WEBHOOK_CERTIFICATE", "CertManager")])?;
    operator.wait_leading(PATIENCE)?;
    wait_missing(&operator, &["webhook certificate"])?;
    assert_eq!(operator.page("/livez")?.status, 200);
    // The other replica makes its own, and then both have it.
    drop(operator);
    let operator = site.operator("operator-0", &[])?;
    wait::until_true("it to be ready", PATIENCE, || Ok(operator.page("/readyz").is_ok_and(|page| page.status == 200)))?;
    site.passed()
}

/// A Deployment takes the leader of before away only when its successor is ready, and that leader never makes a certificate.
#[test]
fn a_webhook_is_ready_beside_a_leader_of_a_release_that_had_none() -> Result<()> {
    let site = Site::new(Rig::shared()?, "no-webhook-before", &[("injection.mode", "Webhook")])?;
    let before =
        site.operator_beyond_its_rights("operator-0", &[("INJECTION", "Policy"), ("ADMISSION_POLICY_NAME", "before")])?;
    before.wait_leading(PATIENCE)?;
    let operator = site.operator("operator-1", &[])?;
    let is_ready = || Ok(operator.page("/readyz").is_ok_and(|page| page.status == 200));
    wait::until_true("the other one to be ready beside it", PATIENCE, is_ready)?;
    before.signal(Signal::SIGTERM)?;
    before.exit_code(PATIENCE)?;
    operator.wait_leading(PATIENCE)?;
    let secret = format!("{}-webhook", site.release);
    wait::until_true("it to make its certificate", PATIENCE, || {
        Ok(site.admin().read(SECRETS, &site.system, &secret)?["data"]["tls.crt"].is_string())
    })?;
    wait::until_true("it to be ready with it", PATIENCE, is_ready)?;
    site.passed()
}
