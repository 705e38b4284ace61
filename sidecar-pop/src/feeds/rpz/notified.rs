//! NOTIFYs that come (RFC 1996): from a primary of a feed or signed with its key they ring; all others are refused. A ring is one
//! flag, so a flood of them costs no more than one question a second.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use crate::dns::records::WireName;

/// All feeds that can be notified. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Notified(Arc<Mutex<Vec<Expected>>>);

#[derive(Debug)]
struct Expected {
    zone: WireName,
    primaries: Vec<IpAddr>,
    key: Option<WireName>,
    bell: Weak<Notify>,
}

/// One feed's end.
#[derive(Debug)]
pub struct Rung(Arc<Notify>);

impl Notified {
    /// A feed of this zone. With a key, only what is signed with it counts: addresses of datagrams can be forged.
    #[must_use]
    pub fn expect(&self, zone: WireName, primaries: &[SocketAddr], key: Option<WireName>) -> Rung {
        let bell = Arc::new(Notify::new());
        let primaries = primaries.iter().map(|primary| primary.ip().to_canonical()).collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|expected| expected.bell.strong_count() > 0);
        all.push(Expected { zone, primaries, key, bell: Arc::downgrade(&bell) });
        Rung(bell)
    }

    /// A NOTIFY for this zone came, signed with `key` if that was checked: whether a feed takes it. To be answered with NOERROR
    /// then, and with NOTAUTH otherwise.
    #[must_use]
    pub fn ring(&self, zone: &WireName, from: IpAddr, key: Option<&WireName>) -> bool {
        let from = from.to_canonical();
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = false;
        for expected in all.iter().filter(|expected| expected.zone == *zone) {
            let good = match &expected.key {
                Some(wanted) => key == Some(wanted),
                None => expected.primaries.contains(&from),
            };
            if let Some(bell) = expected.bell.upgrade().filter(|_| good) {
                bell.notify_one();
                taken = true;
            }
        }
        taken
    }

    /// Whether a feed has a primary there, which may come to notify: over TCP too, as Knot DNS does.
    #[must_use]
    pub fn is_primary(&self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|expected| expected.bell.strong_count() > 0 && expected.primaries.contains(&from))
    }
}

impl Rung {
    /// Waits for a ring since the last [`Rung::clear`].
    pub(super) async fn rings(&self) {
        self.0.notified().await;
    }

    /// What rang before is answered by what is asked now.
    pub(super) fn clear(&self) {
        use std::future::Future as _;
        let notified = self.0.notified();
        tokio::pin!(notified);
        _ = notified.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    }
}

#[cfg(test)]
mod tests {
    use tapir_wire::name::Name;

    use super::*;

    #[tokio::test]
    async fn only_primaries_and_owners_of_the_key_ring() {
        let name = |text: &str| WireName::from(&Name::parse(text).unwrap());
        let notified = Notified::default();
        let primary: SocketAddr = "192.0.2.1:53".parse().unwrap();
        let from = |text: &str| text.parse::<IpAddr>().unwrap();
        let plain = notified.expect(name("a"), &[primary], None);
        let signed = notified.expect(name("b"), &[primary], Some(name("k")));
        assert!(notified.ring(&name("a"), from("::ffff:192.0.2.1"), None));
        assert!(!notified.ring(&name("a"), from("192.0.2.2"), None));
        assert!(!notified.ring(&name("c"), from("192.0.2.1"), None));
        assert!(notified.is_primary(from("::ffff:192.0.2.1")) && !notified.is_primary(from("192.0.2.2")));
        plain.rings().await;
        assert!(!notified.ring(&name("b"), from("192.0.2.1"), None));
        assert!(!notified.ring(&name("b"), from("192.0.2.1"), Some(&name("other"))));
        assert!(notified.ring(&name("b"), from("198.51.100.1"), Some(&name("k"))));
        // A thousand are one, and none after a clear.
        for _ in 0..1000 {
            assert!(notified.ring(&name("b"), from("192.0.2.1"), Some(&name("k"))));
        }
        signed.clear();
        assert!(tokio::time::timeout(std::time::Duration::from_millis(20), signed.rings()).await.is_err());
        drop(signed);
        assert!(!notified.ring(&name("b"), from("192.0.2.1"), Some(&name("k"))), "the source is gone");
    }
}
