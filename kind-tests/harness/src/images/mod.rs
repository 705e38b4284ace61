//! Container images without an engine: from a list of contents to an archive that any runtime loads.

mod archive;
mod build;
mod containerfile;
mod content;
pub(crate) mod debian;
pub(crate) mod libraries;
mod list;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

pub use archive::REGISTRY;
pub use build::Image;
pub use containerfile::{drifted, write_all};

use crate::paths;

/// Builds the named images, or all of them.
pub fn build(names: &[&str]) -> Result<Vec<Image>> {
    build::build(&list::all(names)?)
}

/// Names and references as a file: what tests and manifests look images up in.
pub fn write_index(images: &[Image]) -> Result<PathBuf> {
    let folder = paths::target().join("images");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let path = folder.join("index.json");
    let names: BTreeMap<&str, &str> =
        images.iter().map(|image| (image.name.as_str(), image.written.reference.as_str())).collect();
    fs::write(&path, serde_json::to_vec_pretty(&names)?).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// Manifests name images as `tapir.local/NAME:dev`; a cluster is given the exact content.
pub fn with_references(manifest: &str, images: &[Image]) -> String {
    images.iter().fold(manifest.to_owned(), |text, image| {
        text.replace(&format!("{REGISTRY}/{}:dev", image.name), &image.written.reference)
    })
}
