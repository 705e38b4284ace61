//! What every cluster has on top of its control plane: cluster DNS.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::sealed::SERVICE_OF_CLUSTER_DNS;
use crate::images::{self, Image};
use crate::progress::feed;

/// Answers for names of the cluster only; there is nobody to forward to, and saying so at once keeps clients from waiting.
const CLUSTER_DNS: &str = include_str!("cluster_dns.yaml");

pub(crate) fn apply(kubectl: &mut Command, images: &[Image]) -> Result<()> {
    let manifest = images::with_references(&CLUSTER_DNS.replace("CLUSTER_DNS_ADDRESS", SERVICE_OF_CLUSTER_DNS), images);
    feed(kubectl.args(["apply", "--filename", "-"]), &manifest).map(|_| ()).context("applying cluster DNS")
}
