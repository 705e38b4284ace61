//! What pid 1 of a sealed node is told to do, as a file: it starts as a fresh process in fresh namespaces.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::layout::Layout;

/// One long-running process of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Component {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// Starts when something accepts connections here.
    pub(crate) after: Option<SocketAddr>,
    pub(crate) arguments: Vec<String>,
}

impl Component {
    pub(crate) fn new(name: &str, program: &Path, after: Option<SocketAddr>, arguments: Vec<String>) -> Self {
        Self { name: name.to_owned(), program: program.to_path_buf(), after, arguments }
    }
}

/// The control groups of one cluster: a subtree of its own, so that `down` removes exactly that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResourceGroups {
    pub(crate) name: String,
}

impl ResourceGroups {
    /// As the kubelet wants it.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.name)
    }
}

/// Everything that pid 1 needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) layout: Layout,
    pub(crate) host_name: String,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) components: Vec<Component>,
}

impl Plan {
    pub(crate) fn write(&self) -> Result<()> {
        let path = self.layout.plan();
        let text = serde_json::to_string_pretty(self).context("writing the plan of the node")?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = Layout::new(folder).plan();
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("parsing {}", path.display()))
    }
}
