//! What every cluster has on top of its control plane: cluster DNS.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::sealed::SERVICE_OF_CLUSTER_DNS;
use crate::images::{self, Image};

/// Answers for names of the cluster only; there is nobody to forward to, and saying so at once keeps clients from waiting.
const CLUSTER_DNS: &str = include_str!("cluster_dns.yaml");

pub(crate) fn apply(kubectl: &mut Command, images: &[Image]) -> Result<()> {
    let manifest = images::with_references(&CLUSTER_DNS.replace("CLUSTER_DNS_ADDRESS", SERVICE_OF_CLUSTER_DNS), images);
    apply_text(kubectl, &manifest).context("applying cluster DNS")
}

/// `kubectl apply` of a text.
pub(crate) fn apply_text(kubectl: &mut Command, manifest: &str) -> Result<()> {
    let mut child = kubectl
        .args(["apply", "--filename", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting kubectl")?;
    // Dropped at the end of the statement, which ends the input.
    child.stdin.take().context("kubectl has no standard input")?.write_all(manifest.as_bytes()).context("writing to kubectl")?;
    let output = child.wait_with_output().context("waiting for kubectl")?;
    if !output.status.success() {
        bail!("kubectl apply: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
