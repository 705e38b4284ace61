//! How many connections to the API server the operator holds.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context as _, Result};
use tapir_rig::{Operator, PATIENCE, Rig, Site, wait};

/// Beside those of watches: the lease, Events, and requests that go on side by side.
const OTHERS: usize = 8;
const ESTABLISHED: &str = "01";

/// Connections of a process to a port of this machine (proc(5), /proc/PID/net/tcp).
fn connections(operator: &Operator, port: u16) -> Result<usize> {
    let process = format!("/proc/{}", operator.process().pid());
    let mut sockets = HashSet::new();
    for descriptor in fs::read_dir(format!("{process}/fd")).context("listing descriptors")? {
        let target = descriptor.ok().and_then(|descriptor| fs::read_link(descriptor.path()).ok()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        sockets.extend(target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')).map(str::to_owned));
    }
    let table = fs::read_to_string(format!("{process}/net/tcp")).context("reading the table of connections")?;
    let remote = format!(":{port:04X}");
    let ours = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        matches!(fields.as_slice(), [_, _, to, state, _, _, _, _, _, inode, ..]
            if to.ends_with(&remote) && *state == ESTABLISHED && sockets.contains(*inode))
    };
    Ok(table.lines().skip(1).filter(ours).count())
}

/// Ten watches of each namespace go over one connection.
#[test]
fn watches_of_a_namespace_share_a_connection() -> Result<()> {
    let rig = Rig::shared()?;
    let port = rig.address().rsplit(':').next().context("the API server's port")?.parse()?;
    let site = Site::new(rig, "connections", &[])?;
    let operator = site.operator("operator-0", &[])?;
    operator.wait_leading(PATIENCE)?;
    wait::until_true("it to be ready", PATIENCE, || Ok(operator.page("/readyz").is_ok_and(|page| page.status == 200)))?;
    let found = connections(&operator, port)?;
    assert!((2..=1 + OTHERS).contains(&found), "{found} connections");
    site.passed()
}
