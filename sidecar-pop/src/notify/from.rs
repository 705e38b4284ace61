//! Which address a NOTIFY comes from.
//!
//! A resolver takes it from the address that it has as primary and from no other (RFC 1996 section 3.10; `primaries` of BIND, `master` of unbound and
//! PowerDNS), which is one that the zone is served at. The kernel would choose by its routes, and so another one where a machine has several.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// To be bound for a resolver there, where the zone is served at these; unspecified where the kernel is to choose.
pub(super) fn address(target: SocketAddr, listen: &[SocketAddr]) -> SocketAddr {
    chosen(target, listen, usual(target))
}

/// What the kernel chooses by itself. Nothing is sent for that.
fn usual(target: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(unspecified(target)).ok()?;
    socket.connect(target).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn chosen(target: SocketAddr, listen: &[SocketAddr], usual: Option<IpAddr>) -> SocketAddr {
    let served: Vec<SocketAddr> = listen.iter().copied().filter(|served| served.is_ipv4() == target.is_ipv4()).collect();
    let is_local = target.ip().is_loopback();
    // Of several those that lie as the resolver does: it knows one of them.
    let mut near = served.iter().filter(|served| is_specific(served, target) && served.ip().is_loopback() == is_local);
    let found = near.clone().find(|served| Some(served.ip()) == usual).or_else(|| near.next());
    // Whatever the kernel chooses is served then.
    let everywhere = listen.iter().any(|served| served.ip().is_unspecified() && (served.is_ipv6() || target.is_ipv4()));
    let found = match found {
        Some(found) if is_local || !everywhere => Some(found),
        None if is_local && !everywhere => served.iter().find(|served| is_specific(served, target)),
        _ => None,
    };
    let mut from = found.copied().unwrap_or_else(|| unspecified(target));
    from.set_port(0);
    from
}

/// One that can be sent from: an address of a link reaches that link.
fn is_specific(served: &SocketAddr, target: SocketAddr) -> bool {
    let same_link = match (served, target) {
        (SocketAddr::V6(served), SocketAddr::V6(target)) if served.ip().is_unicast_link_local() => {
            target.ip().is_unicast_link_local() && served.scope_id() == target.scope_id()
        }
        _ => true,
    };
    !served.ip().is_unspecified() && same_link
}

fn unspecified(target: SocketAddr) -> SocketAddr {
    let address = if target.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    SocketAddr::new(address, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, listen: &[&str], usual: &str, expected: &str) {
        let listen: Vec<SocketAddr> = listen.iter().map(|listen| listen.parse().unwrap()).collect();
        let from = chosen(target.parse().unwrap(), &listen, Some(usual.parse().unwrap()));
        assert_eq!(from.to_string(), expected, "to {target} with the zone at {listen:?}");
    }

    #[test]
    fn one_that_the_zone_is_served_at() {
        check("192.0.2.1:53", &["192.0.2.5:53"], "192.0.2.9", "192.0.2.5:0");
        check("192.0.2.1:53", &["127.0.0.1:5359", "192.0.2.5:53"], "192.0.2.9", "192.0.2.5:0");
        check("192.0.2.1:53", &["192.0.2.5:53", "192.0.2.9:53"], "192.0.2.9", "192.0.2.9:0");
        check("127.0.0.1:53", &["192.0.2.5:53", "127.0.0.2:5359"], "127.0.0.1", "127.0.0.2:0");
        check("127.0.0.1:53", &["127.0.0.2:5359", "127.0.0.1:5359"], "127.0.0.1", "127.0.0.1:0");
        // A resolver on this host, which has an address of the host as primary.
        check("127.0.0.1:53", &["192.0.2.5:53"], "127.0.0.1", "192.0.2.5:0");
        check("[2001:db8::1]:53", &["192.0.2.5:53", "[2001:db8::5]:53"], "2001:db8::9", "[2001:db8::5]:0");
        check("[::1]:53", &["[::1]:5359"], "::1", "[::1]:0");
        check("[fe80::1%2]:53", &["[fe80::5%2]:53"], "fe80::9", "[fe80::5%2]:0");
    }

    #[test]
    fn otherwise_the_kernel_chooses() {
        check("192.0.2.1:53", &["0.0.0.0:53"], "192.0.2.9", "0.0.0.0:0");
        check("192.0.2.1:53", &["[::]:53"], "192.0.2.9", "0.0.0.0:0");
        check("192.0.2.1:53", &["0.0.0.0:53", "192.0.2.5:5359"], "192.0.2.9", "0.0.0.0:0");
        check("[2001:db8::1]:53", &["[::]:53"], "2001:db8::9", "[::]:0");
        // Nothing that could reach it.
        check("192.0.2.1:53", &["127.0.0.1:5359"], "192.0.2.9", "0.0.0.0:0");
        check("192.0.2.1:53", &["[2001:db8::5]:53"], "192.0.2.9", "0.0.0.0:0");
        check("[::1]:53", &["127.0.0.1:5359"], "::1", "[::]:0");
        check("[2001:db8::1]:53", &["[fe80::5%2]:53"], "2001:db8::9", "[::]:0");
    }
}
