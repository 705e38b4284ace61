//! Where things lie: the repository, the cache that outlives it, and one folder for each cluster.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The repository that this harness was built from.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Build results that are keyed by their content and may be shared by many checkouts.
pub fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache"),
    };
    Ok(base.join("tapir-operator"))
}

/// What cargo builds into.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), |folder| repository().join(folder))
}

/// A cluster's name: part of paths, cgroups and host names, hence as short and plain as a host name label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterName(String);

impl ClusterName {
    pub fn parse(name: &str) -> Result<Self> {
        let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if name.is_empty() || name.len() > 20 || !plain || name.starts_with('-') || name.ends_with('-') {
            bail!("cluster name {name:?}: 1 to 20 characters of a-z, 0-9 and '-', not at the ends");
        }
        Ok(Self(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Everything that the cluster keeps.
    pub fn folder(&self) -> PathBuf {
        target().join("cluster").join(&self.0)
    }
}

/// Removes what killed runs left in the cache: files and folders with a process id in their name whose process is gone.
pub(crate) fn forget_unfinished(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.rsplit_once(".unfinished-").map(|(_, pid)| pid.to_owned());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Whoever cannot remove it could not have made it; it costs only space.
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }
}

/// A name for something that is being made beside its final place; see [`forget_unfinished`].
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".unfinished-{}", std::process::id()));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::ClusterName;

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for bad in ["", "..", "a/b", "A", "-a", "a-", "abcdefghijklmnopqrstu"] {
            assert!(ClusterName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ClusterName::parse("test-2").is_ok());
    }
}
