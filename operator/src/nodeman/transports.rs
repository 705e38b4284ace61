//! One HTTP client for each way to verify nodeman: connections are kept, and the system's CA store is read once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::error::NodemanError;
use super::transport::{Transport, TrustAnchors};

/// A client that nobody asked for in this long serves no edge any more: each edge that is enrolled asks every few minutes.
const UNUSED: Duration = Duration::from_mins(30);
/// Beyond this the one that was used longest ago goes: it costs a handshake to have it again.
const MOST: usize = 64;

/// Clients by trust anchors; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Transports(Arc<Mutex<HashMap<[u8; 32], Used>>>);

#[derive(Debug)]
struct Used {
    transport: Transport,
    last: Instant,
}

impl Transports {
    /// The client for these trust anchors.
    ///
    /// # Errors
    /// When the trust anchors cannot be used.
    pub fn get(&self, anchors: &TrustAnchors) -> Result<Transport, NodemanError> {
        self.get_at(anchors, Instant::now())
    }

    fn get_at(&self, anchors: &TrustAnchors, now: Instant) -> Result<Transport, NodemanError> {
        let key = match anchors {
            TrustAnchors::System => [0; 32],
            TrustAnchors::Bundle(pem) => Sha256::digest(pem.as_bytes()).into(),
        };
        let mut transports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        transports.retain(|_, used| now.saturating_duration_since(used.last) < UNUSED);
        if let Some(used) = transports.get_mut(&key) {
            used.last = now;
            return Ok(used.transport.clone());
        }
        let transport = Transport::new(anchors)?;
        if transports.len() >= MOST
            && let Some(oldest) = transports.iter().min_by_key(|(_, used)| used.last).map(|(key, _)| *key)
        {
            transports.remove(&oldest);
        }
        transports.insert(key, Used { transport: transport.clone(), last: now });
        Ok(transport)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(name: &str) -> TrustAnchors {
        let key = rcgen::KeyPair::generate().unwrap();
        TrustAnchors::Bundle(rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap().pem())
    }

    #[test]
    fn equal_anchors_share_a_client_and_unused_ones_go() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (transports, now) = (Transports::default(), Instant::now());
        let held = || transports.0.lock().unwrap().len();
        let first = bundle("a.test");
        for _ in 0..3 {
            transports.get_at(&first, now).unwrap();
        }
        assert_eq!(held(), 1);
        transports.get_at(&bundle("b.test"), now + UNUSED / 2).unwrap();
        assert_eq!(held(), 2);
        transports.get_at(&bundle("c.test"), now + UNUSED).unwrap();
        assert_eq!(held(), 2, "the first is not used any more");
        assert!(transports.get_at(&TrustAnchors::Bundle("nothing".into()), now).is_err());
    }

    #[test]
    fn there_are_never_more_than_the_bound() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (transports, now) = (Transports::default(), Instant::now());
        for number in 0..MOST + 3 {
            transports.get_at(&bundle(&format!("{number}.test")), now + Duration::from_millis(number as u64)).unwrap();
        }
        assert_eq!(transports.0.lock().unwrap().len(), MOST);
    }
}
