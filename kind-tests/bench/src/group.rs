//! What a process costs in memory, files that the kernel keeps for it included: a control group of its own, of whichever version there is.
//! Where none can be made, what the process maps has to do.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::fs::{Advice, fadvise};

use crate::say;

const MIB: f64 = 1024.0 * 1024.0;
/// Between two looks at what is used, where the most is asked for.
const LOOK: Duration = Duration::from_millis(2);

const VERSION1: &str = "memory.usage_in_bytes";

/// A control group. It is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    folder: Option<PathBuf>,
    usage: &'static str,
}

impl Group {
    pub(crate) fn new() -> Self {
        let name = format!("tapir-bench-{}", std::process::id());
        let version1 = Path::new("/sys/fs/cgroup/memory").join(&name);
        let version2 = Path::new("/sys/fs/cgroup").join(&name);
        for (folder, usage) in [(version1, VERSION1), (version2, "memory.current")] {
            if fs::create_dir(&folder).is_ok() {
                if folder.join(usage).is_file() {
                    say(&format!("memory is that of {}", folder.join(usage).display()));
                    return Self { folder: Some(folder), usage };
                }
                // Not of this version; it was empty.
                let _ = fs::remove_dir(&folder);
            }
        }
        say(
            "NOTE: no control group can be made (not root?): memory is what the process maps, shared pages by parts (smaps_rollup)",
        );
        Self { folder: None, usage: "" }
    }

    /// Shell words that put the shell into it.
    pub(crate) fn enter(&self) -> String {
        self.folder.as_ref().map(|folder| format!("echo $$ > {}/cgroup.procs && ", folder.display())).unwrap_or_default()
    }

    /// Shell words that begin a program in it as in a container: it sees its own limit where a container does, and no other process has it.
    pub(crate) fn contained(&self, program: &str) -> String {
        match self.folder.as_ref().and_then(|folder| Some((folder, folder.parent()?))) {
            Some((folder, place)) => format!(
                "{}exec unshare --mount -- /bin/sh -c 'mount --bind {} {} && exec {program}'",
                self.enter(),
                folder.display(),
                place.display()
            ),
            None => format!("exec {program}"),
        }
    }

    /// From now on no more than this; none: as much as there is.
    pub(crate) fn limit(&self, mebibytes: Option<u64>) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let (file, none) = if self.usage == VERSION1 { ("memory.limit_in_bytes", "-1") } else { ("memory.max", "max") };
        let value = mebibytes.map_or_else(|| none.to_owned(), |mebibytes| (mebibytes << 20).to_string());
        fs::write(folder.join(file), value).context("limiting the memory of the control group")
    }

    /// What is used now, in MiB.
    pub(crate) fn usage(&self, pid: u32) -> Result<f64> {
        let Some(folder) = &self.folder else { return mapped(pid) };
        let text = fs::read_to_string(folder.join(self.usage)).context("reading the memory of the control group")?;
        Ok(text.trim().parse::<f64>().context("strange number of octets")? / MIB)
    }

    /// Rows of `memory.stat`, for people.
    pub(crate) fn parts(&self) -> String {
        let Some(folder) = &self.folder else { return String::new() };
        let text = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let wanted = ["rss", "cache", "anon", "file", "kernel", "mapped_file", "dirty"];
        let row = |line: &str| {
            let (name, octets) = line.split_once(' ')?;
            wanted.contains(&name).then_some(format!("{name} {:.1}", octets.parse::<f64>().ok()? / MIB))
        };
        text.lines().filter_map(row).collect::<Vec<_>>().join(", ")
    }

    /// The most that is used while something is done.
    pub(crate) fn peak<T>(&self, pid: u32, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut most = 0.0_f64;
                while !done.load(Ordering::Relaxed) {
                    most = most.max(self.usage(pid).unwrap_or_default());
                    std::thread::sleep(LOOK);
                }
                most
            });
            let result = work();
            done.store(true, Ordering::Relaxed);
            let most = watcher.join().map_err(|_| anyhow::anyhow!("the thread that looks at the memory panicked"))?;
            Ok((result?, most))
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // Processes that were just killed may still be leaving.
            for _ in 0..50 {
                if fs::remove_dir(folder).is_ok() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn mapped(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("reading what the process maps")?;
    let row = text.lines().find_map(|line| line.strip_prefix("Pss:")).and_then(|rest| rest.split_whitespace().next());
    let kibibytes: f64 = row.and_then(|value| value.parse().ok()).context("Pss is missing")?;
    Ok(kibibytes / 1024.0)
}

/// Lets the kernel forget what it keeps of all files below a folder, and of those that the process has open.
pub(crate) fn forget(folder: &Path, pid: u32) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry.with_context(|| format!("reading {}", folder.display()))?;
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => forget(&path, pid)?,
            Ok(kind) if kind.is_file() => forget_file(&path),
            _ => {}
        }
    }
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).context("reading what is open")?.flatten() {
        if fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file()) {
            forget_file(&entry.path());
        }
    }
    Ok(())
}

/// One that is gone meanwhile costs nothing.
fn forget_file(path: &Path) {
    if let Ok(file) = File::open(path) {
        // What is not on disk yet cannot be forgotten.
        let _ = file.sync_data();
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
    }
}
