//! Files -> what is in force. `pop.yaml` with its lists, trusted keys and identity are read independently: a bad one is refused
//! with a reason, its last good version stays, the others move on. A file that merely vanished changes nothing.

mod check;
mod core_settings;
mod files;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tapir_runtime::mqtt::{MqttSettings, Qos};
use tapir_runtime::node::{NodeMaterial, current};
use tapir_runtime::shutdown::Shutdown;
use tapir_runtime::watch::DirectoryWatch;
use tapir_wire::config::pop::{GlobalConfig, Telemetry as Reports};
use tapir_wire::jwk::TrustedKeys;
use tapir_wire::node::{NodeDocument, TRUSTED_KEYS, paths};
use tapir_wire::status::{IdentityStatus, SourceState};
use tokio::sync::{mpsc, oneshot, watch};

pub use self::check::{Checked, check};
use self::files::{Folder, Lists};
use crate::dns::guard::Guard;
use crate::dns::tsig::{Key, Keys};
use crate::feeds::peers::Identity;
use crate::feeds::rpz::Notified;
use crate::global_config::FromCore;
use crate::intake::Settings;
use crate::notify::Targets;
use crate::setup::{Fetched, FetchedFrom, Setup};
use crate::sources::CoreSource;
use crate::state::blocking;
use crate::state::file::replace;
use crate::status::{Telemetry, Trouble};
use crate::telemetry::Sending;
use crate::upstream::{self, ConvertError};

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
    /// Who this node is towards others of its CA.
    pub identity: watch::Receiver<Option<Identity>>,
    /// The connection to Core; `None`: none wanted.
    pub mqtt: watch::Receiver<Option<MqttSettings>>,
    /// Where the zone is served.
    pub listen: watch::Receiver<Vec<SocketAddr>>,
    /// Who may ask there.
    pub guard: watch::Receiver<Arc<Guard>>,
    /// Where probes are served.
    pub http_listen: watch::Receiver<SocketAddr>,
    /// Whom to notify.
    pub targets: watch::Receiver<Targets>,
    /// How Core is told how it is; `None`: it is not.
    pub sending: watch::Receiver<Option<Sending>>,
}

/// Reads the files.
#[derive(Debug)]
pub struct Loader {
    file: PathBuf,
    /// The file lies among others of upstream's, and stands for them all.
    upstream: bool,
    notified: Notified,
    wishes: Option<mpsc::Receiver<oneshot::Sender<()>>>,
    told: Option<mpsc::Receiver<Settings>>,
    /// The newest settings that nobody knows the key of.
    unproven: Option<Bytes>,
    /// The configuration as the file has it.
    base: Option<Setup>,
    /// What Core's settings make of it.
    from_core: Option<FromCore>,
    last_good: PathBuf,
    /// In force, and not yet kept for a restart.
    to_keep: Option<String>,
    /// Lists in force.
    lists: Lists,
    suffix: String,
    material: Option<NodeMaterial>,
    setup: watch::Sender<Option<Arc<Setup>>>,
    keys: watch::Sender<Option<Arc<TrustedKeys>>>,
    identity: watch::Sender<Option<Identity>>,
    mqtt: watch::Sender<Option<MqttSettings>>,
    listen: watch::Sender<Vec<SocketAddr>>,
    guard: watch::Sender<Arc<Guard>>,
    http_listen: watch::Sender<SocketAddr>,
    targets: watch::Sender<Targets>,
    sending: watch::Sender<Option<Sending>>,
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
        let (identity, identity_receiver) = watch::channel(None);
        let (mqtt, mqtt_receiver) = watch::channel(None);
        let (listen, listen_receiver) = watch::channel(vec![listen]);
        let (guard, guard_receiver) = watch::channel(Arc::default());
        let (http_listen, http_receiver) = watch::channel(SocketAddr::from(([0_u16; 8], paths::POP_HTTP_PORT)));
        let (targets, targets_receiver) = watch::channel(Targets { listen: vec![default], targets: Vec::new() });
        let (sending, sending_receiver) = watch::channel(None);
        let in_force = InForce {
            setup: setup_receiver,
            keys: keys_receiver,
            identity: identity_receiver,
            mqtt: mqtt_receiver,
            listen: listen_receiver,
            guard: guard_receiver,
            http_listen: http_receiver,
            targets: targets_receiver,
            sending: sending_receiver,
        };
        let last_good = state_dir.join(LAST_GOOD);
        (
            Self {
                file,
                upstream: false,
                notified: Notified::default(),
                wishes: None,
                told: None,
                unproven: None,
                base: None,
                from_core: None,
                last_good,
                to_keep: None,
                lists: Lists::new(),
                suffix,
                material: None,
                setup,
                keys,
                identity,
                mqtt,
                listen,
                guard,
                http_listen,
                targets,
                sending,
            },
            in_force,
        )
    }

    /// The configuration is upstream's, in the files of this folder.
    #[must_use]
    pub fn of_upstream(self, folder: &Path) -> Self {
        Self { file: folder.join(upstream::FILES[1]), upstream: true, ..self }
    }

    /// Feeds that are told of news by whoever may, at the address of the zone.
    #[must_use]
    pub fn notifying(self, notified: Notified) -> Self {
        Self { notified, ..self }
    }

    /// Reads everything again whenever that is wished, too, and says when it is done.
    #[must_use]
    pub fn answering(self, wishes: mpsc::Receiver<oneshot::Sender<()>>) -> Self {
        Self { wishes: Some(wishes), ..self }
    }

    /// Follows settings of Core, where the configuration says so.
    #[must_use]
    pub fn following(self, told: mpsc::Receiver<Settings>) -> Self {
        Self { told: Some(told), ..self }
    }

    /// Keeps what was read, and reads everything again at each change, until shutdown.
    pub async fn run(mut self, mut watch: DirectoryWatch, telemetry: Arc<Telemetry>, shutdown: Shutdown) {
        let (mut wishes, mut told) = (self.wishes.take(), self.told.take());
        loop {
            if self.to_keep.is_some() {
                blocking(|| self.keep_last_good(&telemetry));
            }
            tokio::select! {
                () = shutdown.requested() => return,
                () = watch.changed() => blocking(|| self.load(&telemetry)),
                Some(settings) = next(&mut told) => self.hear_settings(settings, &telemetry),
                Some(done) = next(&mut wishes) => {
                    blocking(|| self.load(&telemetry));
                    // Who wished it may have gone meanwhile.
                    let _ = done.send(());
                }
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
        // What Core names, topics among it, is found beside the identity.
        self.load_identity(telemetry);
        self.load_config(telemetry);
        self.load_keys(telemetry);
        self.prove_settings(telemetry);
        self.tell_core_settings(telemetry, None);
        self.load_reports(telemetry);
        self.connect();
    }

    fn connect(&self) {
        let wanted = self.settings();
        self.mqtt.send_if_modified(|settings| {
            let modified = *settings != wanted;
            *settings = wanted;
            modified
        });
    }

    /// The key is read only where something is signed with it.
    fn load_reports(&self, telemetry: &Telemetry) {
        let wanted = self.base.as_ref().filter(|base| !base.disabled).and_then(|base| base.telemetry.as_deref());
        let (sending, error) = match (wanted, &self.material) {
            (Some(topic), Some(NodeMaterial { document, .. })) => {
                let named = if topic == Reports::TOPIC { document.topic("status") } else { None };
                match NodeMaterial::load_data_key(&self.directory(), &document.name) {
                    Ok(Some(key)) => {
                        let topic = named.unwrap_or_else(|| document.of_this_node(topic));
                        let function_id = format!("{}-{}", document.name, self.suffix);
                        (Some(Sending { topic, function_id, key }), None)
                    }
                    Ok(None) => (None, Some("telemetry: datakey.jwk is missing, with which it is signed".to_owned())),
                    Err(error) => (None, Some(format!("telemetry: {error}"))),
                }
            }
            _ => (None, None),
        };
        telemetry.trouble(Trouble::Telemetry, error);
        self.sending.send_replace(sending);
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
        if self.setup.borrow().is_none()
            && let Ok(Read { setup, lists, .. }) = self.read_config(&self.last_good, &current(&self.directory()), true)
        {
            tracing::warn!(revision = setup.revision, "going on with the configuration that was last good before the restart");
            self.enforce(setup);
            self.lists = lists;
        }
        // Last, so that nobody is told of the error without what is in force all the same.
        telemetry.config_read(Some(error));
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
        let text = if self.upstream && file != self.last_good {
            convert(folder).map_err(|error| error.to_string())?
        } else {
            read(file).map_err(|error| format!("{name} cannot be read: {error}"))?.ok_or(format!("{name} is missing"))?
        };
        let kept = self.last_good.parent().unwrap_or(Path::new("."));
        let mut files =
            Folder { mounted: folder, kept, kept_first, in_force: &self.lists, used: Lists::new(), incomplete: false };
        let (setup, warnings) = Setup::parse(&text, &mut files).map_err(|error| format!("{name}: {error}"))?;
        for warning in warnings {
            tracing::warn!(warning, "configuration is of a newer format than this build knows");
        }
        Ok(Read { setup, text, complete: !files.incomplete, lists: files.used })
    }

    fn enforce(&mut self, setup: Setup) {
        self.base = Some(setup);
        self.put_in_force();
    }

    /// The file, and over it what Core says, where that is followed.
    fn put_in_force(&mut self) {
        let Some(base) = &self.base else { return };
        let mut setup = base.clone();
        let document = self.material.as_ref().map(|material| &material.document);
        if let Some(global) = &mut setup.global_config {
            let named = document.filter(|_| global.topic == GlobalConfig::TOPIC).and_then(|document| document.topic("config"));
            global.topic = named.unwrap_or_else(|| global.topic.clone());
            self.from_core.take_if(|told| !told.topics.iter().all(|topic| topic.starts_with(&global.topic_prefix)));
        } else {
            self.from_core = None;
        }
        if let Some(usual) = document.map(NodeDocument::observations_topic) {
            if let Some(told) = &self.from_core {
                setup = told.over(&setup, &usual);
            }
            // Said explicitly: the broker goes on with subscriptions of a session for a while, and those of before count no more.
            for core in setup.rules.cores.iter_mut().filter(|core| core.topics.is_empty()) {
                core.topics.push(usual.clone());
            }
        }
        let targets = Targets { listen: setup.listen.clone(), targets: setup.notify.clone() };
        // Before an address is bound that others may ask.
        self.guard.send_replace(Arc::new(guard(&setup, &self.notified)));
        update(&self.listen, setup.listen.clone());
        update(&self.http_listen, setup.http_listen);
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
                    telemetry.keys_in_force(keys.len());
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
                telemetry.renewal(material.document.renewal);
                self.identity.send_replace(Some(Identity::from(&material)));
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
        let usual = material.document.observations_topic();
        let with = |topics: BTreeSet<String>| topics.into_iter().map(|topic| (topic, Qos::AtLeastOnce)).collect();
        let (mut needed, mut other) = (topics(&setup, &usual), BTreeSet::new());
        if let Some(global) = &setup.global_config {
            other.insert(global.topic.clone());
        }
        // What Core names may be granted now, or later, and the usual topic no longer.
        if let Some(told) = &self.from_core {
            let named = |topic: &String| *topic == usual || told.topics.contains(topic);
            other.extend(needed.iter().filter(|topic| named(topic)).cloned());
            needed.retain(|topic| !named(topic));
        }
        (settings.subscriptions, settings.optional_subscriptions) = (with(needed), with(other));
        Some(settings)
    }
}

/// Topics of all sources. Without a source there is still the connection, whose state tells whether Core can be reached.
fn topics(setup: &Setup, usual: &str) -> BTreeSet<String> {
    let of = |core: &CoreSource| if core.topics.is_empty() { vec![usual.to_owned()] } else { core.topics.clone() };
    let mut topics: BTreeSet<String> = setup.rules.cores.iter().flat_map(of).collect();
    if topics.is_empty() {
        topics.insert(usual.to_owned());
    }
    topics
}

/// Two files with one key name hold the same key.
fn guard(setup: &Setup, notified: &Notified) -> Guard {
    let of_feed = |fetched: &Fetched| match &fetched.from {
        FetchedFrom::Rpz(_, Some(key)) => Some(Key::from(key)),
        _ => None,
    };
    Guard {
        acl: setup.acl.clone(),
        keys: Keys::first_of(setup.tsig_keys.iter().map(Key::from)),
        notified: notified.clone(),
        feed_keys: Keys::first_of(setup.fetched.iter().filter_map(of_feed)),
        connections: Some(setup.connections),
    }
}

async fn next<T>(from: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match from {
        Some(from) => from.recv().await,
        None => std::future::pending().await,
    }
}

fn update<T: PartialEq>(sender: &watch::Sender<T>, value: T) -> bool {
    sender.send_if_modified(|current| {
        let modified = *current != value;
        *current = value;
        modified
    })
}

/// Upstream's files as the text of `pop.yaml`.
fn convert(folder: &Path) -> Result<String, ConvertError> {
    let converted = upstream::convert_folder(folder)?;
    for note in &converted.notes {
        tracing::info!(note, "upstream's configuration means something else here");
    }
    Ok(converted.config.to_yaml()?)
}

fn read(file: &Path) -> io::Result<Option<String>> {
    let octets = files::read(file, LARGEST_FILE)?;
    octets.map(|octets| String::from_utf8(octets).map_err(|_| io::Error::other("it is not UTF-8"))).transpose()
}
