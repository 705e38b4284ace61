//! What tells this EDM from the others of its edge in files that leave, and outside of Pods in whatever else leaves: a random number, drawn once and kept in the state folder.
//!
//! Nothing of Pod, machine or clients is in it. A new Pod has a new one.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use crate::disk::Unfinished;

const FILE: &str = "instance";
const OCTETS: usize = 16;

/// 128 random bits, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance(String);

impl Instance {
    /// The one in `folder`; drawn and kept there where none is, or none that can be read. Where it cannot be kept it serves for this run.
    #[must_use]
    pub fn load(folder: &Path) -> Self {
        if let Some(known) = read(folder) {
            return known;
        }
        let new = Self::draw();
        if let Err(error) = new.keep(folder) {
            tracing::warn!(folder = %folder.display(), %error, "the number of this instance cannot be kept; the next start draws another");
        }
        new
    }

    /// A new one.
    #[must_use]
    pub fn draw() -> Self {
        Self(hex::encode(rand::random::<[u8; OCTETS]>()))
    }

    /// As much of it as tells the instances of one node apart.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.chars().take(8).collect()
    }

    /// In hexadecimal.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn keep(&self, folder: &Path) -> io::Result<()> {
        let mut file = Unfinished::create(folder, FILE)?;
        file.write_all(self.0.as_bytes())?;
        file.finish()
    }
}

fn read(folder: &Path) -> Option<Instance> {
    let mut text = String::new();
    std::fs::File::open(folder.join(FILE)).ok()?.take(OCTETS as u64 * 2 + 2).read_to_string(&mut text).ok()?;
    let text = text.trim_end();
    let good = text.len() == OCTETS * 2 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    good.then(|| Instance(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_drawn_for_a_folder_and_stays() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let drawn = Instance::load(first.path());
        assert_eq!(Instance::load(first.path()), drawn);
        assert_ne!(Instance::load(second.path()), drawn);
        assert_eq!(drawn.as_str().len(), 32);
    }

    #[test]
    fn what_is_none_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "xyz", &"A".repeat(32), &"a".repeat(33), &"a".repeat(4000)] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            let drawn = Instance::load(folder.path());
            assert_ne!(drawn.as_str(), text);
            assert_eq!(Instance::load(folder.path()), drawn);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_does_not_hinder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(Instance::load(&folder.path().join("file/below")).as_str().len(), 32);
    }
}
