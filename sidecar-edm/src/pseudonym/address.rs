//! What goes in and what comes out.

use std::fmt;

/// An address as a resolver sent it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SentAddress {
    /// Not there, or of a length that no address has.
    #[default]
    None,
    /// Four octets.
    V4([u8; 4]),
    /// Sixteen.
    V6([u8; 16]),
}

/// What stands in its place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pseudonym {
    /// Of an IPv4 address, and of one that came as an IPv6 address.
    V4([u8; 4]),
    /// Of any other IPv6 address.
    V6([u8; 16]),
}

impl SentAddress {
    /// Only the length counts.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        match (octets.try_into(), octets.try_into()) {
            (Ok(octets), _) => Self::V4(octets),
            (_, Ok(octets)) => Self::V6(octets),
            _ => Self::None,
        }
    }
}

impl fmt::Debug for SentAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "no address",
            Self::V4(_) => "an IPv4 address",
            Self::V6(_) => "an IPv6 address",
        })
    }
}

impl fmt::Debug for Pseudonym {
    /// Not the pseudonym either: two that are alike tell of one client.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V4(_) => "a pseudonym of an IPv4 address",
            Self::V6(_) => "a pseudonym of an IPv6 address",
        })
    }
}
