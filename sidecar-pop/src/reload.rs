//! Files -> what is in force. `pop.yaml` with its lists, trusted keys and identity are read independently: a bad one is refused
//! with a reason, its last good version stays, the others move on. A file that merely vanished changes nothing.

mod files;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tapir_runtime::mqtt::{MqttSettings, Qos};
use tapir_runtime::node::{NodeMaterial, current};
use tapir_runtime::shutdown::Shutdown;
use tapir_runtime::watch::DirectoryWatch;
use tapir_wire::jwk::TrustedKeys;
use tapir_wire::node::{TRUSTED_KEYS, paths};
use tapir_wire::status::{IdentityStatus, SourceState};
use tokio::sync::watch;

use self::files::{Folder, Lists};
use crate::notify::Targets;
use crate::setup::Setup;
use crate::state::blocking;
use crate::state::file::replace;
use crate::status::Telemetry;

/// Where the last good `pop.yaml` is kept, for a restart while the mounted one is broken.
pub const LAST_GOOD: &str = "last-good-pop.yaml";
/// As upstream: Core's broker knows these clients.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Seconds that the broker keeps what it has for us over a short break.
const SESSION_EXPIRY: u32 = 60;
/// A ConfigMap holds 1 MiB; this leaves room outside Kubernetes.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// What is in force, for the tasks that use it.
#[derive(Debug)]
pub struct InForce {
    /// The configuration.
    pub setup: watch::Receiver<Option<Arc<Setup>>>,
    /// Keys that may sign observations.
    pub keys: watch::Receiver<Option<Arc<TrustedKeys>>>,
    /// The connection to Core; `None`: none wanted.
    pub mqtt: watch::Receiver<Option<MqttSettings>>,
    /// Where the zone is served.
    pub listen: watch::Receiver<SocketAddr>,
    /// Where probes are served.
    pub http_listen: watch::Receiver<SocketAddr>,
    /// Whom to notify.
    pub targets: watch::Receiver<Targets>,
}

/// Reads the files.
#[derive(Debug)]
pub struct Loader {
    file: PathBuf,
    last_good: PathBuf,
    /// In force, and not yet kept for a restart.
    to_keep: Option<String>,
    /// Lists in force.
    lists: Lists,
    suffix: String,
    material: Option<NodeMaterial>,
    setup: watch::Sender<Option<Arc<Setup>>>,
    keys: watch::Sender<Option<Arc<TrustedKeys>>>,
    mqtt: watch::Sender<Option<MqttSettings>>,
    listen: watch::Sender<SocketAddr>,
    http_listen: watch::Sender<SocketAddr>,
    targets: watch::Sender<Targets>,
}

/// A configuration that was read.
struct Read {
    setup: Setup,
    text: String,
    lists: Lists,
    /// Every file that it names could be read.
    complete: bool,
}

impl Loader {
    /// Nothing is read yet. `suffix` tells this instance from the node's others.
    #[must_use]
    pub fn new(file: PathBuf, state_dir: &Path, suffix: String) -> (Self, InForce) {
        let default = SocketAddr::from(([127, 0, 0, 1], 5359));
        let listen = paths::RPZ_LISTEN.parse().unwrap_or(default);
        let (setup, setup_receiver) = watch::channel(None);
        let (keys, keys_receiver) = watch::channel(None);
        let (mqtt, mqtt_receiver) = watch::channel(None);
        let (listen, listen_receiver) = watch::channel(listen);
        let (http_listen, http_receiver) = watch::channel(SocketAddr::from(([0_u16; 8], paths::POP_HTTP_PORT)));
        let (targets, targets_receiver) = watch::channel(Targets { listen: default, targets: Vec::new() });
        let in_force = InForce {
            setup: setup_receiver,
            keys: keys_receiver,
            mqtt: mqtt_receiver,
            listen: listen_receiver,
            http_listen: http_receiver,
            targets: targets_receiver,
        };
        let last_good = state_dir.join(LAST_GOOD);
        (
            Self {
                file,
                last_good,
                to_keep: None,
                lists: Lists::new(),
                suffix,
                material: None,
                setup,
                keys,
                mqtt,
                listen,
                http_listen,
                targets,
            },
            in_force,
        )
    }

    /// Keeps what was read, and reads everything again at each change, until shutdown.
    pub async fn run(mut self, mut watch: DirectoryWatch, telemetry: Arc<Telemetry>, shutdown: Shutdown) {
        loop {
            if self.to_keep.is_some() {
                blocking(|| self.keep_last_good(&telemetry));
            }
            tokio::select! {
                () = shutdown.requested() => return,
                () = watch.changed() => blocking(|| self.load(&telemetry)),
            }
        }
    }

    /// The folder that is watched.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        match self.file.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        }
    }

    /// Reads all files once. They are small and local, so this does not yield; and it writes nothing, since a disk may be
    /// slow or gone and what was read is to be in force now.
    pub fn load(&mut self, telemetry: &Telemetry) {
        self.load_config(telemetry);
        self.load_keys(telemetry);
        self.load_identity(telemetry);
        let wanted = self.settings();
        self.mqtt.send_if_modified(|settings| {
            let modified = *settings != wanted;
            *settings = wanted;
            modified
        });
    }

    fn load_config(&mut self, telemetry: &Telemetry) {
        let error = match self.read_mounted() {
            Ok(Read { setup, text, lists, .. }) => {
                telemetry.metrics.load("config", "taken");
                telemetry.config_read(None);
                self.enforce(setup);
                self.lists = lists;
                self.to_keep = Some(text);
                return;
            }
            Err(error) => error,
        };
        telemetry.metrics.load("config", "refused");
        if self.file.exists() {
            tracing::error!(error, "configuration refused, the last good one stays in force");
        } else {
            tracing::warn!(
                error,
                "no configuration there; what was in force stays, before the first one everything is answered SERVFAIL"
            );
        }
        telemetry.config_read(Some(error));
        if self.setup.borrow().is_none()
            && let Ok(Read { setup, lists, .. }) = self.read_config(&self.last_good, &current(&self.directory()), true)
        {
            tracing::warn!(revision = setup.revision, "going on with the configuration that was last good before the restart");
            self.enforce(setup);
            self.lists = lists;
        }
    }

    /// `pop.yaml` and its lists of one moment. Two attempts: the folder may be replaced while it is being read.
    fn read_mounted(&self) -> Result<Read, String> {
        let name = self.file.file_name().unwrap_or_default();
        let folder = current(&self.directory());
        let read = self.read_config(&folder.join(name), &folder, false);
        let again = current(&self.directory());
        if again == folder || read.as_ref().is_ok_and(|read| read.complete) {
            return read;
        }
        self.read_config(&again.join(name), &again, false)
    }

    fn read_config(&self, file: &Path, folder: &Path, kept_first: bool) -> Result<Read, String> {
        let name = self.file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let text = read(file).map_err(|error| format!("{name} cannot be read: {error}"))?.ok_or(format!("{name} is missing"))?;
        let kept = self.last_good.parent().unwrap_or(Path::new("."));
        let mut files =
            Folder { mounted: folder, kept, kept_first, in_force: &self.lists, used: Lists::new(), incomplete: false };
        let (setup, warnings) = Setup::parse(&text, &mut files).map_err(|error| format!("{name}: {error}"))?;
        for warning in warnings {
            tracing::warn!(warning, "configuration is of a newer format than this build knows");
        }
        Ok(Read { setup, text, complete: !files.incomplete, lists: files.used })
    }

    fn enforce(&self, setup: Setup) {
        let (listen, http_listen) = (setup.listen, setup.http_listen);
        let targets = Targets { listen, targets: setup.notify.clone() };
        update(&self.listen, listen);
        update(&self.http_listen, http_listen);
        update(&self.targets, targets);
        let revision = setup.revision.clone();
        if update(&self.setup, Some(Arc::new(setup))) {
            tracing::info!(revision, "configuration in force");
        }
    }

    /// Keeps the configuration that was read last for a restart.
    pub fn keep_last_good(&mut self, telemetry: &Telemetry) {
        if let Some(text) = self.to_keep.take() {
            self.keep(&text, telemetry);
        }
    }

    fn keep(&self, text: &str, telemetry: &Telemetry) {
        // Lists first: they may be newer than the file that names them, and not the other way round.
        let same = || read(&self.last_good).is_ok_and(|kept| kept.as_deref() == Some(text));
        let folder = self.last_good.parent().unwrap_or(Path::new("."));
        let kept = files::keep(folder, &self.lists)
            .and_then(|()| if same() { Ok(()) } else { replace(&self.last_good, text.as_bytes()) });
        if let Err(error) = kept {
            telemetry.metrics.state_error("config");
            tracing::warn!(%error, "the good configuration could not be kept for a restart");
        }
    }

    fn load_keys(&self, telemetry: &Telemetry) {
        let file = current(&self.directory()).join(TRUSTED_KEYS);
        let keys = match read(&file) {
            Ok(Some(text)) if !text.trim().is_empty() => TrustedKeys::from_jwks(&text).map_err(|error| error.to_string()),
            Ok(_) => {
                // Before the enrolment, or gone: nothing new.
                let missing = self.keys.borrow().is_none();
                telemetry.keys_read(missing.then(|| (SourceState::Pending, format!("{TRUSTED_KEYS} is missing"))));
                return;
            }
            Err(error) => Err(error.to_string()),
        };
        let error = match keys {
            Ok(keys) if keys.is_empty() => "no key in it can verify".to_owned(),
            Ok(keys) => {
                let same = self.keys.borrow().as_ref().is_some_and(|old| old.kids().eq(keys.kids()) && **old == keys);
                telemetry.metrics.load("keys", "taken");
                telemetry.keys_read(None);
                if !same {
                    tracing::info!(keys = keys.len(), skipped = keys.skipped().len(), "trusted keys in force");
                    self.keys.send_replace(Some(Arc::new(keys)));
                }
                return;
            }
            Err(error) => error,
        };
        telemetry.metrics.load("keys", "refused");
        tracing::error!(error, "trusted keys refused, the last good ones stay in force");
        let state = if self.keys.borrow().is_some() { SourceState::Stale } else { SourceState::Failed };
        telemetry.keys_read(Some((state, format!("{TRUSTED_KEYS} is refused: {error}"))));
    }

    fn load_identity(&mut self, telemetry: &Telemetry) {
        match NodeMaterial::load_connection(&self.directory()) {
            Ok(material) => {
                let identity = IdentityStatus {
                    node: material.document.name.clone(),
                    certificate_serial: material.certificate.serial.clone(),
                    not_after: material.certificate.not_after,
                };
                telemetry.metrics.load("identity", "taken");
                telemetry.identity_read(Some(identity), None);
                self.material = Some(material);
            }
            Err(error) => {
                telemetry.metrics.load("identity", "refused");
                tracing::warn!(%error, "identity missing or unusable; the last good one stays, before the first one there is no connection to Core");
                telemetry.identity_read(None, Some(error.to_string()));
            }
        }
    }

    /// The connection that is wanted now: none before a configuration says that it is not switched off.
    fn settings(&self) -> Option<MqttSettings> {
        let setup = self.setup.borrow().clone()?;
        let material = self.material.as_ref().filter(|_| !setup.disabled)?;
        let client_id = format!("{}-pop-{}", material.document.name, self.suffix);
        let tls = Some(Arc::clone(&material.tls));
        let mut settings = MqttSettings::new(material.document.mqtt_broker.clone(), client_id, tls, material.generation);
        settings.certificate_serial = Some(material.certificate.serial.clone());
        settings.keep_alive = KEEP_ALIVE;
        settings.clean_start = false;
        settings.session_expiry = Some(SESSION_EXPIRY);
        settings.subscriptions = vec![(material.document.observations_topic(), Qos::AtLeastOnce)];
        Some(settings)
    }
}

fn update<T: PartialEq>(sender: &watch::Sender<T>, value: T) -> bool {
    sender.send_if_modified(|current| {
        let modified = *current != value;
        *current = value;
        modified
    })
}

fn read(file: &Path) -> io::Result<Option<String>> {
    let octets = files::read(file, LARGEST_FILE)?;
    octets.map(|octets| String::from_utf8(octets).map_err(|_| io::Error::other("it is not UTF-8"))).transpose()
}
