//! A word list read as a set of domains.

use super::Dawg;

/// Domains: an entry matches itself; an entry with a dot in front matches everything below the rest, but not the rest itself.
#[derive(Clone, Debug)]
pub struct DomainSet {
    dawg: Dawg,
}

/// Which entry a name hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainMatch {
    /// The entry's index in the list.
    pub index: u64,
    /// Whether it is an entry with a dot in front.
    pub suffix: bool,
}

impl DomainSet {
    /// Reads the list as domains.
    #[must_use]
    pub fn new(dawg: Dawg) -> Self {
        Self { dawg }
    }

    /// The list itself.
    #[must_use]
    pub fn dawg(&self) -> &Dawg {
        &self.dawg
    }

    /// Looks a name up, given in presentation form with final dot, in any case. An exact entry wins; then the longest suffix.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<DomainMatch> {
        let lower;
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            lower.as_str()
        } else {
            name
        };
        if let Some(index) = self.dawg.index_of(name) {
            return Some(DomainMatch { index, suffix: false });
        }
        suffixes(name).find_map(|suffix| self.dawg.index_of(suffix)).map(|index| DomainMatch { index, suffix: true })
    }
}

/// Every rest of the name that begins with a label border, but for the final dot alone. An escaped dot is no border.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    let mut bytes = name.bytes().enumerate();
    std::iter::from_fn(move || {
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'\\' => {
                    bytes.next();
                }
                b'.' if at + 1 < name.len() => return name.get(at..),
                _ => {}
            }
        }
        None
    })
}
