//! Signatures of messages (TSIG, RFC 8945): who asks, and that nobody changed what was said.
//!
//! Own code, since a transfer is signed message by message while it is rendered into a window, which no library does. The
//! primitives are those of `aws-lc-rs`; comparisons are in constant time.
//!
//! * [`Keys::check`] reads the signature of a request: a [`Verified`], whose [`Signer`] signs the answer, or a [`Refusal`], which
//!   makes the answer that RFC 8945 section 5.2 wants.
//! * [`request`] signs a request of ours, and its [`Verifier`] goes over what comes back.
//!
//! Keys and MACs are never printed.

mod key;
mod record;
mod sign;
mod verify;

use jiff::Timestamp;

pub use self::key::{Algorithm, Key, Keys};
pub use self::record::Found;
pub use self::sign::Signer;
pub use self::verify::{Refusal, Untrusted, Verified, Verifier, request, without_signature};

/// Seconds that two clocks may differ (RFC 8945 section 10 recommends it).
pub const FUDGE: u16 = 300;

/// Codes in a signature (RFC 8945 section 3).
pub mod code {
    /// The MAC is wrong.
    pub const BAD_SIGNATURE: u16 = 16;
    /// The key is not known here.
    pub const BAD_KEY: u16 = 17;
    /// The clocks differ.
    pub const BAD_TIME: u16 = 18;
    /// The MAC is shorter than is taken here.
    pub const BAD_TRUNCATION: u16 = 22;
}

/// Where the time comes from: a transfer may take longer than [`FUDGE`], so each message has its own.
pub type Clock = fn() -> u64;

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}
