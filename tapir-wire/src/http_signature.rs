//! HTTP message signatures (RFC 9421) and content digests (RFC 9530) as Core's receiver of aggregates wants them.
//!
//! One form only: label `sig1`, over `content-type`, `content-length` and `content-digest`, with `created`, `alg` and `keyid`. Derived
//! components are not covered, since a proxy in front of Core may change them. `Aggregate-Interval` is not covered either: upstream does
//! not, and Core does not ask for it. Verifying is Core's business; the one that tests meet shares no code with this.

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::jwk::DataKey;

const LABEL: &str = "sig1";
const COMPONENTS: &str = r#"("content-type" "content-length" "content-digest")"#;

/// Digest of a body that is read piece by piece.
#[derive(Clone)]
pub struct BodyDigest {
    context: Context,
    length: u64,
}

impl Default for BodyDigest {
    fn default() -> Self {
        Self { context: Context::new(&SHA256), length: 0 }
    }
}

impl BodyDigest {
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.context.update(piece);
        self.length += piece.len() as u64;
    }

    /// What the signature is made over.
    #[must_use]
    pub fn finish(self, content_type: &str) -> Content {
        let digest = STANDARD.encode(self.context.finish());
        Content { media_type: content_type.to_owned(), length: self.length, digest: format!("sha-256=:{digest}:") }
    }
}

impl std::fmt::Debug for BodyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyDigest").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Values of the three headers that are covered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// `Content-Type`.
    pub media_type: String,
    /// `Content-Length`.
    pub length: u64,
    /// `Content-Digest`.
    pub digest: String,
}

/// Values of the two headers that make a request a signed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// `Signature-Input`.
    pub input: String,
    /// `Signature`.
    pub signature: String,
}

impl Content {
    /// Signs with the data key; Core looks its public half up by `keyid`, the node name, which needs no escaping in a quoted string.
    #[must_use]
    pub fn sign(&self, key: &DataKey, created: Timestamp) -> Signature {
        let parameters = parameters(key.kid(), created);
        let signature = STANDARD.encode(key.sign(self.base(&parameters).as_bytes()));
        Signature { input: format!("{LABEL}={parameters}"), signature: format!("{LABEL}=:{signature}:") }
    }

    /// RFC 9421 section 2.5: a line for each component, the parameters last and without a line feed.
    fn base(&self, parameters: &str) -> String {
        let Self { media_type, length, digest } = self;
        format!(
            "\"content-type\": {media_type}\n\"content-length\": {length}\n\"content-digest\": {digest}\n\"@signature-params\": {parameters}"
        )
    }
}

fn parameters(kid: &str, created: Timestamp) -> String {
    format!("{COMPONENTS};created={};alg=\"ed25519\";keyid=\"{kid}\"", created.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_what_a_real_receiver_verified() {
        let recorded = include_str!("../vectors/core/aggrec/post-histogram.signature-base.txt");
        let mut digest = BodyDigest::default();
        for piece in [&b"PAR1 this is a stand-in body,"[..], b"", b" not a parquet file PAR1\n"] {
            digest.update(piece);
        }
        let content = digest.finish("application/vnd.apache.parquet");
        let created = Timestamp::from_second(1_795_220_656).unwrap();
        assert_eq!(content.base(&parameters("go-edge.test.dnstapir.se", created)), recorded);
    }
}
