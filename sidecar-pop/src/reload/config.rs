//! `pop.yaml`, with the lists and keys that it names: read, put in force, kept for a restart.

use std::path::Path;
use std::sync::Arc;

use tapir_runtime::node::current;
use tapir_wire::config::pop::GlobalConfig;
use tapir_wire::node::NodeDocument;
use tokio::sync::watch;

use super::files::{self, Folder, Lists};
use super::{Loader, read};
use crate::dns::guard::Guard;
use crate::dns::tsig::{Key, Keys};
use crate::feeds::rpz::Notified;
use crate::notify::Targets;
use crate::setup::{Fetched, FetchedFrom, Setup};
use crate::state::file::replace;
use crate::status::Telemetry;
use crate::upstream::{self, ConvertError};

/// A configuration that was read.
struct Read {
    setup: Setup,
    text: String,
    lists: Lists,
    /// Every file that it names could be read.
    complete: bool,
}

impl Loader {
    pub(super) fn load_config(&mut self, telemetry: &Telemetry) {
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
    pub(super) fn put_in_force(&mut self) {
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
