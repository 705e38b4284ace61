//! Core's clock and the cluster's are an hour apart.

use std::time::Duration;

use anyhow::Result;
use tapir_rig::client::condition;
use tapir_rig::{PATIENCE, Rig, Site, wait};

/// nodeman refuses what is older than five minutes. It is said, and the keys wait until somebody has put the clock right.
#[test]
fn a_cluster_that_is_an_hour_behind_says_so_and_enrols_nobody() -> Result<()> {
    let site = Site::new(Rig::shared()?, "behind", &[])?;
    let core = site.core(&["--clock-offset", "3600"])?;
    let operator = site.operator("operator-0", &[])?;
    let node = site.new_edge(&core, "demo")?;
    wait::until("a verdict", PATIENCE, || {
        Ok(condition(&site.edge("demo")?, "Enrolled")
            .filter(|said| said.0 == "False" && said.2.contains("clock of this cluster")))
    })?;
    let metrics = operator.metrics()?;
    let skew = metrics.lines().find(|line| line.starts_with("tapir_operator_core_clock_skew_seconds")).unwrap_or_default();
    let seconds: f64 = skew.rsplit(' ').next().unwrap_or_default().parse().unwrap_or_default();
    assert!((3500.0..3700.0).contains(&seconds.abs()), "{skew:?}");
    assert!(site.secret("demo-pending")?.is_some(), "the keys are kept");
    assert!(core.calls(&node, "enroll")?.iter().all(|status| *status == Some(400)));
    site.passed()
}

/// Certificates begin in this cluster's past and last shorter than they should; they are not renewed in a loop for that.
#[test]
fn a_cluster_that_is_an_hour_ahead_enrols_once_and_does_not_renew_in_a_loop() -> Result<()> {
    let site = Site::new(Rig::shared()?, "ahead", &[])?;
    // By the cluster's clock two thirds of the lifetime are over at once.
    let core = site.core(&["--clock-offset", "-3600", "--certificate-lifetime", "5000"])?;
    let operator = site.operator("operator-0", &[])?;
    let node = site.new_edge(&core, "demo")?;
    site.wait_condition("demo", "Enrolled", "True", None)?;
    wait::holds("few renewals", Duration::from_secs(5), || Ok(core.calls(&node, "renew")?.len() <= 1))?;
    assert_eq!(core.calls(&node, "enroll")?, [Some(200)]);
    operator.process().still_runs()?;
    site.passed()
}
