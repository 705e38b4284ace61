//! Inside the fresh namespaces, before the first component: mounts that keep the host's files out of reach, and a network that
//! leads nowhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};

use super::layout::{Layout, NODE_ADDRESS};
use crate::packages;
use crate::progress::output;

/// Folders of the cluster that components know under a fixed name. `/var/log` is another one, bound as a whole.
const STATE: [&str; 4] = ["etcd", "containerd", "kubelet", "cni"];

/// The kubelet sets these for the whole kernel when it finds other values. It shall find these, and the host keeps its own.
const KERNEL_SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

pub(crate) fn prepare(layout: &Layout, host_name: &str) -> Result<()> {
    mounts(layout)?;
    fs::write("/proc/sys/kernel/hostname", host_name).context("setting the host name")?;
    network()
}

/// Folders below which the private mounts lie; a cluster folder or a tool cache in there would vanish from sight.
pub(crate) const COVERED: [&str; 3] = ["/run", "/var/lib", "/var/log"];

fn mounts(layout: &Layout) -> Result<()> {
    let none: Option<&str> = None;
    for covered in ["/run", "/var/lib"] {
        mount(Some("tapir"), covered, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .with_context(|| format!("mounting a private {covered}"))?;
    }
    fs::create_dir_all("/run/lock").context("creating /run/lock")?;
    for name in STATE {
        let source = layout.folder.join("state").join(name);
        let target = Path::new("/var/lib").join(name);
        bind(&source, &target)?;
    }
    bind(&layout.logs(), Path::new("/var/log"))?;
    fs::create_dir_all("/run/settings").context("creating /run/settings")?;
    for (name, value) in KERNEL_SETTINGS {
        let source = Path::new("/run/settings").join(name.replace('/', "."));
        fs::write(&source, format!("{value}\n")).with_context(|| format!("writing {}", source.display()))?;
        let target = Path::new("/proc/sys").join(name);
        mount(Some(&source), &target, none, MsFlags::MS_BIND, none).with_context(|| format!("covering {}", target.display()))?;
    }
    // Pods may ask for mount propagation; this is propagation within the node, `unshare` has cut it off from the host.
    mount(none, "/", none, MsFlags::MS_SHARED | MsFlags::MS_REC, none).context("sharing mounts within the node")
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    let none: Option<&str> = None;
    for folder in [source, target] {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    mount(Some(source), target, none, MsFlags::MS_BIND, none)
        .with_context(|| format!("mounting {} as {}", source.display(), target.display()))
}

/// An address of its own and a default route, without which API server and kubelet do not start. The bridge has no port: what is
/// sent there arrives nowhere.
fn network() -> Result<()> {
    let node = format!("{NODE_ADDRESS}/24");
    let commands: [&[&str]; 5] = [
        &["link", "set", "lo", "up"],
        &["link", "add", "node0", "type", "bridge"],
        &["addr", "add", &node, "dev", "node0"],
        &["link", "set", "node0", "up"],
        &["route", "add", "default", "dev", "node0"],
    ];
    for arguments in commands {
        output(Command::new("ip").args(arguments).env("PATH", packages::search_path()))?;
    }
    // Namespaces have their own: Pods reach each other and Services through this one.
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("switching forwarding on")
}
