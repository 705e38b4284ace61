//! Names: walking them in a message, and their presentation form.

use std::fmt::Write as _;

use super::DnsError;
use crate::decode::name::walk;

/// A question name, uncompressed, case as received.
#[derive(Clone, PartialEq, Eq)]
pub struct QuestionName {
    /// Labels with their length octets, without the final zero.
    wire: Vec<u8>,
}

impl QuestionName {
    /// Reads the name at `offset`; also gives the offset after it.
    pub(super) fn parse(message: &[u8], offset: usize) -> Result<(Self, usize), DnsError> {
        let mut wire = Vec::new();
        let end = walk(message, offset, |label| {
            // A label has at most 63 octets.
            wire.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            wire.extend_from_slice(label);
        })?;
        Ok((Self { wire }, end))
    }

    /// The labels from left to right, as octets.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.wire.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (label, next) = after.split_at_checked(usize::from(*length))?;
            rest = next;
            Some(label)
        })
    }

    /// Presentation form, case as received, with the final dot.
    #[must_use]
    pub fn presentation(&self) -> String {
        if self.wire.is_empty() {
            return ".".to_owned();
        }
        let mut text = String::with_capacity(self.wire.len() + 1);
        for label in self.labels() {
            for octet in label {
                push_escaped(&mut text, *octet);
            }
            text.push('.');
        }
        text
    }
}

impl std::fmt::Debug for QuestionName {
    /// Names are nobody's business in a log.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("QuestionName").field("octets", &(self.wire.len() + 1)).finish_non_exhaustive()
    }
}

fn push_escaped(text: &mut String, octet: u8) {
    match octet {
        b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
            text.push('\\');
            text.push(char::from(octet));
        }
        0x20..=0x7e => text.push(char::from(octet)),
        _ => {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\{octet:03}");
        }
    }
}

/// Checks the name at `offset` and gives the offset after it.
pub(super) fn skip(message: &[u8], offset: usize) -> Result<usize, DnsError> {
    walk(message, offset, |_| ())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors;

    #[test]
    fn recorded_names() {
        let vector = vectors::load("dns_names.json");
        let names = vector["vectors"].as_array().unwrap();
        assert_eq!(names.len(), 17);
        for entry in names {
            let wire = vectors::octets(&entry["wire_name_hex"]);
            let (name, end) = QuestionName::parse(&wire, 0).unwrap();
            assert_eq!(end, wire.len());
            assert_eq!(name.presentation(), entry["presentation"].as_str().unwrap(), "{}", entry["desc"]);
            assert_eq!(name.presentation().to_ascii_lowercase(), entry["seen_store_key"].as_str().unwrap(), "{}", entry["desc"]);
        }
    }

    #[test]
    fn pointers_are_followed_up_to_their_limit() {
        let chain = |pointers: usize| {
            let mut message = vec![1, b'a', 0];
            for index in 0..pointers {
                let target = if index == 0 { 0 } else { 3 + 2 * (index - 1) };
                message.extend_from_slice(&(0xc000 | u16::try_from(target).unwrap()).to_be_bytes());
            }
            let start = message.len() - 2;
            QuestionName::parse(&message, start).map(|(name, end)| (name.presentation(), end == message.len()))
        };
        assert_eq!(chain(126), Ok(("a.".to_owned(), true)));
        assert_eq!(chain(127), Err(DnsError::Name));
    }

    #[test]
    fn debug_output_shows_no_name() {
        let (name, _) = QuestionName::parse(b"\x06secret\0", 0).unwrap();
        assert!(!format!("{name:?}").contains("secret"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(octets in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..8, Just(0xc0)], 0..300), offset in 0usize..310) {
            if let Ok((name, _)) = QuestionName::parse(&octets, offset) {
                prop_assert!(name.wire.len() <= 254);
                prop_assert!(name.presentation().ends_with('.'));
            }
        }
    }
}
