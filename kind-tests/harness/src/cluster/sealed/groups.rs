//! Control groups: made before the kubelet starts, removed innermost first when everything in them has ended.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::plan::ResourceGroups;

const ROOT: &str = "/sys/fs/cgroup";

impl ResourceGroups {
    pub(crate) fn create(&self) -> Result<()> {
        if is_unified() {
            // The kubelet's own groups need the controllers handed down; one that the kernel lacks is no error.
            for folder in [Path::new(ROOT).to_path_buf(), Path::new(ROOT).join(&self.name)] {
                create(&folder)?;
                for controller in ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"] {
                    let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
                }
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

    /// The kernel lets go of a group only some time after its last process.
    pub(crate) fn remove(&self) -> Result<()> {
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
