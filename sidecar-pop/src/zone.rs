//! The zone: immutable snapshots, each with its serial.

pub mod build;
pub mod serial;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tapir_wire::config::pop::Action;
use tapir_wire::name::Name;

use crate::names::ZoneName;
pub use serial::Serial;

/// What the zone says, without its serial. Keys are owners without the zone's name: `evil.example.`, `*.evil.example.`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Name of the zone.
    pub zone: ZoneName,
    /// One record an owner.
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
        for (owner, action) in &self.records {
            // Names hold no octet below 0x21 in presentation form, so these cannot be mistaken for a part of one.
            hash.update(b"\n");
            hash.update(owner.as_str());
            hash.update(b" ");
            hash.update(target(*action));
        }
        Fingerprint(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Where the CNAME of an action points (draft-vixie-dnsop-dns-rpz section 3).
#[must_use]
pub const fn target(action: Action) -> &'static str {
    match action {
        Action::Passthru => "rpz-passthru.",
        Action::TcpOnly => "rpz-tcp-only.",
        Action::Nodata => "*.",
        Action::Redirect | Action::Nxdomain => ".",
        Action::Drop => "rpz-drop.",
    }
}
