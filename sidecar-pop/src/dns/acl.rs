//! Who may ask. Whoever may read the zone learns what is known of names: without other words this host alone.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use tapir_wire::config::pop::Client;

/// Addresses of this host seldom change, and asking for them takes a socket and several calls.
const KEPT: Duration = Duration::from_secs(5);

/// Who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// From one of these places.
    pub clients: Vec<Client>,
    /// Transfers only for who signs: questions are open to all of them, since some resolvers sign no question before a transfer.
    pub signed_only: bool,
}

impl Default for Acl {
    fn default() -> Self {
        Self { clients: vec![Client::Loopback, Client::Pod], signed_only: false }
    }
}

impl Acl {
    /// Whether anything that comes from there is answered.
    #[must_use]
    pub fn permits(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.clients.iter().any(|client| match client {
            Client::Loopback => peer.is_loopback(),
            Client::Pod => is_own(peer),
            Client::Network(network) => network.contains(peer),
        })
    }
}

/// Whether this is an address of this machine.
pub(crate) fn is_own(peer: IpAddr) -> bool {
    static OWN: Mutex<Option<(Instant, Vec<IpAddr>)>> = Mutex::new(None);
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, addresses) = match own.take().filter(|(at, _)| at.elapsed() < KEPT) {
        Some(known) => own.insert(known),
        None => own.insert((Instant::now(), own_addresses().collect())),
    };
    addresses.contains(&peer)
}

fn own_addresses() -> impl Iterator<Item = IpAddr> {
    let storages = getifaddrs().into_iter().flatten().filter_map(|interface| interface.address);
    storages.filter_map(|storage| {
        let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(clients: &[&str], peer: &str) -> bool {
        let clients = clients.iter().map(|client| Client::parse(client).unwrap()).collect();
        Acl { clients, signed_only: false }.permits(peer.parse().unwrap())
    }

    #[test]
    fn this_host_and_nobody_else() {
        let check = |peer: &str, expected| assert_eq!(Acl::default().permits(peer.parse().unwrap()), expected, "{peer}");
        check("127.0.0.1", true);
        check("127.8.9.10", true);
        check("::1", true);
        check("::ffff:127.0.0.1", true);
        // TEST-NET-1 and the documentation prefix belong to nobody.
        check("192.0.2.1", false);
        check("2001:db8::1", false);
        check("::ffff:192.0.2.1", false);
        for own in own_addresses() {
            check(&own.to_string(), true);
        }
    }

    #[test]
    fn only_who_was_named() {
        assert!(permits(&["192.0.2.0/24"], "192.0.2.7") && permits(&["192.0.2.0/24"], "::ffff:192.0.2.7"));
        assert!(!permits(&["192.0.2.0/24"], "192.0.3.7") && !permits(&["192.0.2.0/24"], "127.0.0.1"));
        assert!(permits(&["loopback", "2001:db8::/32"], "2001:db8::1") && permits(&["loopback", "2001:db8::/32"], "::1"));
        assert!(!permits(&[], "127.0.0.1"), "nobody");
    }
}
