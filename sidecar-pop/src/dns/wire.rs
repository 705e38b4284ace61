//! Records of the zone as bytes.
//!
//! Owners are compressed to their own labels and a pointer to the zone's name, which stands once in each message, at its
//! first record. A record of the zone takes then 14 octets plus its name and target.

use std::net::IpAddr;

use tapir_wire::name::Name;

use crate::zone::{Data, Serial};

/// Lifetime of the apex.
pub const TTL: u32 = 3600;
/// SOA timers: ask every minute in case a NOTIFY was lost, keep for a day what cannot be refreshed.
pub const REFRESH: u32 = 60;
/// See [`REFRESH`].
pub const RETRY: u32 = 60;
/// See [`REFRESH`].
pub const EXPIRE: u32 = 86_400;
/// See [`REFRESH`].
pub const MINIMUM: u32 = 60;
/// SOA MNAME: nobody needs it, there are no updates.
pub const MNAME: &str = "mname.";
/// SOA RNAME.
pub const RNAME: &str = "hostmaster.dnstapir.se.";
/// Labels of the name servers below the zone. They have no addresses: nobody is referred to this zone.
pub const NAME_SERVERS: [&str; 2] = ["ns1", "ns2"];

const CLASS_IN: u16 = 1;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const TYPE_NS: u16 = 2;
const TYPE_CNAME: u16 = 5;
const TYPE_SOA: u16 = 6;
const HEADER: usize = 12;
/// QR and AA.
const FLAGS: u16 = 0x8400;

/// One message under construction.
#[derive(Debug)]
pub struct Writer<'a> {
    zone: &'a [u8],
    message: Vec<u8>,
    /// Where the zone's name stands in this message.
    zone_at: Option<u16>,
    answers: u16,
    limit: usize,
}

/// The record does not fit into what is left of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<'a> Writer<'a> {
    /// A response for the zone of this name (wire form) with this id and question (wire form: name, type, class), `limit` octets at most.
    #[must_use]
    pub fn new(zone: &'a [u8], id: u16, question: Option<&[u8]>, limit: usize) -> Self {
        let mut message = Vec::with_capacity(limit);
        for field in [id, FLAGS, u16::from(question.is_some()), 0, 0, 0] {
            message.extend(field.to_be_bytes());
        }
        message.extend(question.unwrap_or_default());
        Self { zone, message, zone_at: None, answers: 0, limit }
    }

    /// The SOA record.
    pub fn soa(&mut self, serial: Serial) -> Result<(), Full> {
        let mut data = Vec::with_capacity(64);
        data.extend(static_name(MNAME));
        data.extend(static_name(RNAME));
        for field in [serial.0, REFRESH, RETRY, EXPIRE, MINIMUM] {
            data.extend(field.to_be_bytes());
        }
        self.record(&[], TYPE_SOA, TTL, &data)
    }

    /// Number `index` of the NS records.
    pub fn name_server(&mut self, index: usize) -> Result<(), Full> {
        let label = NAME_SERVERS.get(index).copied().unwrap_or_default().as_bytes();
        // RFC 1035 section 4.1.4 lets the target be compressed too; uncompressed is what everyone reads.
        let mut data = label_of(label);
        data.extend(self.zone);
        self.record(&[], TYPE_NS, TTL, &data)
    }

    /// A record of what happens to `owner` (without the zone's name).
    pub fn policy(&mut self, owner: &Name, ttl: u32, data: Data<'_>) -> Result<(), Full> {
        let mut labels = owner.to_wire();
        // The zone's name follows in place of the root.
        labels.pop();
        match data {
            Data::Special(target) => self.record(&labels, TYPE_CNAME, ttl, target_wire(target)),
            Data::Name(name) => self.record(&labels, TYPE_CNAME, ttl, &name.to_wire()),
            Data::Address(IpAddr::V4(address)) => self.record(&labels, TYPE_A, ttl, &address.octets()),
            Data::Address(IpAddr::V6(address)) => self.record(&labels, TYPE_AAAA, ttl, &address.octets()),
        }
    }

    /// Whether there is no record yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.answers == 0
    }

    /// The finished message.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if let Some(count) = self.message.get_mut(6..8) {
            count.copy_from_slice(&self.answers.to_be_bytes());
        }
        self.message
    }

    fn record(&mut self, labels: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Result<(), Full> {
        let suffix = if self.zone_at.is_some() { 2 } else { self.zone.len() };
        let size = labels.len() + suffix + 10 + data.len();
        if self.message.len() + size > self.limit || self.answers == u16::MAX {
            return Err(Full);
        }
        self.message.extend(labels);
        match self.zone_at {
            Some(at) => self.message.extend((0xC000 | at).to_be_bytes()),
            None => {
                // Pointers reach 14 bits far; header, question and first owner are below 600 octets.
                self.zone_at = u16::try_from(self.message.len()).ok().filter(|at| *at < 0x4000);
                self.message.extend(self.zone);
            }
        }
        for field in [kind, CLASS_IN] {
            self.message.extend(field.to_be_bytes());
        }
        self.message.extend(ttl.to_be_bytes());
        self.message.extend(u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
        self.message.extend(data);
        self.answers += 1;
        Ok(())
    }
}

/// Octets that every message can hold: header, longest question and longest record.
pub const SMALLEST_LIMIT: usize = HEADER + 259 + 255 + 10 + 255;

/// The names that mean an action as bytes: made once and not for each of a million records.
fn target_wire(target: &str) -> &'static [u8] {
    match target {
        "rpz-passthru." => b"\x0crpz-passthru\0",
        "rpz-tcp-only." => b"\x0crpz-tcp-only\0",
        "*." => b"\x01*\0",
        "rpz-drop." => b"\x08rpz-drop\0",
        _ => b"\0",
    }
}

fn label_of(label: &[u8]) -> Vec<u8> {
    let mut wire = vec![u8::try_from(label.len()).unwrap_or_default()];
    wire.extend(label);
    wire
}

/// Names of this program's own text, which are good ones.
fn static_name(text: &str) -> Vec<u8> {
    Name::parse(text).map(|name| name.to_wire()).unwrap_or_else(|_| vec![0])
}
