//! Short digests of what Pods mount: enough to tell two contents apart, and of no use for making either.

use sha2::{Digest as _, Sha256};

/// Digest of members of a Secret or a ConfigMap, names included.
pub fn members<'a>(members: impl Iterator<Item = (&'a String, &'a [u8])>) -> String {
    let mut hash = Sha256::new();
    for (name, bytes) in members {
        hash.update(name.len().to_be_bytes());
        hash.update(name);
        hash.update(bytes.len().to_be_bytes());
        hash.update(bytes);
    }
    hex::encode(&hash.finalize()[..8])
}
