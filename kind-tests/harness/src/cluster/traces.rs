//! Proves that a removed cluster is gone from the machine: not from what `down` remembers of it, but from what the kernel shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{kind, lock_file, sealed};
use crate::paths::ClusterName;

/// What was there before the cluster.
#[derive(Debug, Clone)]
pub struct Before {
    links: BTreeSet<String>,
}

impl Before {
    /// To be taken before `up`.
    pub fn look() -> Self {
        Self { links: links() }
    }

    /// Everything of the cluster that is still to be seen, one line each.
    pub fn traces(&self, name: &ClusterName) -> Vec<String> {
        let folder = name.folder();
        let mut found: Vec<String> = [folder.clone(), lock_file(name)]
            .iter()
            .filter(|path| path.exists())
            .map(|path| path.display().to_string())
            .collect();
        let group = sealed::group_name(name);
        found.extend(
            groups_called(Path::new("/sys/fs/cgroup"), &group).iter().map(|path| format!("control group {}", path.display())),
        );
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        found.extend(mounts.lines().filter(|line| names(line.as_bytes(), &folder)).map(|line| format!("mount {line}")));
        found.extend(processes(&folder));
        // An engine keeps a network of its own for all clusters to come.
        if !kind::is_possible() {
            found.extend(self.links.symmetric_difference(&links()).map(|link| format!("network interface {link}")));
        }
        found
    }
}

fn links() -> BTreeSet<String> {
    fs::read_dir("/sys/class/net").into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

fn groups_called(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy() == name {
                found.push(entry.path());
            }
            found.extend(groups_called(&entry.path(), name));
        }
    }
    found
}

/// By command line or environment: the node's own programs have the folder for temporary files in theirs.
fn processes(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let of = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let (line, environment) = (of("cmdline"), of("environ"));
        if pid != std::process::id() && (names(&line, folder) || names(&environment, folder)) {
            found.push(format!("process {pid}: {}", String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    found
}

/// Whether a text names the folder or something in it, and not merely a folder whose name begins the same way.
fn names(text: &[u8], folder: &Path) -> bool {
    let wanted = folder.as_os_str().as_encoded_bytes();
    let is_end = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && !b"-._".contains(byte));
    text.windows(wanted.len()).enumerate().any(|(start, part)| part == wanted && is_end(text.get(start + wanted.len())))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::{names, processes};

    #[test]
    fn a_folder_is_not_taken_for_its_neighbour() {
        let folder = Path::new("/target/cluster/test");
        for text in ["--config=/target/cluster/test/etc/a", "/target/cluster/test", "x\0/target/cluster/test\0y"] {
            assert!(names(text.as_bytes(), folder), "{text:?}");
        }
        for text in ["/target/cluster/test-2/etc", "/target/cluster/test.lock", "/target/cluster"] {
            assert!(!names(text.as_bytes(), folder), "{text:?}");
        }
    }

    #[test]
    fn a_process_is_found_by_its_environment() {
        let folder = Path::new("/nowhere/traces-of-a-cluster");
        let mut child = Command::new("sleep").arg("60").env("TMPDIR", folder.join("tmp")).spawn().unwrap();
        // A process has no environment yet for a moment after its program was started.
        let end = Instant::now() + Duration::from_secs(10);
        let mut found = processes(folder);
        while found.is_empty() && Instant::now() < end {
            std::thread::yield_now();
            found = processes(folder);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
