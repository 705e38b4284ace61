//! Finds the processes of a node by what they were started with.
//!
//! There is no pid file that could be missing or stale: between the start of a process and the note of its id an interrupted run
//! would leave a node that nobody finds any more.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The hidden subcommand under which pid 1 of a node runs; the folder of the cluster follows.
pub const NODE_COMMAND: &str = "cluster-node";

/// A node's processes as the host sees them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct NodeProcesses {
    /// The one that made the namespaces and waits outside of them.
    pub(crate) outer: Vec<i32>,
    /// Pid 1 inside.
    pub(crate) init: Option<i32>,
}

impl NodeProcesses {
    pub(crate) fn is_empty(&self) -> bool {
        self.outer.is_empty() && self.init.is_none()
    }

    /// Ends pid 1; the kernel ends everything else in its namespace.
    pub(crate) fn kill(&self) {
        for pid in self.init.iter().chain(&self.outer) {
            // Gone already is as good.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
    }
}

pub(crate) fn processes(folder: &Path) -> NodeProcesses {
    let mut found = NodeProcesses::default();
    let wanted = folder.display().to_string();
    for pid in all_pids() {
        let Ok(bytes) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let arguments: Vec<&str> =
            bytes.split(|byte| *byte == 0).map(|argument| std::str::from_utf8(argument).unwrap_or("")).collect();
        let ours = arguments.windows(2).any(|pair| pair[0] == NODE_COMMAND && pair[1] == wanted);
        if !ours {
            continue;
        }
        if inner_pid(pid) == Some(1) { found.init = Some(pid) } else { found.outer.push(pid) }
    }
    found
}

fn all_pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The process's id in the innermost namespace that it is in, if that is not the host's.
fn inner_pid(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let ids: Vec<i32> = line.split_whitespace().filter_map(|id| id.parse().ok()).collect();
    (ids.len() > 1).then(|| ids.last().copied()).flatten()
}
