//! What the zone looks like and where it goes.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::forms::address_or_map;

/// What the zone says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Soa {
    /// Primary server. Nobody needs it, there are no updates.
    pub mname: String,
    /// Mailbox of whoever is responsible, as a name.
    pub rname: String,
    /// How often resolvers ask in case a NOTIFY was lost.
    pub refresh_seconds: u32,
    /// How often while that fails.
    pub retry_seconds: u32,
    /// How long they keep what cannot be refreshed.
    pub expire_seconds: u32,
    /// How long they keep that a name is not there.
    pub minimum_seconds: u32,
}

impl Default for Soa {
    fn default() -> Self {
        Self {
            mname: "mname.".to_owned(),
            rname: "hostmaster.dnstapir.se.".to_owned(),
            refresh_seconds: 60,
            retry_seconds: 60,
            expire_seconds: 86_400,
            minimum_seconds: 60,
        }
    }
}

/// A resolver that is told of a new serial. Written as an address alone where that is all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyTarget {
    /// Where it listens.
    pub address: SocketAddr,
    /// File with the TSIG key that the message is signed with; it lies beside `pop.yaml`. Format 2.
    pub tsig_key_file: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LongTarget {
    address: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tsig_key_file: Option<String>,
}

impl From<SocketAddr> for NotifyTarget {
    fn from(address: SocketAddr) -> Self {
        Self { address, tsig_key_file: None }
    }
}

impl From<LongTarget> for NotifyTarget {
    fn from(LongTarget { address, tsig_key_file }: LongTarget) -> Self {
        Self { address, tsig_key_file }
    }
}

impl Serialize for NotifyTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { address, tsig_key_file } = self;
        match tsig_key_file {
            None => address.serialize(serializer),
            Some(_) => LongTarget { address: *address, tsig_key_file: tsig_key_file.clone() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for NotifyTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        address_or_map::<_, Self, LongTarget>(deserializer)
    }
}

/// The zone as a file, replaced as a whole at each change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ZoneFile {
    /// Where it is written.
    pub path: PathBuf,
}

/// How far back a resolver may lie and still be told differences only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Journal {
    /// Octets on disk; half of the zone where nothing is said, and 4 MiB at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub octets: Option<u64>,
    /// Serials; 65536 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serials: Option<u32>,
}

/// What may be held at most. Where nothing is said, POP goes by the memory that it may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Octets of live observations in memory; those that end first make room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation_octets: Option<u64>,
    /// Octets of one list as it is fetched or read; a larger one is refused, its last good copy stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_octets: Option<u64>,
    /// Connections for transfers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
}
