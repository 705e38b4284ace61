//! The list of contents of one image, `kind-tests/images/NAME.toml`: what archive and Containerfile are both made from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::paths;

/// Contents and settings of an image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageList {
    /// Filled from the file's name.
    #[serde(skip)]
    pub(crate) name: String,
    /// One sentence; becomes the image's title.
    pub description: String,
    /// User and group, by number.
    pub user: String,
    pub entrypoint: Vec<String>,
    #[serde(default)]
    pub arguments: Vec<String>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default = "root")]
    pub working_folder: String,
    /// The build fails when the content is larger.
    pub limit_megabytes: u64,
    /// Packages of the distribution to take files from; what they depend on is looked at for shared libraries.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Files and folders of those packages. Shared libraries that they need come by themselves.
    #[serde(default)]
    pub take: Vec<String>,
    /// Whether the public certificate authorities are put where TLS libraries look for them.
    #[serde(default)]
    pub(crate) authorities: bool,
    /// Commands of this workspace.
    #[serde(default)]
    pub binary: Vec<Binary>,
    /// Commands built from Go modules.
    #[serde(default)]
    pub tool: Vec<ToolFile>,
    /// One-file programs, compiled statically.
    #[serde(default)]
    pub program: Vec<Program>,
    /// Files written here.
    #[serde(default)]
    pub file: Vec<InlineFile>,
    /// Folders with an owner other than root, or for everybody.
    #[serde(default)]
    pub folder: Vec<Folder>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Binary {
    pub package: String,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolFile {
    pub(crate) name: String,
    pub path: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Program {
    /// Below `kind-tests/images`.
    pub source: PathBuf,
    pub path: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InlineFile {
    pub path: String,
    pub text: String,
    #[serde(default = "plain_file")]
    pub mode: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Folder {
    pub path: String,
    /// User and group number, the same.
    #[serde(default)]
    pub owner: u64,
    #[serde(default = "plain_folder")]
    pub mode: String,
}

fn root() -> String {
    "/".to_owned()
}

fn plain_file() -> String {
    "0644".to_owned()
}

fn plain_folder() -> String {
    "0755".to_owned()
}

/// Mode as the list writes it, octal.
pub(crate) fn mode(text: &str) -> Result<u32> {
    u32::from_str_radix(text, 8).with_context(|| format!("mode {text:?} is not octal"))
}

/// The folder of the lists.
pub(crate) fn folder() -> PathBuf {
    paths::repository().join("kind-tests/images")
}

impl ImageList {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let mut list: Self = toml::from_str(&text).with_context(|| format!("parsing {}", path.display()))?;
        list.name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        Ok(list)
    }

    /// Directory entries of `/usr/bin` for the workspace's own commands.
    pub(crate) fn binary_path(binary: &Binary) -> String {
        format!("/usr/bin/{}", binary.name)
    }
}

/// All lists, by name; with names given, those.
pub(crate) fn all(names: &[&str]) -> Result<Vec<ImageList>> {
    let mut lists = Vec::new();
    for entry in fs::read_dir(folder()).context("reading kind-tests/images")? {
        let path = entry.context("reading kind-tests/images")?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            lists.push(ImageList::read(&path)?);
        }
    }
    lists.sort_by(|left, right| left.name.cmp(&right.name));
    if names.is_empty() {
        return Ok(lists);
    }
    if let Some(unknown) = names.iter().find(|name| !lists.iter().any(|list| list.name == **name)) {
        let known: Vec<&str> = lists.iter().map(|list| list.name.as_str()).collect();
        bail!("no image {unknown:?}; there are {}", known.join(", "));
    }
    lists.retain(|list| names.contains(&list.name.as_str()));
    Ok(lists)
}
