//! Domain names in one canonical form, so that equal names are equal strings.
//!
//! Core sends names without, resolvers with the final dot; people write either, in any case. Comparing raw text loses matches.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest label in octets (RFC 1035 section 2.3.4).
pub const MAX_LABEL: usize = 63;
/// Longest name in octets on the wire, length octets and root label included (RFC 1035 section 2.3.4).
pub const MAX_NAME: usize = 255;

/// Canonical DNS name: ASCII lower case, presentation form with the fewest escapes, exactly one final dot; the root is `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

/// Why a text is no domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum NameError {
    /// Nothing there.
    #[error("domain name is empty")]
    Empty,
    /// Two dots in a row, or a dot in front.
    #[error("domain name has an empty label")]
    EmptyLabel,
    /// More than 63 octets between two dots.
    #[error("domain name has a label longer than {MAX_LABEL} octets")]
    LabelTooLong,
    /// More than 255 octets on the wire.
    #[error("domain name is longer than {MAX_NAME} octets")]
    TooLong,
    /// Not visible ASCII; international names are written in their ASCII form (`xn--`).
    #[error("domain name has a character that is not visible ASCII")]
    BadCharacter,
    /// A backslash that escapes nothing.
    #[error("domain name has a broken escape sequence")]
    BadEscape,
}

impl Name {
    /// The root, `.`.
    #[must_use]
    pub fn root() -> Self {
        Self(".".into())
    }

    /// Reads presentation form (RFC 1035 section 5.1), with or without the final dot.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text {
            "" => return Err(NameError::Empty),
            "." => return Ok(Self::root()),
            _ => {}
        }
        let mut canonical = String::with_capacity(text.len() + 1);
        let mut rest = text.as_bytes();
        let (mut label, mut wire) = (0, 1);
        while let Some((&first, tail)) = rest.split_first() {
            rest = tail;
            let octet = match first {
                b'.' => {
                    if label == 0 {
                        return Err(NameError::EmptyLabel);
                    }
                    canonical.push('.');
                    wire += label + 1;
                    label = 0;
                    continue;
                }
                b'\\' => unescape(&mut rest)?,
                0x21..=0x7e => first,
                _ => return Err(NameError::BadCharacter),
            };
            push_octet(&mut canonical, octet.to_ascii_lowercase());
            label += 1;
            if label > MAX_LABEL {
                return Err(NameError::LabelTooLong);
            }
        }
        if label > 0 {
            canonical.push('.');
            wire += label + 1;
        }
        if wire > MAX_NAME {
            return Err(NameError::TooLong);
        }
        Ok(Self(canonical.into()))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == "."
    }

    /// Labels from left to right in presentation form; none for the root.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let mut rest = if self.is_root() { "" } else { &*self.0 };
        std::iter::from_fn(move || {
            let end = label_end(rest)?;
            let label = rest.get(..end)?;
            rest = rest.get(end + 1..)?;
            Some(label)
        })
    }

    /// The name without its leftmost label; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        match self.0.get(label_end(&self.0)? + 1..)? {
            "" => Some(Self::root()),
            rest => Some(Self(rest.into())),
        }
    }

    /// Uncompressed wire form.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(self.0.len() + 1);
        for label in self.labels() {
            let length_at = wire.len();
            wire.push(0);
            let mut rest = label.as_bytes();
            while let Some((&first, tail)) = rest.split_first() {
                rest = tail;
                // The canonical text was unescaped once already, so this cannot fail.
                wire.push(if first == b'\\' { unescape(&mut rest).unwrap_or(first) } else { first });
            }
            let length = wire.len() - length_at - 1;
            if let (Some(slot), Ok(length)) = (wire.get_mut(length_at), u8::try_from(length)) {
                *slot = length;
            }
        }
        wire.push(0);
        wire
    }

    /// Octets on the wire.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.to_wire().len()
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into()
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Appends one octet of a label as Core and the upstream edge write it.
pub fn push_octet(text: &mut String, octet: u8) {
    match octet {
        b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
            text.push('\\');
            text.push(char::from(octet));
        }
        0x21..=0x7e => text.push(char::from(octet)),
        _ => text.push_str(&format!("\\{octet:03}")),
    }
}

/// Reads what follows a backslash: three decimal digits, or any other visible octet (or space) for itself.
fn unescape(rest: &mut &[u8]) -> Result<u8, NameError> {
    match *rest {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', tail @ ..] => {
            *rest = tail;
            let value = [a, b, c].iter().fold(0u16, |value, digit| value * 10 + u16::from(**digit - b'0'));
            u8::try_from(value).map_err(|_| NameError::BadEscape)
        }
        [octet @ (0x20..=0x2f | 0x3a..=0x7e), tail @ ..] => {
            *rest = tail;
            Ok(*octet)
        }
        _ => Err(NameError::BadEscape),
    }
}

/// Offset of the first dot that is not escaped.
fn label_end(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'.' => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, NameError>) {
        assert_eq!(Name::parse(text).as_ref().map(Name::as_str).map_err(|error| *error), expected, "{text:?}");
    }

    #[test]
    fn canonical_form() {
        check("WWW.Example.COM", Ok("www.example.com."));
        check("www.example.com.", Ok("www.example.com."));
        check(".", Ok("."));
        check("*.example", Ok("*.example."));
        check("_dmarc.example", Ok("_dmarc.example."));
        check(r"a\.b.example", Ok(r"a\.b.example."));
        check(r"\097.example", Ok("a.example."));
        check(r"\065.example", Ok("a.example."));
        check(r"\195\165.example", Ok(r"\195\165.example."));
        check("a@b.example", Ok(r"a\@b.example."));
    }

    #[test]
    fn refusals() {
        check("", Err(NameError::Empty));
        check("a..b", Err(NameError::EmptyLabel));
        check(".a", Err(NameError::EmptyLabel));
        check("..", Err(NameError::EmptyLabel));
        check("a b.example", Err(NameError::BadCharacter));
        check("å.example", Err(NameError::BadCharacter));
        check("a\0", Err(NameError::BadCharacter));
        check("a\\", Err(NameError::BadEscape));
        check(r"\999", Err(NameError::BadEscape));
        check(r"\12", Err(NameError::BadEscape));
        check(&"a".repeat(64), Err(NameError::LabelTooLong));
    }

    #[test]
    fn longest_name_is_255_octets() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        assert_eq!(Name::parse(&longest).unwrap().wire_len(), 255);
        check(&format!("{longest}b"), Err(NameError::TooLong));
    }

    #[test]
    fn labels_and_parents() {
        let name = Name::parse(r"a\.b.c.d").unwrap();
        assert_eq!(name.labels().collect::<Vec<_>>(), [r"a\.b", "c", "d"]);
        assert_eq!(name.parent().unwrap().as_str(), "c.d.");
        assert_eq!(Name::parse("d").unwrap().parent(), Some(Name::root()));
        assert_eq!(Name::root().parent(), None);
        assert_eq!(Name::root().labels().count(), 0);
    }

    #[test]
    fn wire_form() {
        assert_eq!(Name::root().to_wire(), [0]);
        assert_eq!(Name::parse(r"a\.b.C").unwrap().to_wire(), b"\x03a.b\x01c\0");
    }
}
