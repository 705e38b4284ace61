//! Configuration of upstream's policy processor -> `pop.yaml`.
//!
//! Its four files (`dnstapir-pop.yaml`, `pop-sources.yaml`, `pop-outputs.yaml`, `pop-policy.yaml`) say what to do in their own
//! words, partly with another meaning than one would think. Everything that comes out different is noted; what has no sensible
//! meaning here is refused, all of it at once. Keys are taken in any case, as upstream does.

mod folder;
mod outputs;
mod policy;
mod report;
mod service;
mod sources;
mod tree;
mod words;

#[cfg(test)]
mod tests;

use tapir_wire::config::ConfigError;
use tapir_wire::config::pop::PopConfig;
use zeroize::Zeroizing;

pub use folder::{convert_folder, write_folder};
use report::Report;
use tree::Tree;

/// The four files and what they are called.
pub const FILES: [&str; 4] = ["dnstapir-pop.yaml", "pop-sources.yaml", "pop-outputs.yaml", "pop-policy.yaml"];

/// Texts of the four files, in the order of [`FILES`]; not all of them need be there.
pub type Texts = [Option<Zeroizing<String>>; 4];

/// What came out.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The configuration; it has no problems.
    pub config: PopConfig,
    /// What is different from upstream's, one line each.
    pub notes: Vec<String>,
    /// Keys that stood in the files and lie beside `pop.yaml` now, by the names of their files.
    pub keys: Vec<KeyFile>,
}

/// A key that gets a file of its own. It shows its name and never what is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// Name of the file.
    pub name: String,
    /// What is in it.
    pub key: Zeroizing<String>,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why there is no conversion.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// None of the files is there.
    #[error("none of {} is there", FILES.join(", "))]
    Nothing,
    /// A file cannot be read.
    #[error("{file} cannot be read: {source}")]
    Read {
        /// Which.
        file: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Something cannot be written.
    #[error("{file} cannot be written: {source}")]
    Write {
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// What the files say cannot be meant here.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    /// The outcome could not be written as text.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Converts the texts.
pub fn convert(texts: &Texts) -> Result<Converted, ConvertError> {
    if texts.iter().all(Option::is_none) {
        return Err(ConvertError::Nothing);
    }
    let mut report = Report::default();
    let trees = FILES.into_iter().zip(texts).map(|(file, text)| Tree::read(file, text.as_deref(), &mut report));
    let trees: Vec<Tree> = trees.collect();
    let mut config = PopConfig::parse("format: 2")?.config;
    if let [main, sources, outputs, policy] = trees.as_slice() {
        service::convert(main, &mut config, &mut report);
        sources::convert(sources, &mut config, &mut report);
        outputs::convert(outputs, &mut config, &mut report);
        policy::convert(policy, &mut config, &mut report);
        sources::limit_refresh(main, &mut config, &mut report);
    }
    config.format = config.needed_format();
    let Report { notes, mut problems, keys } = report;
    if problems.is_empty() {
        problems.extend(config.problems().iter().map(ToString::to_string));
    }
    if problems.is_empty() { Ok(Converted { config, notes, keys }) } else { Err(ConvertError::Refused(problems)) }
}
