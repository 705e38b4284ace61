//! Pseudonyms for addresses in session files: Crypto-PAn (`edm.md` chapter 5; Xu, Fan, Ammar, Moon: "Prefix-Preserving IP Address
//! Anonymization", ICNP 2002).
//!
//! Two addresses with the same first bits have pseudonyms with the same first bits, and whoever has the key finds the address again. So they
//! are for files that stay with the operator, and never leave. The key costs 64 MiB of memory while it is derived: [`Key::derive`] is
//! for those who write such files only.

mod address;
mod cache;
mod cryptopan;
mod key;

pub use address::{Pseudonym, SentAddress};
pub use cache::{Cache, Lookups};
pub use cryptopan::CryptoPan;
pub use key::{Key, KeyError, MEMORY};
