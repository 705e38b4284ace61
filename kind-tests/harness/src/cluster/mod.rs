//! A cluster by name: made, found again, used, removed.

mod addons;
mod kind;
mod sealed;
mod traces;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::Flock;

pub use sealed::{NODE_COMMAND, run_node};
pub use traces::Before;

use crate::images::Image;
use crate::lock;
use crate::packages;
use crate::paths::{self, ClusterName};
use crate::progress::{output, say};
use crate::tools;

/// A cluster that is up.
#[derive(Debug)]
pub struct Cluster {
    name: ClusterName,
    backend: Backend,
    kubectl: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    Kind,
    Sealed,
}

/// What `status` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Absent,
    /// Left over from an interrupted run; `up` or `down` clears it.
    Broken,
    Up,
}

impl Cluster {
    /// Makes the cluster, or finds it as it is.
    pub fn up(name: &ClusterName) -> Result<Self> {
        let backend = if kind::is_possible() { Backend::Kind } else { Backend::Sealed };
        if backend == Backend::Sealed {
            packages::require_root()?;
        }
        let _lock = lock(name)?;
        if state(name) == State::Up {
            say(&format!("cluster {} is up already", name.as_str()));
            return Self::open(name);
        }
        match backend {
            Backend::Kind => kind::up(name)?,
            Backend::Sealed => sealed::up(name)?,
        }
        Self::open(name)
    }

    /// A cluster that was made before.
    pub fn open(name: &ClusterName) -> Result<Self> {
        let backend = match state(name) {
            State::Up if kind::is_ours(name) => Backend::Kind,
            State::Up => Backend::Sealed,
            State::Broken => bail!(
                "cluster {0} is not whole (an interrupted run?); `cargo xtask cluster up --name {0}` makes it anew",
                name.as_str()
            ),
            State::Absent => bail!("there is no cluster {0}; `cargo xtask cluster up --name {0}` makes it", name.as_str()),
        };
        Ok(Self { name: name.clone(), backend, kubectl: tools::kubectl()?.join("kubectl") })
    }

    pub fn name(&self) -> &ClusterName {
        &self.name
    }

    /// For clients on this machine.
    pub fn kubeconfig(&self) -> PathBuf {
        self.name.folder().join("kubeconfig")
    }

    /// For a program that [`Cluster::on_node`] runs. A kind node does not see this machine's programs.
    pub fn kubeconfig_on_node(&self) -> Result<PathBuf> {
        match self.backend {
            Backend::Kind => bail!("this needs the sealed node, and the cluster is kind's"),
            Backend::Sealed => Ok(sealed::kubeconfig_inside(&self.name)),
        }
    }

    /// Where the API server writes who changed what.
    pub fn audit_log(&self) -> PathBuf {
        match self.backend {
            Backend::Kind => kind::audit_log(&self.name),
            Backend::Sealed => sealed::audit_log(&self.name),
        }
    }

    /// Logs of components and Pods.
    pub fn logs(&self) -> PathBuf {
        self.name.folder().join("log")
    }

    /// A `kubectl` that talks to this cluster and reads nothing of the user's.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.name.folder());
        command
    }

    /// A folder with `kubectl` and `helm`.
    pub fn tools(&self) -> Result<PathBuf> {
        let folder = self.name.folder().join("bin");
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        for (name, program) in [("kubectl", self.kubectl.clone()), ("helm", tools::helm()?.join("helm"))] {
            let link = folder.join(name);
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&program, &link).with_context(|| format!("linking {}", link.display()))?;
        }
        Ok(folder)
    }

    /// Loads images that the cluster does not have yet.
    pub fn import(&self, images: &[Image]) -> Result<()> {
        for image in images {
            let (reference, archive) = (image.written.reference.as_str(), image.archive.as_path());
            match self.backend {
                Backend::Kind => kind::import(&self.name, archive)?,
                Backend::Sealed => sealed::import(&self.name, reference, archive)?,
            }
        }
        Ok(())
    }

    /// Loads an archive from anywhere.
    pub fn import_archive(&self, archive: &Path) -> Result<()> {
        match self.backend {
            Backend::Kind => kind::import(&self.name, archive),
            Backend::Sealed => sealed::load(&self.name, &archive.display().to_string(), archive),
        }
    }

    /// A command that runs on the node.
    pub fn on_node(&self, program: &str) -> Result<Command> {
        match self.backend {
            Backend::Kind => Ok(kind::on_node(&self.name, program)),
            Backend::Sealed => sealed::on_node(&self.name, program),
        }
    }

    pub fn describe(&self) -> Result<String> {
        let nodes = output(self.kubectl().args(["get", "nodes", "--output", "wide"]))?;
        let pods = output(self.kubectl().args(["get", "pods", "--all-namespaces"]))?;
        Ok(format!(
            "cluster     {} ({})\nkubeconfig  {}\naudit log   {}\nlogs        {}\n\n{nodes}\n{pods}",
            self.name.as_str(),
            match self.backend {
                Backend::Kind => "kind",
                Backend::Sealed => "sealed node",
            },
            self.kubeconfig().display(),
            self.audit_log().display(),
            self.logs().display(),
        ))
    }
}

/// Removes the cluster and everything that belongs to it; nothing to do is fine.
pub fn down(name: &ClusterName) -> Result<()> {
    let _lock = lock(name)?;
    if kind::is_ours(name) {
        kind::down(name)?;
    }
    sealed::down(name)?;
    remove_if_there(&lock_file(name))
}

/// Whether `up` makes a sealed node here.
pub fn is_sealed() -> bool {
    !kind::is_possible()
}

pub fn state(name: &ClusterName) -> State {
    if kind::is_ours(name) { kind::state(name) } else { sealed::state(name) }
}

/// One `up` or `down` of a name at a time.
fn lock(name: &ClusterName) -> Result<Flock<File>> {
    fs::create_dir_all(paths::target().join("cluster")).context("creating the folder of the clusters")?;
    let busy = format!("waiting for another `cargo xtask cluster` that works on {}", name.as_str());
    lock::hold(&lock_file(name), &busy)
}

fn lock_file(name: &ClusterName) -> PathBuf {
    paths::target().join("cluster").join(format!("{}.lock", name.as_str()))
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
