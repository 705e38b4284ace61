//! `edm.toml`. Key names are those of the upstream minimiser where the thing is the same.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
