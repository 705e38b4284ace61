//! Names of the domain name system: on the wire, as text, as keys. Nothing here allocates for each frame.
//!
//! Source: `spec/edm.md` 4.4 for the text; RFC 1035 section 3.1 for the wire; RFC 4343 for what counts as the same name.

mod key;
mod presentation;
pub(crate) mod wire;

pub use key::Key;
pub use presentation::Presentation;
pub use wire::{Labels, MAX_LABELS, MAX_OCTETS, WireName};
