//! What is in force: configuration, lists, identity, and what follows from them. Read from folders that are watched, each part replaced only
//! by a good one.

mod lists;
mod part;
mod watches;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use tapir_runtime::mqtt::MqttSettings;
use tapir_runtime::node;
use tapir_runtime::shutdown::Shutdown;
use tapir_runtime::telemetry::Sending;
use tapir_wire::config::Parsed;
use tapir_wire::config::edm::EdmConfig;
use tapir_wire::status::CertificateEnds;

use crate::config::ConfigFile;
use crate::config::endpoint::{certificate_end, endpoint};
use crate::config::identity::{self, Identity, Link};
use crate::dump::Asked;
use crate::fetched::{self, WantedList};
use crate::input::Endpoint;
use crate::list::Lists;
use crate::memory::Budget;
use crate::sessions::Wanted;
use crate::settings;
use lists::{Files, ListParts};
use part::Part;
pub use watches::Watches;

/// Everything that is in force at one moment.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    /// The configuration; none until a good one was read.
    pub config: Option<Arc<EdmConfig>>,
    /// When it came into force.
    pub config_loaded_at: Option<Timestamp>,
    /// Why the newest configuration was refused, or something that it names.
    pub config_error: Option<String>,
    /// What of it.
    pub refused: Refused,
    /// Where resolvers connect; none until a good configuration was read.
    pub endpoint: Option<Endpoint>,
    /// When the certificate ends that resolvers are shown.
    pub input_certificate_end: Option<Timestamp>,
    /// Lists of names and clients.
    pub lists: Lists,
    /// Clients or names are to be left out, and no good list of them was read yet: nothing is counted or reported until there is one.
    pub lacks_what_is_left_out: bool,
    /// The list of well-known domains that has to be fetched; none where it is there, or none is wanted so.
    pub to_fetch: Option<Arc<WantedList>>,
    /// Every frame is to be written to a file.
    pub dump: Option<Asked>,
    /// The identity; none until a good one was read.
    pub identity: Option<Arc<Identity>>,
    /// Why there is none, or why the newest one was refused.
    pub identity_error: Option<String>,
    /// Session files, and what their pseudonyms are made of; none until a good configuration was read.
    pub sessions: Option<Wanted>,
}

/// What was refused of the newest configuration, or of what it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The file itself.
    pub config: bool,
    /// The input.
    pub input: bool,
    /// A list. One that is only to be fetched is not refused.
    pub lists: bool,
    /// The identity, and another one is in force.
    pub identity: bool,
    /// The receiver of aggregates: nothing goes there, or what goes there goes as before.
    pub aggregates: bool,
}

impl InForce {
    /// A configuration is there, and it allows to send.
    #[must_use]
    pub fn sending(&self) -> bool {
        self.config.as_ref().is_some_and(|config| !config.disabled)
    }

    /// Where events go. Without a configuration nobody has said yet that sending is allowed.
    #[must_use]
    pub fn events(&self) -> Option<&Link> {
        let is_off = self.config.as_ref().is_some_and(|config| config.disable_mqtt);
        // An identity that cannot be read any more is the one of before, with what the configuration of before wanted.
        self.identity.as_ref().filter(|_| self.sending() && !is_off)?.events.as_ref()
    }

    /// Where aggregates go.
    #[must_use]
    pub fn aggregates(&self) -> Option<&Link> {
        let is_off = self.config.as_ref().is_some_and(|config| config.disable_histogram_sender);
        self.identity.as_ref().filter(|_| self.sending() && !is_off)?.aggregates.as_ref()
    }

    /// When the certificates end that are shown.
    #[must_use]
    pub fn certificate_ends(&self) -> CertificateEnds {
        let (events, aggregates) =
            self.identity.as_deref().map_or((None, None), |identity| (identity.events.as_ref(), identity.aggregates.as_ref()));
        let end = |link: Option<&Link>| link.filter(|link| link.is_encrypted()).map(|link| link.certificate.not_after);
        CertificateEnds { events: end(events), aggregates: end(aggregates), input: self.input_certificate_end }
    }

    /// What is shown to Core.
    #[must_use]
    pub fn shown(&self) -> Option<&Link> {
        let identity = self.identity.as_ref()?;
        identity.events.as_ref().or(identity.aggregates.as_ref())
    }

    /// How Core is told of this EDM, if it shall be.
    #[must_use]
    pub fn telemetry(&self, instance: &str) -> Option<Sending> {
        let key = &self.events().filter(|_| self.config.as_ref().is_some_and(|config| config.telemetry))?.data_key;
        let node = key.kid();
        let (topic, function_id) = (format!("status/up/{node}/tapir-edm"), format!("{node}-{instance}"));
        Some(Sending { topic, function_id, key: Arc::clone(key) })
    }

    /// The connection to the broker, if there shall be one.
    #[must_use]
    pub fn mqtt_settings(&self, instance: &str) -> Option<MqttSettings> {
        let (config, link) = (self.config.as_ref()?, self.events()?);
        // Upstream's client id is `<kid>-edm`; the suffix keeps the Pods of one edge from disconnecting each other.
        let suffix = if config.mqtt_bare_client_id { String::new() } else { format!("-{instance}") };
        let client_id = format!("{}-edm{suffix}", link.data_key.kid());
        let tls = link.is_encrypted().then(|| Arc::clone(&link.tls));
        let mut settings = MqttSettings::new(link.url.clone(), client_id, tls, link.generation);
        settings.certificate_serial = Some(link.certificate.serial.clone()).filter(|_| link.is_encrypted());
        settings.keep_alive = Duration::from_secs(config.mqtt_keepalive.into());
        settings.clean_start = false;
        settings.window = crate::events::WINDOW;
        Some(settings)
    }
}

/// Reads the folder again and again.
#[derive(Debug)]
pub struct Reloader {
    file: ConfigFile,
    directory: PathBuf,
    config: Part<EdmConfig>,
    config_loaded_at: Option<Timestamp>,
    /// What the configuration was warned of last: told once, not at every reading.
    warnings: Vec<String>,
    endpoint: Option<Endpoint>,
    endpoint_error: Option<String>,
    input_certificate_end: Option<Timestamp>,
    lists: ListParts,
    to_fetch: Option<Arc<WantedList>>,
    /// Nothing of the list that a server has was there yet.
    awaits_list: bool,
    /// Where everything is kept, for as long as the process runs.
    data: Option<PathBuf>,
    identity: Part<Identity>,
    sessions: Option<Wanted>,
}

impl Reloader {
    /// For the configuration file `file`; in the own form identity and lists lie in the same folder. `budget` is charged with lists.
    #[must_use]
    pub fn new(file: ConfigFile, budget: Arc<Budget>) -> Self {
        Self {
            directory: file.folder().to_owned(),
            file,
            config: Part::new("configuration"),
            config_loaded_at: None,
            warnings: Vec::new(),
            endpoint: None,
            endpoint_error: None,
            input_certificate_end: None,
            lists: ListParts::new(budget),
            to_fetch: None,
            awaits_list: false,
            data: None,
            identity: Part::new("identity"),
            sessions: None,
        }
    }

    /// Where everything is kept, whatever a configuration says from now on.
    pub fn keep_below(&mut self, data: &Path) {
        self.data = Some(data.to_owned());
    }

    /// Where the configuration lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where else something lies that the configuration names.
    fn folders(&self) -> BTreeSet<PathBuf> {
        self.config.good().map(|config| watches::folders(config, &self.directory)).unwrap_or_default()
    }

    /// Reads everything; gives what is in force afterwards.
    pub fn read(&mut self) -> InForce {
        // One moment of the mounted folder, not a mixture of two.
        let moment = node::current(&self.directory);
        let config = self.read_config(&in_directory(&self.file.path, &self.directory, &moment));
        if self.config.offer(config) {
            self.config_loaded_at = Some(Timestamp::now());
            self.warn_without_list();
        }
        if let Some(config) = self.config.good().cloned() {
            self.follow(&config, &moment);
        }
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

    /// What the configuration names.
    fn follow(&mut self, config: &EdmConfig, moment: &Path) {
        let watched = self.directory.clone();
        let place = |file: &PathBuf| in_directory(&config.path(&watched, file), &watched, moment);
        self.to_fetch = self.wanted_list(config, moment).map(Arc::new);
        self.awaits_list = self.to_fetch.as_ref().is_some_and(|wanted| !wanted.file.exists());
        self.lists.read(&Files {
            well_known: config.well_known_domains_file.as_ref().map(place),
            fetched: self.to_fetch.as_deref().cloned(),
            ignored_names: config.ignored_question_names_file.as_ref().map(place),
            ignored_clients: config.ignored_client_ips_file.as_ref().map(place),
        });
        self.to_fetch.take_if(|_| config.disabled || self.lists.has_fetched());
        match endpoint(config, moment) {
            Ok(endpoint) => {
                (self.endpoint, self.endpoint_error) = (Some(endpoint), None);
                self.input_certificate_end = certificate_end(config, moment);
            }
            Err(faults) => {
                let error = faults.join("; ");
                if self.endpoint_error.as_ref() != Some(&error) {
                    tracing::error!(error, "the input that is wanted cannot be had, the one before stays");
                }
                self.endpoint_error = Some(error);
            }
        }
        self.follow_identity(identity::load(config, moment).map_err(|faults| faults.join("; ")));
        // Nobody's secret is read without need.
        let secret =
            if settings::writes_sessions(config) { identity::pseudonym_secret(config, moment) } else { Err(String::new()) };
        self.sessions = Some(settings::sessions(config, secret));
    }

    /// What is wrong with the receiver of aggregates costs no events, and the last good link to it stays: to the same place, as the same node.
    fn follow_identity(&mut self, mut newest: Result<Identity, String>) {
        let known = self.identity.good().cloned();
        if let Ok(newest) = &mut newest
            && !newest.aggregates_faults.is_empty()
        {
            if known.as_ref().is_none_or(|known| known.aggregates_faults != newest.aggregates_faults) {
                tracing::error!(error = newest.aggregates_faults.join("; "), "aggregates cannot be sent as it is configured");
            }
            newest.aggregates =
                known.filter(|known| newest.may_keep_aggregates_of(known)).and_then(|known| known.aggregates.clone());
        }
        self.identity.offer(newest);
    }

    /// The list that a server has.
    fn wanted_list(&self, config: &EdmConfig, moment: &Path) -> Option<WantedList> {
        let (url, sha256) = (config.well_known_domains_url.clone()?, config.well_known_domains_sha256.clone()?);
        let data = self.data.as_ref().unwrap_or(&config.data_dir);
        let anchors = config.well_known_domains_ca_file.as_ref().map(|file| {
            let place = in_directory(&config.path(&self.directory, file), &self.directory, moment);
            let read = identity::read(&place, identity::MAX_ANCHORS).map(|text| (*text).clone());
            read.map_err(|error| format!("well-known-domains-ca-file {}: {error}", file.display()))
        });
        let (file, most) = (fetched::place(data, &sha256), fetched::most(config.storage_mib));
        Some(WantedList { url, sha256, anchors, file, most })
    }

    fn dump(&self, config: &EdmConfig) -> Option<Asked> {
        let file = config.path(&self.directory, config.debug_dnstap_filename.as_ref()?);
        (!config.disabled).then_some(Asked { file, addresses: config.debug_dnstap_real_addresses })
    }

    fn warn_without_list(&self) {
        let has_none =
            |config: &Arc<EdmConfig>| config.well_known_domains_file.is_none() && config.well_known_domains_url.is_none();
        if self.config.good().is_some_and(has_none) {
            tracing::warn!(
                "no list of well-known domains is configured: only looptest names make events, and nothing is counted"
            );
        }
    }

    fn refused(&self) -> Refused {
        let is_sending = self.config.good().is_some_and(|config| !config.disabled);
        let identity = self.identity.good();
        Refused {
            config: self.config.error().is_some(),
            input: self.endpoint_error.is_some(),
            lists: self.lists.is_refused(self.awaits_list),
            identity: identity.is_some() && self.identity.error().is_some(),
            aggregates: is_sending && identity.is_some_and(|identity| !identity.aggregates_faults.is_empty()),
        }
    }

    fn in_force(&self) -> InForce {
        let own = [self.config.error(), self.endpoint_error.as_deref()];
        let errors: Vec<&str> = own.into_iter().flatten().chain(self.lists.errors()).collect();
        InForce {
            config: self.config.good().cloned(),
            config_loaded_at: self.config_loaded_at,
            config_error: (!errors.is_empty()).then(|| errors.join("; ")),
            refused: self.refused(),
            endpoint: self.endpoint.clone(),
            input_certificate_end: self.input_certificate_end,
            lists: self.lists.lists(),
            to_fetch: self.to_fetch.clone(),
            dump: self.config.good().and_then(|config| self.dump(config)),
            lacks_what_is_left_out: self.lists.lacks_what_is_left_out(),
            identity: self.identity.good().cloned(),
            identity_error: self.identity.error().map(str::to_owned),
            sessions: self.sessions.clone(),
        }
    }
}

/// Reads whenever a folder changes, until shutdown. `take_up` brings what was read into force, and may take its time.
pub async fn keep_reading(
    mut reloader: Reloader,
    mut watches: Watches,
    take_up: impl Fn(InForce) + Clone + Send + 'static,
    errors: Counter,
    shutdown: Shutdown,
) {
    loop {
        if !watches.follow(&reloader.folders()) {
            tokio::select! {
                () = watches.changed() => {}
                () = shutdown.requested() => return,
            }
        }
        let take_up = take_up.clone();
        // A list takes tens of milliseconds to check, and the disk may hang.
        let read = tokio::task::spawn_blocking(move || {
            let read = reloader.read();
            let is_refused = read.config_error.is_some() || read.identity_error.is_some() || read.refused.aggregates;
            take_up(read);
            (reloader, is_refused)
        });
        match read.await {
            Ok((returned, is_refused)) => {
                reloader = returned;
                errors.inc_by(u64::from(is_refused));
            }
            Err(error) => {
                tracing::error!(error = %error, "reading the configuration failed, it is not watched any more");
                return;
            }
        }
    }
}

/// The same file in the folder of one moment, if it lies in the watched folder at all.
fn in_directory(file: &Path, watched: &Path, current: &Path) -> PathBuf {
    file.strip_prefix(watched).map_or_else(|_| file.to_owned(), |relative| current.join(relative))
}

#[cfg(test)]
mod tests;
