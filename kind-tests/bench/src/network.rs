//! A network of the bench's own, in which every address of a test network (RFC 2544, 198.18.0.0/15) is this machine: thousands of Pods have
//! addresses that answer, and none of it can be seen from outside. Loopback addresses would not do: EndpointSlices refuse them.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Addresses of Pods.
const PODS: &str = "198.18.0.0/16";
const INSIDE: &str = "TAPIR_BENCH_INSIDE";

/// Begins this program again in a network of its own, unless it is there already.
pub(crate) fn enter() -> Result<()> {
    if std::env::var_os(INSIDE).is_none() {
        let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        let program = std::env::current_exe().context("finding this program")?;
        let error = Command::new("unshare").args(["--net", "--"]).arg(program).args(arguments).env(INSIDE, "yes").exec();
        bail!("a network namespace is needed, and `unshare --net` (util-linux, as root) could not be started: {error}");
    }
    for arguments in [vec!["link", "set", "lo", "up"], vec!["route", "add", "local", PODS, "dev", "lo"]] {
        let status = Command::new("ip").args(&arguments).status().context("starting ip (package iproute2)")?;
        if !status.success() {
            bail!("ip {}: {status}", arguments.join(" "));
        }
    }
    Ok(())
}
