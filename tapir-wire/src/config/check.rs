//! What a rule for values has to say when it is broken.

use std::fmt::{self, Display};

use super::keys::Keys;

/// One value that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As `doubt[0].minTags`.
    pub field: String,
    /// From 1; absent when the configuration did not come from a text.
    pub line: Option<u64>,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// What is wrong with this field, and what to do.
    #[must_use]
    pub fn new(field: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { field: field.into(), line: None, problem: problem.into(), remedy: remedy.into() }
    }

    pub(super) fn at_line_of(mut self, keys: &Keys) -> Self {
        self.line = keys.line_of(&self.field);
        self
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{} ", self.field)?;
        }
        f.write_str(&self.problem)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, ": {}", self.remedy) }
    }
}
