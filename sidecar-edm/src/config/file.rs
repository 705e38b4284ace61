//! The configuration file, read again and again.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use tapir_wire::config::edm::{EdmConfig, Form, Overlay};
use tapir_wire::config::{ConfigError, Parsed};
use tapir_wire::node::paths::EDM_CONFIG_FILE;

/// A configuration longer than this is none.
const MAX_LENGTH: u64 = 1024 * 1024;

/// Where the file lies, and what is laid over it at every reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigFile {
    /// The file.
    pub path: PathBuf,
    /// What command line and environment said when the process started.
    pub overlay: Overlay,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// No file.
    #[error("{0} is missing")]
    Missing(String),
    /// It cannot be read.
    #[error("reading {file}: {source}")]
    Unreadable {
        /// Its name.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Longer than 1 MiB.
    #[error("{0} is longer than 1 MiB")]
    TooLong(String),
    /// It says what cannot be.
    #[error("{file}: {source}")]
    Refused {
        /// Its name.
        file: String,
        /// Its form, if it can be told.
        form: Option<Form>,
        /// Why.
        source: ConfigError,
    },
}

impl ConfigFile {
    /// A file with nothing laid over it.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, overlay: Overlay::default() }
    }

    /// Its folder. Own form: where everything else lies too.
    #[must_use]
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    /// Reads and checks the file.
    ///
    /// # Errors
    /// When there is no good one.
    pub fn read(&self) -> Result<Parsed<EdmConfig>, Unread> {
        self.read_at(&self.path)
    }

    /// The same where the file of this moment lies elsewhere: a mounted folder is replaced as a whole.
    ///
    /// # Errors
    /// When there is no good one.
    pub fn read_at(&self, path: &Path) -> Result<Parsed<EdmConfig>, Unread> {
        let name = || path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut text = String::new();
        match File::open(path).and_then(|file| file.take(MAX_LENGTH + 1).read_to_string(&mut text)) {
            Ok(_) if text.len() as u64 > MAX_LENGTH => return Err(Unread::TooLong(name())),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Unread::Missing(name())),
            Err(source) => return Err(Unread::Unreadable { file: name(), source }),
        }
        EdmConfig::parse_over(&text, &self.overlay).map_err(|source| Unread::Refused {
            file: name(),
            form: EdmConfig::form_in(&text),
            source,
        })
    }

    /// Whether a process that finds no good configuration when it starts ends, as upstream does, or waits for a good one, as in a Pod.
    ///
    /// The form decides. Where it cannot be told because there is no file, or none that is TOML, the name of the own form's file is waited for.
    #[must_use]
    pub fn ends_start(&self, error: &Unread) -> bool {
        match error {
            Unread::Refused { form: Some(form), .. } => *form == Form::Upstream,
            _ => self.path.file_name() != Some(OsStr::new(EDM_CONFIG_FILE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_and_what_ends_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, text: Option<&str>, ends: bool, said: &str| {
            let file = ConfigFile::new(folder.path().join(name));
            match text {
                Some(text) => std::fs::write(&file.path, text).unwrap(),
                None => _ = std::fs::remove_file(&file.path),
            }
            let error = file.read().unwrap_err();
            assert_eq!(file.ends_start(&error), ends, "{name}: {error}");
            assert!(error.to_string().contains(said), "{error}");
        };
        check("edm.toml", None, false, "edm.toml is missing");
        check("edm.toml", Some("[["), false, "line 1");
        check("edm.toml", Some("format = 1\nx = 1"), false, "unknown key x (line 2)");
        check("edm.toml", Some("x = 1"), true, "unknown key x (line 1)");
        check("edm.toml", Some(""), true, "cryptopan-key must be set");
        check("dnstapir-edm.toml", None, true, "dnstapir-edm.toml is missing");
        check("dnstapir-edm.toml", Some("[["), true, "line 1");
        check("dnstapir-edm.toml", Some("format = 1\nx = 1"), false, "unknown key x (line 2)");
        check("edm.toml", Some(&"#".repeat(1 << 21)), false, "longer than 1 MiB");
    }

    #[test]
    fn what_the_command_line_says_is_said_at_every_reading() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = ConfigFile::new(folder.path().join("edm.toml"));
        file.overlay.set("mqtt-keepalive", "77").unwrap();
        for text in ["format = 1\nmqtt-keepalive = 5", "format = 1"] {
            std::fs::write(&file.path, text).unwrap();
            assert_eq!(file.read().unwrap().config.mqtt_keepalive, 77);
        }
    }
}
