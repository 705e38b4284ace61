//! Second responses to one question.
//!
//! Unbound tells of two where it answers from expired data and again when it has fresh data (NLnetLabs/unbound issue 369). Both come over one
//! connection, soon after each other, with equal client, port, identifier and name.
//!
//! # Limitations
//! A place is overwritten by whatever else falls on it, so under a high load some second responses are counted; a first one is left out only
//! if 64 bits of a keyed hash are equal by chance.

use std::hash::{BuildHasher as _, RandomState};

use crate::decode::Time;

/// Responses that are remembered, of one connection: a second's worth of a busy thread of a resolver.
const PLACES: usize = 1 << 14;

/// The responses of one connection within about a second.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    hasher: RandomState,
    /// Hash and second of the response. Made when first needed.
    places: Vec<(u64, i64)>,
}

impl Duplicates {
    /// Whether this response tells again what was told within a second before. One without a time cannot be told from others.
    pub(super) fn is_one(&mut self, client: &[u8], port: Option<u32>, id: u16, key: &[u8], time: Option<Time>) -> bool {
        let Some(Time { seconds, .. }) = time else { return false };
        if self.places.is_empty() {
            self.places = vec![(0, i64::MIN); PLACES];
        }
        let hash = self.hasher.hash_one((client, port, id, key));
        let Some(place) = self.places.get_mut(hash as usize % PLACES) else { return false };
        let is_one = place.0 == hash && seconds.abs_diff(place.1) <= 1;
        *place = (hash, seconds);
        is_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_in_everything_and_soon() {
        let mut duplicates = Duplicates::default();
        let at = |seconds| Some(Time { seconds, nanoseconds: 0 });
        let mut told = |client: &[u8], port, id, key: &[u8], time| duplicates.is_one(client, port, id, key, time);
        assert!(!told(b"abcd", Some(1), 2, b"\x01a\0", at(100)));
        assert!(told(b"abcd", Some(1), 2, b"\x01a\0", at(100)));
        assert!(told(b"abcd", Some(1), 2, b"\x01a\0", at(101)));
        assert!(!told(b"abcd", Some(1), 2, b"\x01a\0", at(103)), "asked again");
        for (client, port, id, key) in [
            (b"abce", Some(1), 2, b"\x01a\0"),
            (b"abcd", None, 2, b"\x01a\0"),
            (b"abcd", Some(1), 3, b"\x01a\0"),
            (b"abcd", Some(1), 2, b"\x01b\0"),
        ] {
            assert!(!told(client, port, id, key, at(103)));
        }
        assert!(!told(b"abcd", Some(1), 2, b"\x01a\0", None));
    }
}
