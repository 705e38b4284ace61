//! Client of Core's nodeman.

mod client;
mod error;
mod skew;
mod transport;
mod transports;

pub use client::{Issued, Nodeman};
pub use error::{NodemanError, Refusal};
pub use skew::Skew;
pub use transport::{CALL_LIMIT, Transport, TrustAnchors};
pub use transports::Transports;
