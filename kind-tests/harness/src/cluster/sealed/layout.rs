//! Addresses and files of a sealed node, in one place, because its parts must agree about them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

// All of 198.18.0.0/15 is set aside for benchmarks (RFC 2544): nobody's network, so a leak would reach nobody.
pub(crate) const NODE_ADDRESS: &str = "198.18.0.1";
pub(crate) const POD_NETWORK: &str = "198.18.128.0/17";
/// The first 256 addresses are handed out by request only (KEP-3070), so fixed ones below never collide.
pub(crate) const SERVICE_NETWORK: &str = "198.19.0.0/16";
pub(crate) const SERVICE_OF_API_SERVER: &str = "198.19.0.1";
/// The tenth address: kubeadm, and so kind, takes the same one.
pub(crate) const SERVICE_OF_CLUSTER_DNS: &str = "198.19.0.10";

/// The files of one cluster; all below one folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) folder: PathBuf,
}

impl Layout {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.folder.join("pki")
    }

    /// For the host.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// For a component inside.
    pub(crate) fn kubeconfig_inside(&self, component: &str) -> PathBuf {
        self.pki().join(format!("{component}.kubeconfig"))
    }

    /// Generated configuration of the components.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.join("etc")
    }

    /// Is `/var/log` inside: logs of components and Pods, read from the host too.
    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    /// What pid 1 is told; written before it starts.
    pub(crate) fn plan(&self) -> PathBuf {
        self.folder.join("node.json")
    }

    /// Control group controllers that `up` had the host hand down.
    pub(crate) fn controllers(&self) -> PathBuf {
        self.folder.join("controllers")
    }

    /// Says that `up` reached its end; without it the cluster is a broken leftover.
    pub(crate) fn finished(&self) -> PathBuf {
        self.folder.join("up")
    }
}
