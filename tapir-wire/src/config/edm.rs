//! `edm.toml` in its two forms. Key names are those of the upstream minimiser where the thing is the same.
//!
//! The *own* form has `format = N`; the operator renders it, names of files in it are relative to its folder, and the identity lies in that
//! folder as [`crate::node`] says. A file without `format` is *upstream's* (`spec/edm.md` 2.3): all of its keys are taken, names of files are
//! relative to the working directory, and key, certificate and CA files are named one by one. Both give one [`EdmConfig`].

mod check;
mod overlay;
mod secret;
mod server_url;
mod table;
#[cfg(test)]
mod tests;
mod upstream;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::keys::{Keys, line_and_column};
use super::{ConfigError, Parsed, Place, Problem, judge_unknown};
use crate::node::paths;
pub use overlay::{Overlay, OverlayError};
pub use secret::Secret;
pub use server_url::{ServerUrl, ServerUrlError};
pub use table::{EdmKey, Kind, Origin, TABLE};

/// Which form a file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// With `format`.
    #[default]
    Own,
    /// Without.
    Upstream,
}

/// Configuration of EDM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct EdmConfig {
    /// Which form it was read from.
    #[serde(skip)]
    pub form: Form,
    /// Version of the own form, [`EdmConfig::FORMAT`] at most; [`EdmConfig::to_toml`] writes [`EdmConfig::needed_format`].
    pub format: u32,
    /// Opaque mark of who rendered what; comes back in `/status`.
    pub revision: String,
    /// The edge was offboarded: send nothing to Core.
    pub disabled: bool,
    /// Unix socket for dnstap. Of the three inputs exactly one is there, the others are empty.
    pub input_unix: PathBuf,
    /// Its permissions; see [`Self::socket_mode`]. Format 2, as everything below but what is marked.
    pub input_unix_mode: String,
    /// `host:port` for dnstap over TCP.
    pub input_tcp: String,
    /// `host:port` for dnstap over TLS 1.3.
    pub input_tls: String,
    /// Certificate chain of the TLS input.
    pub input_tls_cert_file: Option<PathBuf>,
    /// Key of the TLS input.
    pub input_tls_key_file: Option<PathBuf>,
    /// CA of those who may connect over TLS; without it anybody may.
    pub input_tls_client_ca_file: Option<PathBuf>,
    /// dnstap connections at once.
    pub input_max_connections: usize,
    /// Silence after which a dnstap connection is closed; 0: never.
    pub input_idle_seconds: u32,
    /// Types of dnstap messages that count, or [`Self::ALL_RESPONSES`] alone.
    pub counted_types: Vec<String>,
    /// Count one response only for the same client, port, id and name within a second.
    pub deduplicate_responses: bool,
    /// Well-known domains. Without them only looptest names make events. Format 1.
    pub well_known_domains_file: Option<PathBuf>,
    /// In place of that file: where a server has it.
    pub well_known_domains_url: Option<String>,
    /// SHA-256 of what the server has.
    pub well_known_domains_sha256: Option<String>,
    /// CA of that server; without it those of the system.
    pub well_known_domains_ca_file: Option<PathBuf>,
    /// Clients that are left out: one prefix a line.
    pub ignored_client_ips_file: Option<PathBuf>,
    /// Names that are left out: DAWG file, or text file if its name ends in `.txt`.
    pub ignored_question_names_file: Option<PathBuf>,
    /// Keep aggregates on disk and send none.
    pub disable_histogram_sender: bool,
    /// Clients of a row up to which its sketch is left out.
    pub histogram_hll_explicit_threshold: u32,
    /// Leave every sketch out.
    pub histogram_counts_only: bool,
    /// Serve `POST /debug/rotate-parquet`.
    pub enable_manual_parquet_rotation: bool,
    /// Base URL of Core's aggregate receiver. Own form: in place of the one that Core told the node.
    pub http_url: Option<String>,
    /// CA of the aggregate receiver; without it those of the system.
    pub http_ca_file: Option<PathBuf>,
    /// Upstream's form only: key that signs aggregates.
    pub http_signing_key_file: Option<PathBuf>,
    /// Upstream's form only: key of the client certificate for HTTPS.
    pub http_client_key_file: Option<PathBuf>,
    /// Upstream's form only: client certificate for HTTPS.
    pub http_client_cert_file: Option<PathBuf>,
    /// Make no events.
    pub disable_mqtt: bool,
    /// The broker. Own form: in place of the one that Core told the node.
    pub mqtt_server: Option<String>,
    /// Upstream's form only: CA of the broker; without it those of the system.
    pub mqtt_ca_file: Option<PathBuf>,
    /// Upstream's form only: key that signs events.
    pub mqtt_signing_key_file: Option<PathBuf>,
    /// Upstream's form only: key of the client certificate for MQTT.
    pub mqtt_client_key_file: Option<PathBuf>,
    /// Upstream's form only: client certificate for MQTT.
    pub mqtt_client_cert_file: Option<PathBuf>,
    /// Keep-alive of the MQTT connection in seconds. Format 1.
    pub mqtt_keepalive: u16,
    /// 1: repeated until the broker has them; 0: sent once.
    pub mqtt_qos: u8,
    /// Client id without the suffix of this instance.
    pub mqtt_bare_client_id: bool,
    /// Events in memory that wait to be written. Format 1.
    pub newqname_buffer: usize,
    /// Events a second at most. None: what the program thinks best.
    pub newqname_per_second: Option<u32>,
    /// The same of one registrable domain.
    pub newqname_per_domain: Option<u32>,
    /// Events a second sent at most when many wait.
    pub newqname_sent_per_second: Option<u32>,
    /// Events for names in reverse zones too.
    pub newqname_reverse_zones: bool,
    /// Events for names below `home.arpa` too (RFC 8375).
    pub newqname_home_arpa: bool,
    /// Events for names below `localhost` too.
    pub newqname_localhost: bool,
    /// Events for names below `local` too.
    pub newqname_local: bool,
    /// Events for names in other zones of special use, and of a single label, too.
    pub newqname_special_use: bool,
    /// Events for names too that have the asking client's address in them.
    pub newqname_client_addresses: bool,
    /// Names of events in lower case.
    pub newqname_lower_case: bool,
    /// Names remembered as seen at most. Format 1.
    pub qname_seen_entries: usize,
    /// Write no session files.
    pub disable_session_files: bool,
    /// Leave EDNS client subnets in session files.
    pub session_keep_ecs: bool,
    /// Leave EDNS cookies in session files.
    pub session_keep_cookies: bool,
    /// Secret of the pseudonyms in session files. Own form: [`crate::node::CRYPTOPAN_KEY`] in the folder, unless command line or environment say it.
    #[serde(skip_serializing)]
    pub cryptopan_key: Option<Secret>,
    /// Its salt.
    pub cryptopan_key_salt: String,
    /// Pseudonyms remembered; 0: none.
    pub cryptopan_address_entries: i64,
    /// Folder of everything that EDM keeps. Format 1.
    pub data_dir: PathBuf,
    /// Bound of everything in that folder in MiB.
    pub storage_mib: u32,
    /// Where `/livez`, `/readyz`, `/metrics` and `/status` are served. Format 1.
    pub http_listen: SocketAddr,
    /// Tell Core states and counters.
    pub telemetry: bool,
    /// Log more.
    pub debug: bool,
    /// Every dnstap frame is written there, without addresses.
    pub debug_dnstap_filename: Option<PathBuf>,
    /// Addresses too.
    pub debug_dnstap_real_addresses: bool,
}

impl Default for EdmConfig {
    /// Of the own form, less the input.
    fn default() -> Self {
        Self {
            form: Form::Own,
            format: 1,
            revision: String::new(),
            disabled: false,
            input_unix: PathBuf::new(),
            input_unix_mode: "0666".to_owned(),
            input_tcp: String::new(),
            input_tls: String::new(),
            input_tls_cert_file: None,
            input_tls_key_file: None,
            input_tls_client_ca_file: None,
            input_max_connections: 64,
            input_idle_seconds: 0,
            counted_types: vec!["CLIENT_RESPONSE".to_owned()],
            deduplicate_responses: false,
            well_known_domains_file: None,
            well_known_domains_url: None,
            well_known_domains_sha256: None,
            well_known_domains_ca_file: None,
            ignored_client_ips_file: None,
            ignored_question_names_file: None,
            disable_histogram_sender: false,
            histogram_hll_explicit_threshold: 20,
            histogram_counts_only: false,
            enable_manual_parquet_rotation: false,
            http_url: None,
            http_ca_file: None,
            http_signing_key_file: None,
            http_client_key_file: None,
            http_client_cert_file: None,
            disable_mqtt: false,
            mqtt_server: None,
            mqtt_ca_file: None,
            mqtt_signing_key_file: None,
            mqtt_client_key_file: None,
            mqtt_client_cert_file: None,
            mqtt_keepalive: 30,
            mqtt_qos: 1,
            mqtt_bare_client_id: false,
            newqname_buffer: 1000,
            newqname_per_second: None,
            newqname_per_domain: None,
            newqname_sent_per_second: None,
            newqname_reverse_zones: false,
            newqname_home_arpa: false,
            newqname_localhost: false,
            newqname_local: false,
            newqname_special_use: false,
            newqname_client_addresses: false,
            newqname_lower_case: false,
            qname_seen_entries: 100_000,
            disable_session_files: true,
            session_keep_ecs: false,
            session_keep_cookies: false,
            cryptopan_key: None,
            cryptopan_key_salt: "edm-kdf-salt-val".to_owned(),
            cryptopan_address_entries: 100_000,
            data_dir: paths::EDM_STATE_DIRECTORY.into(),
            storage_mib: 2048,
            http_listen: SocketAddr::from(([0u16; 8], paths::EDM_HTTP_PORT)),
            telemetry: false,
            debug: false,
            debug_dnstap_filename: None,
            debug_dnstap_real_addresses: false,
        }
    }
}

impl EdmConfig {
    /// The newest version of the own form that this build fully knows.
    pub const FORMAT: u32 = 2;
    /// Every response, numbers of no schema included, as upstream counts.
    pub const ALL_RESPONSES: &str = "ALL_RESPONSES";

    /// Keys of format 1.
    const FIRST: [&str; 10] = [
        "format",
        "revision",
        "disabled",
        "input-unix",
        "http-listen",
        "data-dir",
        "well-known-domains-file",
        "mqtt-keepalive",
        "newqname-buffer",
        "qname-seen-entries",
    ];

    /// Reads and checks the text of `edm.toml`.
    ///
    /// # Errors
    /// When it says anything that cannot be.
    pub fn parse(text: &str) -> Result<Parsed<Self>, ConfigError> {
        Self::parse_over(text, &Overlay::default())
    }

    /// The same with what command line and environment say laid over it.
    ///
    /// # Errors
    /// When it says anything that cannot be, or they do.
    pub fn parse_over(text: &str, overlay: &Overlay) -> Result<Parsed<Self>, ConfigError> {
        let keys = Keys::of_toml(text);
        let unreadable = |error: toml::de::Error| unreadable(&error, text, &keys);
        let file: toml::Table = toml::from_str(text).map_err(unreadable)?;
        let form = Self::form_of(&file);
        let mut warnings = Vec::new();
        if form == Form::Own {
            #[derive(Deserialize)]
            struct Format {
                format: u32,
            }
            let Format { format } = toml::from_str(text).map_err(unreadable)?;
            warnings = judge_unknown(keys.unknown(&known(form)), format, Self::FORMAT)?;
        } else {
            judge_unknown(keys.unknown(&known(form)), 0, 0)?;
            toml::from_str::<upstream::Replaced>(text).map_err(unreadable)?;
        }
        // By itself first: what is wrong in the file has a line.
        toml::from_str::<Self>(text).map_err(unreadable)?;

        // What is not known here must not be in force either.
        let mut said: toml::Table = file.into_iter().filter(|(key, _)| known(form).contains(&key.as_str())).collect();
        said.extend(overlay.table().clone());
        warnings.extend(upstream::replaced(&said));
        if form == Form::Upstream {
            warnings.extend(upstream::departures(&said));
        }
        let mut problems = if form == Form::Own { foreign(overlay) } else { Vec::new() };
        let config = Self::of_table(said, form).map_err(|error| elsewhere(&error))?;
        warnings.extend(config.oddities());
        problems.extend(config.problems());
        if problems.is_empty() {
            return Ok(Parsed { config, warnings });
        }
        let problems = problems.into_iter().map(|problem| problem.at_line_of(&keys)).collect();
        Err(if form == Form::Own { ConfigError::Invalid(problems) } else { ConfigError::InvalidLines(problems) })
    }

    /// The form of a text, if it is TOML at all.
    #[must_use]
    pub fn form_in(text: &str) -> Option<Form> {
        toml::from_str::<toml::Table>(text).ok().map(|table| Self::form_of(&table))
    }

    fn form_of(file: &toml::Table) -> Form {
        if file.contains_key("format") { Form::Own } else { Form::Upstream }
    }

    fn of_table(mut said: toml::Table, form: Form) -> Result<Self, toml::de::Error> {
        if form == Form::Upstream {
            let has_url = said.contains_key("well-known-domains-url");
            for (key, value) in upstream::DEFAULTS.into_iter().filter(|(key, _)| !has_url || *key != "well-known-domains-file") {
                said.entry(key).or_insert_with(|| value.into());
            }
        }
        let mut config = Self { form, ..said.try_into()? };
        let given = !config.input_tcp.is_empty() || !config.input_tls.is_empty();
        if form == Form::Own && !given && config.input_unix.as_os_str().is_empty() {
            config.input_unix = paths::DNSTAP_SOCKET.into();
        }
        if form == Form::Upstream {
            config.newqname_buffer = config.newqname_buffer.max(1);
            config.forget_empty();
        }
        Ok(config)
    }

    /// Upstream's empty text is a key that is not set.
    fn forget_empty(&mut self) {
        let files = [
            &mut self.input_tls_cert_file,
            &mut self.input_tls_key_file,
            &mut self.input_tls_client_ca_file,
            &mut self.well_known_domains_file,
            &mut self.well_known_domains_ca_file,
            &mut self.ignored_client_ips_file,
            &mut self.ignored_question_names_file,
            &mut self.http_ca_file,
            &mut self.http_signing_key_file,
            &mut self.http_client_key_file,
            &mut self.http_client_cert_file,
            &mut self.mqtt_ca_file,
            &mut self.mqtt_signing_key_file,
            &mut self.mqtt_client_key_file,
            &mut self.mqtt_client_cert_file,
            &mut self.debug_dnstap_filename,
        ];
        for file in files {
            file.take_if(|file| file.as_os_str().is_empty());
        }
        self.mqtt_server.take_if(|server| server.is_empty());
        self.http_url.take_if(|url| url.is_empty());
        self.well_known_domains_url.take_if(|url| url.is_empty());
    }

    /// What is allowed and should be known to somebody.
    fn oddities(&self) -> Vec<String> {
        let mut said = Vec::new();
        let server = self.mqtt_server.as_deref().and_then(|server| ServerUrl::parse(server).ok());
        if server.is_some_and(|server| server.is_plain()) && !self.disable_mqtt {
            said.push("mqtt-server is not encrypted: events go in the clear, and no certificate is shown".to_owned());
        }
        if self.http_url.as_deref().is_some_and(|url| url.starts_with("http://")) && !self.disable_histogram_sender {
            said.push("http-url is not encrypted: aggregates go in the clear, and no certificate is shown".to_owned());
        }
        // Argon2 asks for so many (RFC 9106 section 3.1).
        if !self.disable_session_files && self.cryptopan_key_salt.len() < 8 {
            said.push("cryptopan-key-salt is shorter than 8 octets: no session files are written".to_owned());
        }
        if self.debug_dnstap_filename.is_some() {
            said.push(if self.debug_dnstap_real_addresses {
                "debug-dnstap-filename: every dnstap frame is written there, WITH THE ADDRESSES OF CLIENTS".to_owned()
            } else {
                "debug-dnstap-filename: every dnstap frame is written there, with the names that were asked for and without addresses"
                    .to_owned()
            });
        }
        said
    }

    /// The least version of the own form that has everything that this says.
    #[must_use]
    pub fn needed_format(&self) -> u32 {
        if self.said().keys().all(|key| Self::FIRST.contains(&key.as_str())) { 1 } else { 2 }
    }

    /// Text of `edm.toml` in the own form: what is not the default.
    ///
    /// # Errors
    /// When a path is not text.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        let written = Self { format: self.needed_format(), ..self.clone() };
        toml::Table::try_from(&written).map_err(|error| ConfigError::Unwritable(error.to_string()))?;
        let said = written.said();
        let line = |key: &EdmKey| said.get(key.name).map(|value| format!("{} = {value}\n", key.name));
        Ok(TABLE.iter().filter_map(line).collect())
    }

    /// What is not the default, and the operator's mark.
    fn said(&self) -> toml::Table {
        let table = |config: &Self| toml::Table::try_from(config).unwrap_or_default();
        let usual = table(&Self { input_unix: paths::DNSTAP_SOCKET.into(), ..Self::default() });
        let marks = ["format", "revision", "disabled"];
        table(self).into_iter().filter(|(key, value)| marks.contains(&key.as_str()) || usual.get(key) != Some(value)).collect()
    }

    /// Rules that types cannot express.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        check::problems(self)
    }

    /// Permissions of the unix socket.
    #[must_use]
    pub fn socket_mode(&self) -> Option<u32> {
        let digits = !self.input_unix_mode.is_empty() && self.input_unix_mode.bytes().all(|octet| octet.is_ascii_digit());
        u32::from_str_radix(&self.input_unix_mode, 8).ok().filter(|mode| digits && *mode <= 0o777)
    }

    /// Where a file of this configuration lies, if the configuration lies in `folder`.
    #[must_use]
    pub fn path(&self, folder: &Path, file: &Path) -> PathBuf {
        match self.form {
            Form::Own => folder.join(file),
            Form::Upstream => file.to_owned(),
        }
    }
}

/// Keys that may stand in a file of a form.
fn known(form: Form) -> Vec<&'static str> {
    let allowed = |key: &&EdmKey| match key.origin {
        Origin::Shared | Origin::Own => true,
        Origin::Rendered => form == Form::Own,
        Origin::Upstream | Origin::Replaced => form == Form::Upstream,
    };
    TABLE.iter().filter(allowed).map(|key| key.name).collect()
}

/// What command line and environment must not say of an own file: the identity lies in its folder. A secret may come this way.
fn foreign(overlay: &Overlay) -> Vec<Problem> {
    let keys = TABLE.iter().filter(|key| key.origin == Origin::Upstream && key.name != "cryptopan-key");
    let given = keys.filter(|key| overlay.table().contains_key(key.name));
    let remedy = "the identity lies in the folder of a file with `format`: take the flag or variable away";
    given.map(|key| Problem::new(key.name, "belongs to upstream's form", remedy)).collect()
}

/// For what was not said in the file: the error itself names the key.
fn elsewhere(error: &toml::de::Error) -> ConfigError {
    ConfigError::Unreadable { place: Place::default(), message: error.to_string().trim().replace('\n', " ") }
}

fn unreadable(error: &toml::de::Error, text: &str, keys: &Keys) -> ConfigError {
    let place = error.span().map_or_else(Place::default, |span| {
        let (line, column) = line_and_column(text, span.start);
        let key = keys.at(line, column).filter(|key| key.line == line).map(|key| key.path.clone());
        Place { line: Some(line), key }
    });
    ConfigError::Unreadable { place, message: error.message().to_owned() }
}
