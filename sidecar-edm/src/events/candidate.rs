//! What may become an event, and what became of it.

use strum::{EnumIter, IntoStaticStr};

use crate::decode::Time;
use crate::names::{Key, WireName};

/// A response whose name is not on the list of well-known domains.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The question's name, case as received.
    pub name: WireName<'a>,
    /// Its key.
    pub key: &'a Key,
    /// Type of the question.
    pub qtype: u16,
    /// Class of the question.
    pub qclass: u16,
    /// Second 16-bit word of the DNS header.
    pub flags: u16,
    /// Time of the response. Without one the event tells the epoch, as upstream's does.
    pub time: Option<Time>,
    /// The asking client's address as octets; empty where the resolver told none.
    pub client: &'a [u8],
    /// There is a list of well-known domains.
    pub has_list: bool,
}

/// What became of a candidate. Variant names are labels of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// An event was made.
    Queued,
    /// Reported before.
    Seen,
    /// In a reverse zone or another zone that says something about the site only.
    SpecialUse,
    /// The name spells the asking client's address.
    ClientAddress,
    /// No list of well-known domains, and not a looptest name.
    NoList,
    /// Sending is switched off, or no configuration is there yet.
    NotSending,
    /// Too many events a second.
    LimitedRate,
    /// Too many events a second of this registrable domain.
    LimitedDomain,
    /// The store was empty at the start: events come slowly at first.
    StartUp,
    /// The disk does not keep up.
    Full,
}
