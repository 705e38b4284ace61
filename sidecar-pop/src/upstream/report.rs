//! What is to be said of a conversion.

use std::fmt::Display;

use super::KeyFile;

/// Collects it.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) notes: Vec<String>,
    pub(super) problems: Vec<String>,
    pub(super) keys: Vec<KeyFile>,
}

impl Report {
    /// Something is different here.
    pub(super) fn note(&mut self, place: impl Display, text: impl Display) {
        self.notes.push(format!("{place}: {text}"));
    }

    /// Something cannot be meant here.
    pub(super) fn refuse(&mut self, place: impl Display, text: impl Display) {
        self.problems.push(format!("{place}: {text}"));
    }
}
