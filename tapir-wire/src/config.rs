//! Configuration files that the operator renders and the sidecars read.
//!
//! Each carries `format: N`. In the reader's own format (or an older one) an unknown key is an error, because it is a typing
//! mistake; in a newer format it is a warning, because a newer operator may drive an older sidecar during a rollout.
//!
//! Messages name keys and lines and say what to do. They never repeat what stands in a list, since they end up in `/status`.

mod check;
pub mod edm;
mod keys;
pub mod pop;

use std::fmt::{self, Display};

pub use check::Problem;
pub(crate) use keys::{Key, Keys};

/// A configuration that was read, and what was ignored in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<T> {
    /// The configuration.
    pub config: T,
    /// What should be known to somebody, one line each: what a newer format said and this build does not know, what is said and does nothing,
    /// and what is different from what the writer of an upstream file expects.
    pub warnings: Vec<String>,
}

/// Why a configuration was refused. Its text names key and line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Cannot be read as what it should be.
    #[error("{place}{message}")]
    Unreadable {
        /// Line and key, as far as known.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// Keys that this format does not have.
    #[error("unknown key {}; check the spelling or remove it", list(.0))]
    UnknownKeys(Vec<Key>),
    /// Every key is known, but values contradict the rules.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
    /// The same, one a line under a heading, as upstream's EDM says it.
    #[error("invalid configuration:\n{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    InvalidLines(Vec<Problem>),
    /// It could not be written.
    #[error("writing configuration failed: {0}")]
    Unwritable(String),
}

/// Where in a file something is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: Option<u64>,
    /// As `sources[0].list`.
    pub key: Option<String>,
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, &self.key) {
            (Some(line), Some(key)) => write!(f, "line {line}, key {key}: "),
            (Some(line), None) => write!(f, "line {line}: "),
            (None, Some(key)) => write!(f, "key {key}: "),
            (None, None) => Ok(()),
        }
    }
}

fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Refuses unknown keys in a format that this build fully knows, and makes warnings of them in a newer one.
fn judge_unknown(unknown: Vec<Key>, format: u32, own: u32) -> Result<Vec<String>, ConfigError> {
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    if format <= own {
        return Err(ConfigError::UnknownKeys(unknown));
    }
    let warn = |key: &Key| format!("key {key} belongs to format {format} and is ignored: this build knows format {own}");
    Ok(unknown.iter().map(warn).collect())
}

fn judge_problems(problems: Vec<Problem>, keys: &Keys) -> Result<(), ConfigError> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(ConfigError::Invalid(problems.into_iter().map(|problem| problem.at_line_of(keys)).collect()))
}
