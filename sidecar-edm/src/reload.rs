//! What is in force: configuration, list, identity. Read from one folder, watched, each part replaced only by a good one.

mod list;
mod part;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tapir_runtime::mqtt::MqttSettings;
use tapir_runtime::node::{self, MaterialError, NodeMaterial};
use tapir_runtime::shutdown::Shutdown;
use tapir_runtime::watch::DirectoryWatch;
use tapir_wire::config::Parsed;
use tapir_wire::config::edm::EdmConfig;
use tapir_wire::dawg::DomainSet;
use tapir_wire::jwk::DataKey;
use tokio::sync::watch;

use crate::config::ConfigFile;
use crate::metrics::Metrics;
use crate::minimise::View;
use list::List;
use part::Part;

/// Who this edge is towards Core.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Certificate, trust anchors, broker.
    pub material: Arc<NodeMaterial>,
    /// Signs events.
    pub data_key: Arc<DataKey>,
}

impl PartialEq for Identity {
    /// Equal files make equal identities.
    fn eq(&self, other: &Self) -> bool {
        let Self { material, data_key } = self;
        material.generation == other.material.generation
            && material.document == other.material.document
            && data_key.thumbprint() == other.data_key.thumbprint()
    }
}

/// Everything that is in force at one moment.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    /// The configuration; none until a good one was read.
    pub config: Option<Arc<EdmConfig>>,
    /// When it came into force.
    pub config_loaded_at: Option<Timestamp>,
    /// Why the newest configuration or list was refused.
    pub config_error: Option<String>,
    /// Well-known domains.
    pub well_known: Option<Arc<DomainSet>>,
    /// The identity; none until a good one was read.
    pub identity: Option<Identity>,
    /// Why there is none, or why the newest one was refused.
    pub identity_error: Option<String>,
}

impl InForce {
    /// A configuration is there, and it allows to send.
    #[must_use]
    pub fn sending(&self) -> bool {
        self.config.as_ref().is_some_and(|config| !config.disabled)
    }

    /// What the worker decides by.
    #[must_use]
    pub fn view(&self) -> View {
        View { sending: self.sending(), well_known: self.well_known.clone() }
    }

    /// The connection to the broker, if there shall be one. Without a configuration nobody has said yet that sending is allowed.
    #[must_use]
    pub fn mqtt_settings(&self, instance: &str) -> Option<MqttSettings> {
        let config = self.config.as_ref().filter(|config| !config.disabled)?;
        let Identity { material, data_key } = self.identity.as_ref()?;
        // Upstream's client id is `<kid>-edm`; the suffix keeps the Pods of one edge from disconnecting each other.
        let client_id = format!("{}-edm-{instance}", data_key.kid());
        let mut settings = MqttSettings::new(
            material.document.mqtt_broker.clone(),
            client_id,
            Some(Arc::clone(&material.tls)),
            material.generation,
        );
        settings.certificate_serial = Some(material.certificate.serial.clone());
        settings.keep_alive = Duration::from_secs(config.mqtt_keepalive.into());
        settings.clean_start = false;
        Some(settings)
    }
}

/// Reads the folder again and again.
#[derive(Debug)]
pub struct Reloader {
    file: ConfigFile,
    /// What the configuration was warned of last: told once, not at every reading.
    warnings: Vec<String>,
    directory: PathBuf,
    config: Part<EdmConfig>,
    config_loaded_at: Option<Timestamp>,
    list: Part<List>,
    identity: Part<Identity>,
}

impl Reloader {
    /// For the configuration file `file`; identity and list lie in the same folder.
    #[must_use]
    pub fn new(file: ConfigFile) -> Self {
        Self {
            directory: file.folder().to_owned(),
            file,
            warnings: Vec::new(),
            config: Part::new("configuration"),
            config_loaded_at: None,
            list: Part::new("list of well-known domains"),
            identity: Part::new("identity"),
        }
    }

    /// Reads everything; gives what is in force afterwards.
    pub fn read(&mut self) -> InForce {
        // One moment of the mounted folder, not a mixture of two.
        let directory = node::current(&self.directory);
        let config = self.read_config(&in_directory(&self.file.path, &self.directory, &directory));
        if self.config.offer(config) {
            self.config_loaded_at = Some(Timestamp::now());
            self.warn_without_list();
        }
        let list = |config: &Arc<EdmConfig>| Some(config.path(&self.directory, config.well_known_domains_file.as_ref()?));
        match self.config.good().and_then(list) {
            None => self.list.clear(),
            Some(file) => {
                let path = in_directory(&file, &self.directory, &directory);
                let newest = list::read(&path, self.list.good());
                self.list.offer(newest);
            }
        }
        self.identity.offer(read_identity(&directory));
        self.in_force()
    }

    fn read_config(&mut self, path: &Path) -> Result<EdmConfig, String> {
        let Parsed { config, warnings } = self.file.read_at(path).map_err(|error| error.to_string())?;
        if warnings != self.warnings {
            for warning in &warnings {
                tracing::warn!(warning, "configuration");
            }
            self.warnings = warnings;
        }
        Ok(config)
    }

    fn warn_without_list(&self) {
        if self.config.good().is_some_and(|config| config.well_known_domains_file.is_none()) {
            tracing::warn!("no list of well-known domains is configured: only looptest names make events");
        }
    }

    fn in_force(&self) -> InForce {
        let errors: Vec<String> = [self.config.error(), self.list.error()].into_iter().flatten().map(str::to_owned).collect();
        InForce {
            config: self.config.good().cloned(),
            config_loaded_at: self.config_loaded_at,
            config_error: (!errors.is_empty()).then(|| errors.join("; ")),
            well_known: self.list.good().map(|list| Arc::clone(&list.domains)),
            identity: self.identity.good().map(|identity| Identity::clone(identity)),
            identity_error: self.identity.error().map(str::to_owned),
        }
    }
}

/// Reads whenever the folder changes, until shutdown.
pub async fn keep_reading(
    mut reloader: Reloader,
    mut watch: DirectoryWatch,
    in_force: watch::Sender<Arc<InForce>>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
) {
    loop {
        tokio::select! {
            () = watch.changed() => {}
            () = shutdown.requested() => return,
        }
        // A list takes milliseconds to check: long for the threads that drain the socket.
        let read = tokio::task::spawn_blocking(move || {
            let read = reloader.read();
            (reloader, read)
        });
        match read.await {
            Ok((returned, read)) => {
                reloader = returned;
                if read.config_error.is_some() || read.identity_error.is_some() {
                    metrics.reload_errors.inc();
                }
                in_force.send_replace(Arc::new(read));
            }
            Err(error) => {
                tracing::error!(error = %error, "reading the configuration failed, it is not watched any more");
                return;
            }
        }
    }
}

/// The folder of the watch.
#[must_use]
pub fn directory_watch(reloader: &Reloader, shutdown: &Shutdown) -> DirectoryWatch {
    DirectoryWatch::new(&reloader.directory, shutdown.reloads())
}

/// The same file in the folder of one moment, if it lies in the watched folder at all.
fn in_directory(file: &Path, watched: &Path, current: &Path) -> PathBuf {
    file.strip_prefix(watched).map_or_else(|_| file.to_owned(), |relative| current.join(relative))
}

fn read_identity(directory: &Path) -> Result<Identity, String> {
    let material = NodeMaterial::load(directory).map_err(|error| describe(&error))?;
    let data_key = material.data_key.clone().ok_or_else(|| describe(&MaterialError::Missing(tapir_wire::node::DATA_KEY)))?;
    Ok(Identity { material: Arc::new(material), data_key })
}

/// An error with its causes in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A volume as the kubelet makes it: files are links through `..data`, which is renamed to replace all at once.
    fn publish(volume: &Path, version: &str, files: &[(&str, Vec<u8>)]) {
        let content = volume.join(format!("..{version}"));
        fs::create_dir(&content).unwrap();
        for (name, octets) in files {
            fs::write(content.join(name), octets).unwrap();
            let link = volume.join(name);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(name), link).unwrap();
            }
        }
        symlink(format!("..{version}"), volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    }

    fn config(revision: &str) -> Vec<u8> {
        format!("format = 1\nrevision = \"{revision}\"\nwell-known-domains-file = \"list.dawg\"\n").into_bytes()
    }

    #[test]
    fn follows_a_mounted_volume() {
        let volume = tempfile::tempdir().unwrap();
        let list = |words: &[&str]| tapir_wire::dawg::compile(words.iter().copied()).unwrap();
        let mut reloader = Reloader::new(ConfigFile::new(volume.path().join("edm.toml")));
        let nothing = reloader.read();
        assert_eq!(nothing.config_error.as_deref(), Some("edm.toml is missing"));
        assert!(!nothing.sending());

        publish(volume.path(), "1", &[("edm.toml", config("a")), ("list.dawg", list(&["a."]))]);
        let first = reloader.read();
        assert_eq!(first.config_error, None);
        assert!(first.sending() && first.well_known.as_ref().unwrap().lookup("a.").is_some());
        assert!(first.mqtt_settings("x").is_none(), "no identity, no connection");

        publish(volume.path(), "2", &[("edm.toml", config("b")), ("list.dawg", list(&["b."]))]);
        let second = reloader.read();
        assert_eq!(second.config.as_ref().unwrap().revision, "b");
        assert!(second.well_known.as_ref().unwrap().lookup("b.").is_some());

        publish(volume.path(), "3", &[("edm.toml", config("c")), ("list.dawg", b"broken".to_vec())]);
        let third = reloader.read();
        assert_eq!(third.config.as_ref().unwrap().revision, "c");
        assert!(third.well_known.as_ref().unwrap().lookup("b.").is_some(), "the last good list stays");
        assert!(third.config_error.unwrap().starts_with("list list.dawg: "));

        publish(volume.path(), "4", &[("edm.toml", b"format = 1\n".to_vec())]);
        let fourth = reloader.read();
        assert!(fourth.well_known.is_none() && fourth.config_error.is_none(), "a list that is not wanted any more goes");
    }
}
