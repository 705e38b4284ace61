//! Actions of the configuration -> actions of the policy. Equal redirects are one.

use std::net::IpAddr;
use std::sync::Arc;

use tapir_wire::config::pop;

use crate::policy::Action;
use crate::zone::{LocalData, LocalIndex};

/// What the redirects of one policy answer with.
#[derive(Debug, Default)]
pub(super) struct Redirects(Vec<LocalData>);

impl Redirects {
    pub(super) fn action(&mut self, action: pop::Action, redirect: Option<&pop::Redirect>) -> Action {
        match action {
            pop::Action::Passthru => Action::Passthru,
            pop::Action::TcpOnly => Action::TcpOnly,
            // The checks of the file leave none without a target. What is to lead elsewhere must in no case be answered as usual.
            pop::Action::Redirect => redirect.and_then(|redirect| self.index(redirect)).map_or(Action::Nxdomain, Action::Local),
            pop::Action::Nodata => Action::Nodata,
            pop::Action::Nxdomain => Action::Nxdomain,
            pop::Action::Drop => Action::Drop,
        }
    }

    pub(super) fn into_locals(self) -> Arc<[LocalData]> {
        self.0.into()
    }

    fn index(&mut self, redirect: &pop::Redirect) -> Option<LocalIndex> {
        let data = redirect.target().map_or_else(|| LocalData::Addresses(each_once(&redirect.addresses)), LocalData::Name);
        if data == LocalData::Addresses(Vec::new()) {
            return None;
        }
        let index = self.0.iter().position(|known| *known == data).unwrap_or_else(|| {
            self.0.push(data);
            self.0.len() - 1
        });
        u16::try_from(index).ok().map(LocalIndex)
    }
}

/// Records of one owner and type are a set (RFC 2181 section 5).
fn each_once(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut addresses = addresses.to_vec();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use tapir_wire::name::Name;

    use super::*;

    fn redirect(name: Option<&str>, addresses: &[&str]) -> pop::Redirect {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        pop::Redirect { name: name.map(str::to_owned), addresses }
    }

    #[test]
    fn equal_redirects_are_one() {
        let mut redirects = Redirects::default();
        let mut index = |redirect: &pop::Redirect| redirects.action(pop::Action::Redirect, Some(redirect));
        assert_eq!(index(&redirect(Some("Garden.example"), &[])), Action::Local(LocalIndex(0)));
        assert_eq!(index(&redirect(None, &["192.0.2.2", "192.0.2.1", "192.0.2.2"])), Action::Local(LocalIndex(1)));
        assert_eq!(index(&redirect(Some("garden.example."), &[])), Action::Local(LocalIndex(0)));
        assert_eq!(index(&redirect(None, &["192.0.2.1", "192.0.2.2"])), Action::Local(LocalIndex(1)));
        assert_eq!(index(&redirect(None, &[])), Action::Nxdomain);
        let addresses = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap()).to_vec();
        let name = Name::parse("garden.example").unwrap();
        assert_eq!(*redirects.into_locals(), [LocalData::Name(name), LocalData::Addresses(addresses)]);
    }
}
