//! What is answered in place of the truth, and how every action looks as a record.

use std::net::IpAddr;

use tapir_wire::name::Name;

use super::Content;
use crate::policy::Action;

/// Data that a redirect answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalData {
    /// An alias: the resolver goes on with this name.
    Name(Name),
    /// Addresses, each once; the other types do not exist.
    Addresses(Vec<IpAddr>),
}

/// Which of [`Content::locals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalIndex(pub u16);

/// Data of one record of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// CNAME to a name that means an action (draft-vixie-dnsop-dns-rpz section 3).
    Special(&'static str),
    /// CNAME to a name.
    Name(&'a Name),
    /// A or AAAA.
    Address(IpAddr),
}

impl Content {
    /// The records of an action: one, or several of different addresses, so that an owner never has an alias and something else.
    pub fn data(&self, action: Action) -> impl Iterator<Item = Data<'_>> {
        let (alias, addresses): (_, &[IpAddr]) = match action {
            Action::Passthru => (Some(Data::Special("rpz-passthru.")), &[]),
            Action::TcpOnly => (Some(Data::Special("rpz-tcp-only.")), &[]),
            Action::Nodata => (Some(Data::Special("*.")), &[]),
            Action::Nxdomain => (Some(Data::Special(".")), &[]),
            Action::Drop => (Some(Data::Special("rpz-drop.")), &[]),
            Action::Local(LocalIndex(index)) => match self.locals.get(usize::from(index)) {
                Some(LocalData::Name(name)) => (Some(Data::Name(name)), &[]),
                Some(LocalData::Addresses(addresses)) => (None, addresses.as_slice()),
                // Indices and data are made together, so this cannot be. An action that blocks says the least that is wrong.
                None => (Some(Data::Special(".")), &[]),
            },
        };
        alias.into_iter().chain(addresses.iter().map(|address| Data::Address(*address)))
    }
}
