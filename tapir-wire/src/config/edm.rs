//! `edm.toml`. Key names are those of the upstream minimiser where the thing is the same.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::keys::{Keys, line_and_column};
use super::{ConfigError, Parsed, Place, Problem, judge_problems, judge_unknown};
use crate::node::paths;

/// Configuration of EDM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EdmConfig {
    /// Version of this file, [`EdmConfig::FORMAT`].
    pub format: u32,
    /// Opaque mark of who rendered what; comes back in `/status`.
    #[serde(default)]
    pub revision: String,
    /// The edge was offboarded: send nothing to Core.
    #[serde(default)]
    pub disabled: bool,
    /// Unix socket for dnstap.
    #[serde(default = "default_input_unix")]
    pub input_unix: PathBuf,
    /// Where `/livez`, `/readyz`, `/metrics` and `/status` are served.
    #[serde(default = "default_http_listen")]
    pub http_listen: SocketAddr,
    /// Folder of everything that EDM keeps.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// DAWG file of well-known domains. Without one only looptest names make events. Relative to the folder of this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub well_known_domains_file: Option<PathBuf>,
    /// Keep-alive of the MQTT connection in seconds.
    #[serde(default = "default_mqtt_keepalive")]
    pub mqtt_keepalive: u16,
    /// Events that wait for the broker at most; the oldest is dropped and counted beyond that.
    #[serde(default = "default_newqname_buffer")]
    pub newqname_buffer: usize,
    /// Names remembered as seen at most.
    #[serde(default = "default_qname_seen_entries")]
    pub qname_seen_entries: usize,
}

impl EdmConfig {
    /// The version that this build writes and fully knows.
    pub const FORMAT: u32 = 1;

    /// Every key of [`Self::FORMAT`].
    const KEYS: [&str; 10] = [
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
    pub fn parse(text: &str) -> Result<Parsed<Self>, ConfigError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let keys = Keys::of_toml(text);
        let unreadable = |error: toml::de::Error| unreadable(&error, text, &keys);
        let Format { format } = toml::from_str(text).map_err(unreadable)?;
        let warnings = judge_unknown(keys.unknown(&Self::KEYS), format, Self::FORMAT)?;
        let config: Self = toml::from_str(text).map_err(unreadable)?;
        judge_problems(config.problems(), &keys)?;
        Ok(Parsed { config, warnings })
    }

    /// Text of `edm.toml`.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|error| ConfigError::Unwritable(error.to_string()))
    }

    /// Rules that types cannot express.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, field: &str, problem: &str, remedy: &str| {
            if !holds {
                problems.push(Problem::new(field, problem, remedy));
            }
        };
        check(self.format > 0, "format", "is 0", "the first format is 1");
        let socket = &self.input_unix;
        check(socket.is_absolute(), "input-unix", "is not an absolute path", "write it from the root, as /run/tapir/dnstap.sock");
        // sun_path of Linux has 108 octets with the final zero.
        check(socket.as_os_str().len() < 108, "input-unix", "is too long for a socket", "use at most 107 octets");
        check(
            self.data_dir.is_absolute(),
            "data-dir",
            "is not an absolute path",
            "write it from the root, as /var/lib/tapir/edm",
        );
        let list = self.well_known_domains_file.as_ref();
        check(
            list.is_none_or(|path| !path.as_os_str().is_empty()),
            "well-known-domains-file",
            "is empty",
            "name a file or leave the key out",
        );
        // Without keep-alive a connection that died silently is never noticed.
        check((5..=3600).contains(&self.mqtt_keepalive), "mqtt-keepalive", "is out of range", "use 5 to 3600 seconds");
        check((1..=1_000_000).contains(&self.newqname_buffer), "newqname-buffer", "is out of range", "use 1 to 1000000 events");
        check(
            (1..=10_000_000).contains(&self.qname_seen_entries),
            "qname-seen-entries",
            "is out of range",
            "use 1 to 10000000 names",
        );
        problems
    }
}

fn unreadable(error: &toml::de::Error, text: &str, keys: &Keys) -> ConfigError {
    let place = error.span().map_or_else(Place::default, |span| {
        let (line, column) = line_and_column(text, span.start);
        let key = keys.at(line, column).filter(|key| key.line == line).map(|key| key.path.clone());
        Place { line: Some(line), key }
    });
    // A missing key is reported for the whole file; its first line would mislead.
    let missing = error.message().starts_with("missing field");
    ConfigError::Unreadable { place: if missing { Place::default() } else { place }, message: error.message().to_owned() }
}

fn default_input_unix() -> PathBuf {
    paths::DNSTAP_SOCKET.into()
}

fn default_http_listen() -> SocketAddr {
    SocketAddr::from(([0u16; 8], paths::EDM_HTTP_PORT))
}

fn default_data_dir() -> PathBuf {
    paths::EDM_STATE_DIRECTORY.into()
}

const fn default_mqtt_keepalive() -> u16 {
    30
}

const fn default_newqname_buffer() -> usize {
    1000
}

const fn default_qname_seen_entries() -> usize {
    100_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> EdmConfig {
        let mut config = EdmConfig::parse("format = 1").unwrap().config;
        config.well_known_domains_file = Some("list.dawg".into());
        config
    }

    fn check_error(text: &str, expected: &str) {
        assert_eq!(EdmConfig::parse(text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn defaults_are_the_fixed_places_of_a_pod() {
        let config = EdmConfig::parse("format = 1").unwrap().config;
        assert_eq!(config.input_unix.to_str(), Some(paths::DNSTAP_SOCKET));
        assert_eq!(config.http_listen.to_string(), "[::]:9841");
        assert_eq!(config.well_known_domains_file, None);
        assert_eq!(config.problems(), []);
    }

    #[test]
    fn known_keys_are_those_that_are_written() {
        let text = full().to_toml().unwrap();
        let mut written: Vec<_> = text.lines().map(|line| line.split(" = ").next().unwrap()).collect();
        let mut known = EdmConfig::KEYS.to_vec();
        written.sort_unstable();
        known.sort_unstable();
        assert_eq!(written, known);
        assert_eq!(EdmConfig::parse(&text).unwrap(), Parsed { config: full(), warnings: vec![] });
    }

    #[test]
    fn errors_name_key_and_line() {
        check_error("", "missing field `format`");
        check_error("format = 1\nmqtt-keepalive = -1\n", "line 2, key mqtt-keepalive: invalid value: integer `-1`, expected u16");
        check_error("format = 1\n\nhttp-listen = 'x'", "line 3, key http-listen: invalid socket address syntax");
        check_error("format = 1\nmqtt-keepalive = 4", "line 2, mqtt-keepalive is out of range: use 5 to 3600 seconds");
        check_error("format = 0", "line 1, format is 0: the first format is 1");
        assert!(EdmConfig::parse("format = 1\nx = [").unwrap_err().to_string().starts_with("line 2"));
    }

    #[test]
    fn unknown_keys_are_errors_in_the_own_format_only() {
        check_error(
            "format = 1\nmqtt-keepalife = 30\n[debug]\nx = 1",
            "unknown key mqtt-keepalife (line 2); debug (line 3); check the spelling or remove it",
        );
        let newer = EdmConfig::parse("format = 2\nsessions = true\nmqtt-keepalive = 31").unwrap();
        assert_eq!(newer.config.mqtt_keepalive, 31);
        assert_eq!(newer.warnings, ["key sessions (line 2) belongs to format 2 and is ignored: this build knows format 1"]);
    }
}
