//! DNS messages off the wire: what counts as a message, and the presentation form of names.
//!
//! The acceptance rules are those of the library that the upstream minimiser uses, because they decide what Core gets to see:
//! tolerant of messages that end early, strict about records that are there.

mod message;
mod name;
mod options;
mod rdata;

pub use message::{Message, Question};
pub use name::QuestionName;

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The message ends inside something.
    #[error("reading a DNS message: it ends too early")]
    Truncated,
    /// Longer than 255 octets, too many pointers, or a reserved label type.
    #[error("reading a DNS message: bad name")]
    Name,
    /// RDATA that does not fit its type.
    #[error("reading a DNS message: record data does not fit its type")]
    RecordData,
}
