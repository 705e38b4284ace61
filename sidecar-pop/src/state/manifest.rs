//! What the files of the zone are: which of them is the base, and of what it is one.
//!
//! Replaced whole, in the kernel's memory first, so that a process which is killed finds it; whoever has the time makes it durable, and only then what
//! it does not name any more may go.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::failpoint::pass;
use crate::dns::zone::Apex;
use crate::zone::Serial;

/// Name of the file.
pub const FILE: &str = "manifest.json";
/// The format that is written.
pub const FORMAT: u32 = 1;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// Name of the zone.
    pub zone: String,
    /// Its own records: with others, the zone has to have another serial.
    pub apex: String,
    /// File with the zone, below the folder of the zone.
    pub base: String,
    /// The version that the log goes on from.
    pub serial: Serial,
    /// Records of the base by kind; none where nobody counted.
    #[serde(default)]
    pub records: Vec<u64>,
    /// Sources that held something: without them the zone is not made anew at once.
    #[serde(default)]
    pub sources: Vec<String>,
}

impl Manifest {
    /// Reads it; `None`: there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(folder: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(folder.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let manifest: Self = serde_json::from_slice(&text).map_err(io::Error::other)?;
        let plain = !manifest.base.contains('/') && manifest.format == FORMAT;
        if plain { Ok(Some(manifest)) } else { Err(io::Error::other("it is of another format")) }
    }

    /// Puts it into its place, for everyone but a power loss.
    ///
    /// # Errors
    /// When that cannot be done; the former one stays.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let staged = folder.join("manifest.new");
        pass(&staged)?;
        fs::write(&staged, serde_json::to_vec(self).map_err(io::Error::other)?)?;
        pass(&staged)?;
        fs::rename(staged, folder.join(FILE))
    }
}

/// Stands for the zone's own records across restarts.
#[must_use]
pub fn apex_text(apex: &Apex) -> String {
    let Apex { name, mname, rname, timers, ttl, record_ttl, servers } = apex;
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    format!("{name} {mname} {rname} {timers:?} {ttl} {record_ttl} {}", servers.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_was_written_and_names_no_file_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), None);
        let base = |base: &str| Manifest {
            format: FORMAT,
            zone: "dnstapir.".to_owned(),
            apex: String::new(),
            base: base.to_owned(),
            serial: Serial(7),
            records: vec![1, 2],
            sources: vec!["feed".to_owned()],
        };
        base("base-1.tab").write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), Some(base("base-1.tab")));
        base("../base-1.tab").write(folder.path()).unwrap();
        assert!(Manifest::read(folder.path()).is_err());
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(Manifest::read(folder.path()).is_err());
    }
}
