//! The zone: immutable snapshots, each with its serial.

pub mod build;
mod local;
pub mod serial;

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tapir_wire::config::pop::PopConfig;
use tapir_wire::name::Name;

use crate::names::ZoneName;
use crate::policy::Action;
pub use local::{Data, LocalData, LocalIndex};
pub use serial::Serial;

/// What the zone says, without its serial. Keys are owners without the zone's name: `evil.example.`, `*.evil.example.`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Name of the zone.
    pub zone: ZoneName,
    /// Lifetime of the records of the policy, in seconds.
    pub record_ttl: u32,
    /// What redirects answer with.
    pub locals: Arc<[LocalData]>,
    /// One action an owner.
    pub records: BTreeMap<Name, Action>,
}

/// One published version. Readers hold an `Arc` of it and never see two versions mixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number.
    pub serial: Serial,
    /// What it says.
    pub content: Content,
}

/// Stands for a content across restarts: equal contents have equal fingerprints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub String);

impl Content {
    /// The fingerprint of this content.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update(self.zone.name().as_str());
        // The usual lifetime is not written down: fingerprints of before there was another stay what they were.
        if self.record_ttl != PopConfig::RECORD_TTL_SECONDS {
            hash.update(format!(" {}", self.record_ttl));
        }
        for (owner, action) in &self.records {
            // Names hold no octet below 0x21 in presentation form, so these cannot be mistaken for a part of one.
            hash.update(b"\n");
            hash.update(owner.as_str());
            for data in self.data(*action) {
                hash.update(b" ");
                match data {
                    Data::Special(target) => hash.update(target),
                    Data::Name(name) => hash.update(name.as_str()),
                    Data::Address(address) => hash.update(address.to_string()),
                }
            }
        }
        Fingerprint(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
