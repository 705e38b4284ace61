//! Node material as it lies in an identity Secret and in the sidecars' configuration folders, and the fixed places inside a Pod.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Certificate chain of the node, leaf first (PEM).
pub const TLS_CERTIFICATE: &str = "tls.crt";
/// Private key of the certificate (PKCS#8 PEM).
pub const TLS_KEY: &str = "tls.key";
/// Trust anchors for the broker (PEM, one or more).
pub const CA_CERTIFICATE: &str = "ca.crt";
/// Private data key of the node (JWK).
pub const DATA_KEY: &str = "datakey.jwk";
/// Public keys that may sign observations (JWK Set).
pub const TRUSTED_KEYS: &str = "trusted-jwks.json";
/// Secret for pseudonyms in session files.
pub const CRYPTOPAN_KEY: &str = "cryptopan.key";
/// [`NodeDocument`] as JSON.
pub const NODE_DOCUMENT: &str = "node.json";

/// Fixed places inside a Pod. They are constants so that a resolver's configuration can name them before any sidecar exists.
pub mod paths {
    /// Folder shared by resolver and EDM.
    pub const RUN_DIRECTORY: &str = "/run/tapir";
    /// Where the resolver sends dnstap.
    pub const DNSTAP_SOCKET: &str = "/run/tapir/dnstap.sock";
    /// Configuration and identity of EDM.
    pub const EDM_CONFIG_DIRECTORY: &str = "/etc/tapir/edm";
    /// Configuration file of EDM.
    pub const EDM_CONFIG_FILE: &str = "edm.toml";
    /// State of EDM.
    pub const EDM_STATE_DIRECTORY: &str = "/var/lib/tapir/edm";
    /// Well-known domains beside the configuration of EDM.
    pub const WELL_KNOWN_DOMAINS_FILE: &str = "well-known-domains.dawg";
    /// Configuration and identity of POP.
    pub const POP_CONFIG_DIRECTORY: &str = "/etc/tapir/pop";
    /// Configuration file of POP.
    pub const POP_CONFIG_FILE: &str = "pop.yaml";
    /// State of POP.
    pub const POP_STATE_DIRECTORY: &str = "/var/lib/tapir/pop";
    /// Where resolvers fetch the RPZ.
    pub const RPZ_LISTEN: &str = "127.0.0.1:5359";
    /// HTTP of EDM: `/livez`, `/readyz`, `/metrics`, `/status`.
    pub const EDM_HTTP_PORT: u16 = 9841;
    /// HTTP of POP: the same.
    pub const POP_HTTP_PORT: u16 = 9842;
}

/// What a node knows of Core besides keys: `node.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeDocument {
    /// Version of this document, [`NodeDocument::FORMAT`].
    pub format: u32,
    /// Node name, the `kid` of the data key and the CN of the certificate.
    pub name: String,
    /// `mqtts://host:port`.
    pub mqtt_broker: String,
    /// Topics by purpose, as Core hands them out; `{EdgeId}` stands for the node name.
    #[serde(default)]
    pub mqtt_topics: BTreeMap<String, String>,
    /// Base URL of nodeman.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodeman_url: Option<String>,
    /// Base URL of the aggregate receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggrec_url: Option<String>,
    /// When the certificate beside this is to be renewed; absent where nobody renews it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Renewal>,
}

/// When a certificate is to be renewed. Whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Renewal {
    /// From here on it is tried.
    pub due: Timestamp,
    /// From here on it is late, which somebody should know.
    pub overdue: Timestamp,
}

impl NodeDocument {
    /// The version that this build writes.
    pub const FORMAT: u32 = 1;
    /// Topic of observations when Core names none.
    pub const DEFAULT_OBSERVATIONS_TOPIC: &str = "observations/down/tapir-pop";

    /// Topic on which Core sends observations.
    #[must_use]
    pub fn observations_topic(&self) -> String {
        self.topic("observations").unwrap_or_else(|| Self::DEFAULT_OBSERVATIONS_TOPIC.to_owned())
    }

    /// The topic that Core names for a purpose: `observations`, `config`, `status`.
    #[must_use]
    pub fn topic(&self, purpose: &str) -> Option<String> {
        self.mqtt_topics.get(purpose).map(|topic| self.of_this_node(topic))
    }

    /// A topic with the name of the node where it belongs.
    #[must_use]
    pub fn of_this_node(&self, topic: &str) -> String {
        topic.replace("{EdgeId}", &self.name)
    }
}
