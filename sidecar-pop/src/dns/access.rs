//! Who may ask: this host alone.

use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::getifaddrs;

/// Loopback and the host's own addresses (in Kubernetes: the Pod). Whoever may read the zone learns what is known of names.
#[must_use]
pub fn permitted(peer: SocketAddr) -> bool {
    let address = peer.ip().to_canonical();
    address.is_loopback() || own_addresses().any(|own| own == address)
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
    use super::permitted;

    #[test]
    fn this_host_and_nobody_else() {
        let check = |peer: &str, expected| assert_eq!(permitted(peer.parse().unwrap()), expected, "{peer}");
        check("127.0.0.1:1", true);
        check("127.8.9.10:1", true);
        check("[::1]:1", true);
        check("[::ffff:127.0.0.1]:1", true);
        // TEST-NET-1 and the documentation prefix belong to nobody.
        check("192.0.2.1:1", false);
        check("[2001:db8::1]:1", false);
    }

    #[test]
    fn the_addresses_of_this_host() {
        for own in super::own_addresses() {
            assert!(permitted((own, 53).into()), "{own}");
        }
    }
}
