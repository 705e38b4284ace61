//! Files -> what is in force. `pop.yaml` with its lists, trusted keys and identity are read independently: a bad one is refused
//! with a reason, its last good version stays, the others move on. A file that merely vanished changes nothing.

mod check;
mod config;
mod core_settings;
mod files;
mod identity;
mod keys;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tapir_runtime::mqtt::MqttSettings;
use tapir_runtime::node::NodeMaterial;
use tapir_runtime::shutdown::Shutdown;
use tapir_runtime::telemetry::Sending;
use tapir_runtime::watch::DirectoryWatch;
use tapir_wire::jwk::TrustedKeys;
use tapir_wire::node::paths;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::check::{Checked, check};
use self::files::Lists;
use crate::dns::guard::Guard;
use crate::feeds::peers::Identity;
use crate::feeds::rpz::Notified;
use crate::global_config::FromCore;
use crate::intake::Settings;
use crate::notify::Targets;
use crate::setup::Setup;
use crate::state::blocking;
use crate::status::Telemetry;
use crate::upstream;

/// Where the last good `pop.yaml` is kept, for a restart while the mounted one is broken.
pub const LAST_GOOD: &str = "last-good-pop.yaml";
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
}

async fn next<T>(from: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match from {
        Some(from) => from.recv().await,
        None => std::future::pending().await,
    }
}

fn read(file: &Path) -> io::Result<Option<String>> {
    let octets = files::read(file, LARGEST_FILE)?;
    octets.map(|octets| String::from_utf8(octets).map_err(|_| io::Error::other("it is not UTF-8"))).transpose()
}
