//! The key of the interface that upstream's tool talks to.

use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};
use tapir_wire::config::pop::Api;

use super::Files;

/// What stands in the configuration that upstream's enrolment writes, and is therefore no secret.
const KNOWN_TO_ALL: &str = "be-nice-to-a-bad-tempered-tapir";
/// Shorter ones can be tried out.
const SHORTEST: usize = 16;

/// Where it is served, and for whom. Only the hash of the key is held: it shows nothing, and comparing it takes equally long
/// whatever the caller has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiSetup {
    /// Where it is served.
    pub listen: SocketAddr,
    hash: [u8; 32],
}

impl ApiSetup {
    pub(super) fn new(api: &Api, files: &mut dyn Files) -> Result<Self, String> {
        let text = files.secret(&api.key_file).map_err(|error| format!("api: {error}"))?;
        let key = text.trim();
        if key == KNOWN_TO_ALL || key.len() < SHORTEST {
            return Err(format!("api: {} holds a key that is known to all, or shorter than {SHORTEST} characters", api.key_file));
        }
        Ok(Self { listen: api.listen, hash: hash(key.as_bytes()) })
    }

    /// Whether the caller has the key.
    #[must_use]
    pub fn admits(&self, key: &[u8]) -> bool {
        hash(key) == self.hash
    }
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}
