//! Control groups: made before the kubelet starts, removed innermost first when everything in them has ended.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::plan::ResourceGroups;

const ROOT: &str = "/sys/fs/cgroup";

/// Version 2: what the kubelet's own groups need handed down.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"];

impl ResourceGroups {
    /// `note` remembers what the host's own root group is given, before it is given; see [`Self::remove`].
    pub(crate) fn create(&self, note: &Path) -> Result<()> {
        if is_unified() {
            // Version 2 was never run: written on a machine that has version 1.
            let root = Path::new(ROOT);
            let handed_down =
                fs::read_to_string(root.join("cgroup.subtree_control")).context("reading what the host hands down")?;
            fs::write(note, absent(&handed_down).join(" ")).with_context(|| format!("writing {}", note.display()))?;
            for folder in [root.to_path_buf(), root.join(&self.name)] {
                create(&folder)?;
                // One that the kernel lacks is no error.
                hand_down(&folder, '+', CONTROLLERS);
            }
            return Ok(());
        }
        for hierarchy in hierarchies()? {
            let folder = hierarchy.join(&self.name);
            create(&folder)?;
            // An empty cpuset can hold no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs::read_to_string(hierarchy.join(file)) {
                    let _ = fs::write(folder.join(file), value);
                }
            }
        }
        Ok(())
    }

    /// All folders that are there now.
    pub(crate) fn existing(&self) -> Result<Vec<PathBuf>> {
        let roots = if is_unified() { vec![PathBuf::from(ROOT)] } else { hierarchies()? };
        Ok(roots.into_iter().map(|root| root.join(&self.name)).filter(|folder| folder.is_dir()).collect())
    }

    /// The kernel lets go of a group only some time after its last process. Controllers that the host did not hand down before are
    /// taken away again.
    pub(crate) fn remove(&self, note: &Path) -> Result<()> {
        self.remove_folders()?;
        if let Ok(given) = fs::read_to_string(note) {
            hand_down(Path::new(ROOT), '-', given.split_whitespace());
        }
        Ok(())
    }

    fn remove_folders(&self) -> Result<()> {
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            let mut last_error = None;
            for folder in self.existing()? {
                if let Err(error) = remove_inside_out(&folder) {
                    last_error = Some(format!("{}: {error}", folder.display()));
                }
            }
            match last_error {
                None => return Ok(()),
                Some(error) if Instant::now() > limit => bail!("removing control groups: {error}"),
                Some(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

/// Those of ours that are not in a `cgroup.subtree_control` yet.
fn absent(handed_down: &str) -> Vec<&'static str> {
    CONTROLLERS.into_iter().filter(|controller| !handed_down.split_whitespace().any(|present| present == *controller)).collect()
}

/// One by one, since a single bad one would spoil all. It may be lacking, or in use by somebody else by now (EBUSY): then it stays.
fn hand_down<'a>(folder: &Path, sign: char, controllers: impl IntoIterator<Item = &'a str>) {
    for controller in controllers {
        let _ = fs::write(folder.join("cgroup.subtree_control"), format!("{sign}{controller}"));
    }
}

fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").is_file()
}

/// Version 1: one hierarchy for each controller; links such as `cpu` -> `cpu,cpuacct` are skipped.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(ROOT).with_context(|| format!("reading {ROOT}"))? {
        let entry = entry.with_context(|| format!("reading {ROOT}"))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.path().join("cgroup.procs").exists() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn create(folder: &Path) -> Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("creating the control group {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn remove_inside_out(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_inside_out(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::absent;

    #[test]
    fn what_the_host_hands_down_already_is_not_ours_to_take_away() {
        assert_eq!(absent("cpuset cpu io memory pids\n"), ["hugetlb"]);
        assert_eq!(absent("cpuset memory pids\n"), ["cpu", "io", "hugetlb"]);
    }
}
