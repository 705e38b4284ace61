//! What is answered in place of the truth.

use std::net::IpAddr;

use tapir_table::{Code, PaletteError, RecordSet};
use tapir_wire::name::Name;

use crate::dns::records::kind;

/// Data that a redirect answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalData {
    /// An alias: the resolver goes on with this name.
    Name(Name),
    /// Addresses, each once; the other types do not exist.
    Addresses(Vec<IpAddr>),
}

/// Which set of local data: in a policy as it was read, of its redirects; in one that decides about a zone, of the zone's palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalIndex(pub u16);

impl LocalData {
    /// As records of a zone: an alias alone, or addresses, so that an owner never has an alias and something else.
    ///
    /// # Errors
    /// When there is more, or less, than a set can hold.
    pub fn records(&self) -> Result<RecordSet, PaletteError> {
        RecordSet::new(match self {
            Self::Name(name) => vec![(kind::CNAME, name.to_wire())],
            Self::Addresses(addresses) => addresses.iter().map(address).collect(),
        })
    }
}

fn address(address: &IpAddr) -> (u16, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (kind::A, address.octets().to_vec()),
        IpAddr::V6(address) => (kind::AAAA, address.octets().to_vec()),
    }
}

/// How a code looks as a record, for people; `None`: there is none.
#[must_use]
pub fn record_text(code: Code) -> Option<String> {
    super::known::action(code).map(|action| action.to_string())
}
