//! With whom POP speaks beside resolvers and sources.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The edge's other POPs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peers {
    /// Name that leads to the addresses of all of them.
    pub service: String,
    /// Where each listens.
    #[serde(default = "peers_port")]
    pub port: u16,
}

const fn peers_port() -> u16 {
    9843
}

/// Settings that Core sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GlobalConfig {
    /// Whether they count.
    pub enabled: bool,
    /// Where they come; where this says what it says by itself, the topic of the node material counts.
    pub topic: String,
    /// Topics that they may name begin like this: whoever writes them may not have POP listen anywhere.
    pub topic_prefix: String,
}

impl GlobalConfig {
    /// Where settings come if nothing else is said.
    pub const TOPIC: &str = "config/down/tapir-pop";
    /// Where Core's observations are.
    pub const TOPIC_PREFIX: &str = "observations/down/";
}

impl Default for GlobalConfig {
    fn default() -> Self {
        Self { enabled: false, topic: Self::TOPIC.to_owned(), topic_prefix: Self::TOPIC_PREFIX.to_owned() }
    }
}

/// Counters and events to Core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Telemetry {
    /// Whether they are sent.
    pub enabled: bool,
    /// Where they go; `{EdgeId}` stands for the name of the node. Where this says what it says by itself, the topic of the node
    /// material counts.
    pub topic: String,
}

impl Telemetry {
    /// Where they go if nothing else is said.
    pub const TOPIC: &str = "status/up/{EdgeId}/tapir-pop";
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { enabled: false, topic: Self::TOPIC.to_owned() }
    }
}

/// For `tapir-pop ctl`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Admin {
    /// The socket; `admin.sock` in the data folder where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
}

/// What upstream's tool talks to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Api {
    /// Where it is served.
    pub listen: SocketAddr,
    /// File with the key that callers must show; it lies beside `pop.yaml`.
    pub key_file: String,
}
