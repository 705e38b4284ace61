//! Programs of the distribution that the sealed node runs on the host's kernel.
//!
//! Only tools without a daemon are installed: resolvers, name servers and brokers go into images straight from their package
//! files, so nothing on the host starts to listen because somebody ran the tests.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::paths;
use crate::progress::{Step, say};

/// A file that shows that a package is there, and the package.
const NEEDED: [(&str, &str); 8] = [
    ("runc", "runc"),
    ("ptp", "containernetworking-plugins"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
];

/// Where Debian and others put the network plug-ins.
const NETWORK_PLUGINS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

const PATHS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Those that the node's network is made of.
const PLUGINS_IN_USE: [&str; 4] = ["loopback", "ptp", "host-local", "portmap"];

/// The search path for everything that runs in the node.
pub fn search_path() -> String {
    PATHS.join(":")
}

/// The folder of the network plug-ins.
pub fn network_plugins() -> Option<&'static str> {
    NETWORK_PLUGINS.into_iter().find(|folder| PLUGINS_IN_USE.iter().all(|plugin| Path::new(folder).join(plugin).is_file()))
}

/// Installs what is missing where that is possible without asking, else says what to do.
pub fn ensure() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() || !Path::new("/etc/debian_version").is_file() {
        bail!("{}", advice(&missing));
    }
    say(&format!("    installing {}", missing.join(", ")));
    let mut step = Step::begin("install packages of the distribution");
    let log = paths::cache()?.join("apt.log");
    // The package lists of a fresh machine may be missing or old; a failure shows in the installation that follows.
    step.run_for_status(Command::new("apt-get").arg("update"), &log)?;
    let mut install = Command::new("apt-get");
    install.args(["install", "--no-install-recommends", "--yes"]).args(&missing).env("DEBIAN_FRONTEND", "noninteractive");
    step.run(&mut install, &log)?;
    step.end();
    Ok(())
}

/// Everything that keeps a node from starting here, in one message: whoever gets root should not be told of packages only then.
pub(crate) fn require_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let mut message =
        "a cluster without a Docker engine needs root for namespaces and mounts: run this as root (on Debian, that \
                       also installs what is missing), or start Docker and have a kind node image at hand"
            .to_owned();
    let missing = missing();
    if !missing.is_empty() {
        message = format!("{message}; {}", advice(&missing));
    }
    bail!(message)
}

/// Names the packages and the command that installs them.
fn advice(missing: &[&str]) -> String {
    format!(
        "missing programs of the distribution, by Debian's package names: {}; on Debian and its descendants install them with: \
         sudo sh -c 'apt-get update && apt-get install --no-install-recommends --yes {}'",
        missing.join(", "),
        missing.join(" ")
    )
}

fn missing() -> Vec<&'static str> {
    NEEDED
        .into_iter()
        .filter(|(program, _)| {
            let on_path = PATHS.iter().any(|folder| Path::new(folder).join(program).is_file());
            let plugin = *program == "ptp";
            if plugin { network_plugins().is_none() } else { !on_path }
        })
        .map(|(_, package)| package)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn what_is_missing_is_named_with_the_command_that_installs_it() {
        let text = advice(&["runc", "nftables"]);
        assert!(text.contains("runc, nftables;"), "{text}");
        assert!(text.ends_with("apt-get install --no-install-recommends --yes runc nftables'"), "{text}");
    }
}
