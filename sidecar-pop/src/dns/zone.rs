//! What is served: a version of the zone that does not change any more.

use std::sync::Arc;

use hickory_proto::rr::rdata::{NS, SOA};
use hickory_proto::rr::{Name, RData, Record};
use tapir_table::{Codes, Cursor, KeyBuf, Palette, ReadError};

use super::records::{WireName, kind};
use super::render::{Changed, Steps, record};
use crate::zone::Serial;

/// One published version. Readers hold an `Arc` of it and never see two versions mixed.
pub trait Zone: Send + Sync + 'static {
    /// Walks through its names.
    type Cursor: Cursor<Value = Codes> + Send;
    /// Walks through the names of a step.
    type Changes: Cursor<Value = Changed> + Send;
    /// Steps from an older version to this one.
    type Steps: Steps<Cursor = Self::Changes> + Send;

    /// Its own records.
    fn apex(&self) -> Arc<Apex>;

    /// Its number.
    fn serial(&self) -> Serial;

    /// Names in it.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Local data that its codes refer to.
    fn palette(&self) -> Arc<Palette>;

    /// The codes of a name; both silent where it is not in the zone.
    fn find(&self, key: &KeyBuf) -> Result<Codes, ReadError>;

    /// All names.
    fn cursor(&self) -> Self::Cursor;

    /// What changed since the version with this number.
    fn since(&self, serial: Serial) -> Since<Self::Steps>;
}

/// Answer to "what changed?"
#[derive(Clone, Debug)]
pub enum Since<T> {
    /// Nothing: this is the version.
    Current,
    /// This.
    Steps {
        /// Step by step.
        steps: T,
        /// Changes of all steps together.
        changes: u64,
    },
    /// That is not known (any more).
    Unknown,
}

/// The records of the zone's own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apex {
    /// Name of the zone.
    pub name: WireName,
    /// SOA MNAME: nobody needs it, there are no updates.
    pub mname: WireName,
    /// SOA RNAME.
    pub rname: WireName,
    /// Seconds: refresh, retry, expire, minimum.
    pub timers: [u32; 4],
    /// Lifetime of these records.
    pub ttl: u32,
    /// Lifetime of the records of the policy.
    pub record_ttl: u32,
    /// Name servers. They have no addresses: nobody is referred to this zone.
    pub servers: Vec<WireName>,
}

/// SOA timers: ask every minute in case a NOTIFY was lost, keep for a day what cannot be refreshed.
const TIMERS: [u32; 4] = [60, 60, 86_400, 60];
/// Lifetime of the apex.
const TTL: u32 = 3600;

impl Apex {
    /// What upstream's policy processor has too.
    #[must_use]
    pub fn new(name: WireName, record_ttl: u32) -> Self {
        let constant = |wire: &[u8]| WireName::from_wire(wire).unwrap_or(WireName::ROOT);
        // Where the zone's name leaves no room there are no name servers.
        let server = |label: &[u8]| WireName::from_wire(&[label, name.as_bytes()].concat()).ok();
        Self {
            name,
            mname: constant(b"\x05mname\0"),
            rname: constant(b"\x0ahostmaster\x08dnstapir\x02se\0"),
            timers: TIMERS,
            ttl: TTL,
            record_ttl,
            servers: [b"\x03ns1", b"\x03ns2"].into_iter().filter_map(|label| server(label)).collect(),
        }
    }

    /// SOA and NS as records of a transfer, whose zone name stands at octet 12.
    #[must_use]
    pub fn records(&self, serial: Serial) -> Vec<Vec<u8>> {
        const ZONE: [u8; 2] = [0xC0, 12];
        let mut soa = [self.mname.as_bytes(), self.rname.as_bytes(), &serial.0.to_be_bytes()].concat();
        soa.extend(self.timers.iter().flat_map(|timer| timer.to_be_bytes()));
        let servers = self.servers.iter().map(|server| record(ZONE, kind::NS, self.ttl, server.as_bytes()));
        std::iter::once(record(ZONE, kind::SOA, self.ttl, &soa)).chain(servers).collect()
    }

    /// The SOA as hickory knows it.
    #[must_use]
    pub fn soa(&self, serial: Serial) -> Record {
        let [refresh, retry, expire, minimum] = self.timers;
        let timer = |seconds| i32::try_from(seconds).unwrap_or(i32::MAX);
        let (mname, rname) = (name(&self.mname), name(&self.rname));
        let data = SOA::new(mname, rname, serial.0, timer(refresh), timer(retry), timer(expire), minimum);
        Record::from_rdata(name(&self.name), self.ttl, RData::SOA(data))
    }

    /// The name servers as hickory knows them.
    #[must_use]
    pub fn name_servers(&self) -> Vec<Record> {
        let record = |server| Record::from_rdata(name(&self.name), self.ttl, RData::NS(NS(name(server))));
        self.servers.iter().map(record).collect()
    }
}

/// The name in hickory's type.
#[must_use]
pub fn name(wire: &WireName) -> Name {
    let mut labels = Vec::new();
    let mut rest = wire.as_bytes();
    while let Some((length, tail)) = rest.split_first()
        && *length > 0
        && let Some((label, tail)) = tail.split_at_checked(usize::from(*length))
    {
        labels.push(label);
        rest = tail;
    }
    // A `WireName` has labels and a length that fit.
    Name::from_labels(labels).unwrap_or_default()
}
