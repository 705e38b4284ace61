//! Client of Core's nodeman.

mod client;
mod error;
mod transport;

pub use client::{Issued, Nodeman};
pub use error::{NodemanError, Refusal};
pub use transport::{CALL_LIMIT, Transport, TrustAnchors};
