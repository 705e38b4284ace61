//! DNS messages off the wire: what counts as a message, and the presentation form of names.
//!
//! The acceptance rules are those of the library that the upstream minimiser uses, because they decide what Core gets to see:
//! tolerant of messages that end early, strict about records that are there.

mod message;
mod name;

pub use crate::decode::DnsError;
pub use message::{Message, Question};
pub use name::QuestionName;
