//! Words of a list as names.

use tapir_wire::name::{MAX_LABEL, MAX_NAME};

/// Why no name that comes off the wire can ever match a word (`edm.md` 4.4, 7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unmatchable {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Names are looked up with it.
    #[error("has no dot at its end")]
    NoFinalDot,
    /// Names are looked up in lower case.
    #[error("has upper case letters")]
    UpperCase,
    /// Octets beyond ASCII are looked up as decimal escapes.
    #[error("has characters that are not visible ASCII: an international name stands in a list in its ASCII form (xn--)")]
    NotAscii,
    /// Not the escape that a name would be looked up with.
    #[error("has an escape where none belongs, or lacks one")]
    Escape,
    /// Two dots in a row, or the root with a dot in front.
    #[error("has an empty label")]
    EmptyLabel,
    /// A label of more than 63 octets, or a name of more than 255.
    #[error("is longer than a name can be")]
    TooLong,
}

/// Writes the name on the wire, without the root's zero; true if the word stands for what is below it.
pub fn canonical(word: impl AsRef<[u8]>, wire: &mut Vec<u8>) -> Result<bool, Unmatchable> {
    let octets = word.as_ref();
    if let Some(suffix) = plain(octets, wire) {
        return Ok(suffix);
    }
    wire.clear();
    let (suffix, mut rest) = match octets {
        [] => return Err(Unmatchable::Empty),
        [b'.'] => return Ok(false),
        [b'.', rest @ ..] => (true, rest),
        _ => (false, octets),
    };
    while !rest.is_empty() {
        rest = label(rest, wire)?;
    }
    // With the root's zero.
    if wire.len() < MAX_NAME { Ok(suffix) } else { Err(Unmatchable::TooLong) }
}

/// Octets of words that mean themselves.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut octet = 0x21;
    while octet <= 0x7e {
        plain[octet] = !matches!(octet as u8, b'A'..=b'Z' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' | b'.');
        octet += 1;
    }
    plain
};

/// The same for a word without escapes, as almost all are, in one pass; none where there is more to it, or something wrong.
fn plain(word: &[u8], wire: &mut Vec<u8>) -> Option<bool> {
    let (suffix, name) = match word {
        [b'.', name @ ..] => (true, name),
        name => (false, name),
    };
    let (b'.', labels) = name.split_last()? else { return None };
    if name.len() >= MAX_NAME {
        return None;
    }
    wire.clear();
    // A label's length stands where the dot before it is, one octet further on.
    wire.push(0);
    wire.extend_from_slice(labels);
    let mut start = 0;
    for (at, octet) in name.iter().enumerate() {
        if PLAIN[usize::from(*octet)] {
            continue;
        }
        let length = at - start;
        if *octet != b'.' || length == 0 || length > MAX_LABEL {
            return None;
        }
        *wire.get_mut(start)? = length as u8;
        start = at + 1;
    }
    Some(suffix)
}

/// One label and the dot behind it; gives what follows.
fn label<'a>(text: &'a [u8], wire: &mut Vec<u8>) -> Result<&'a [u8], Unmatchable> {
    let (start, mut rest) = (wire.len(), text);
    wire.push(0);
    let rest = loop {
        let Some((&first, tail)) = rest.split_first() else { return Err(Unmatchable::NoFinalDot) };
        rest = tail;
        let octet = match first {
            b'.' => break tail,
            b'\\' => {
                let (octet, tail) = escaped(tail)?;
                rest = tail;
                octet
            }
            b'A'..=b'Z' => return Err(Unmatchable::UpperCase),
            b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' => return Err(Unmatchable::Escape),
            0x21..=0x7e => first,
            _ => return Err(Unmatchable::NotAscii),
        };
        wire.push(octet);
        // Checked here, so that the buffer stays small whatever comes.
        if wire.len() - start > MAX_LABEL + 1 {
            return Err(Unmatchable::TooLong);
        }
    };
    match (wire.len() - start - 1, wire.get_mut(start)) {
        (0, _) => Err(Unmatchable::EmptyLabel),
        (length, Some(slot)) => {
            *slot = u8::try_from(length).map_err(|_| Unmatchable::TooLong)?;
            if wire.len() < MAX_NAME { Ok(rest) } else { Err(Unmatchable::TooLong) }
        }
        (_, None) => Err(Unmatchable::TooLong),
    }
}

/// What stands behind a backslash, if a name off the wire would be written so.
fn escaped(text: &[u8]) -> Result<(u8, &[u8]), Unmatchable> {
    match text {
        [octet @ (b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\'), rest @ ..] => Ok((*octet, rest)),
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => {
            let number = [a, b, c].iter().fold(0_u16, |number, digit| number * 10 + u16::from(**digit - b'0'));
            match u8::try_from(number) {
                Ok(octet @ (0..0x20 | 0x7f..)) => Ok((octet, rest)),
                _ => Err(Unmatchable::Escape),
            }
        }
        _ => Err(Unmatchable::Escape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    fn check(word: &str, expected: Result<(&[u8], bool), Unmatchable>) {
        let mut wire = vec![1, 2, 3];
        let found = canonical(word, &mut wire);
        assert_eq!(found.map(|suffix| (wire.as_slice(), suffix)), expected, "{word}");
    }

    #[test]
    fn words_are_names_as_they_are_looked_up_or_none() {
        check(".", Ok((b"", false)));
        check("a.bc.", Ok((b"\x01a\x02bc", false)));
        check(".bc.", Ok((b"\x02bc", true)));
        check(r"a\.b.\009\255.", Ok((b"\x03a.b\x02\x09\xff", false)));
        check("*.a_b-1~.", Ok((b"\x01*\x06a_b-1~", false)));
        check("", Err(Unmatchable::Empty));
        check("a.b", Err(Unmatchable::NoFinalDot));
        check("A.b.", Err(Unmatchable::UpperCase));
        check("blåbär.se.", Err(Unmatchable::NotAscii));
        check("..", Err(Unmatchable::EmptyLabel));
        check("..a.", Err(Unmatchable::EmptyLabel));
        check("a..b.", Err(Unmatchable::EmptyLabel));
        for word in [r"\097.", r"\a.", "a@b.", "a b.", r"\256.", r"\1", r"a\"] {
            check(word, Err(Unmatchable::Escape));
        }
        check(&format!("{}.", "a".repeat(64)), Err(Unmatchable::TooLong));
        let longest = format!("{0}.{0}.{0}.{1}.", "a".repeat(63), "b".repeat(61));
        assert_eq!(canonical(&longest, &mut Vec::new()), Ok(false));
        check(&format!("b{longest}"), Err(Unmatchable::TooLong));
        check(&"a.".repeat(128), Err(Unmatchable::TooLong));
        assert_eq!(canonical("a.".repeat(127), &mut Vec::new()), Ok(false));
    }

    #[test]
    fn recorded_names_are_what_their_lookup_key_says() {
        let vector = vectors::load("dns_names.json");
        let names = vector["vectors"].as_array().unwrap();
        assert_eq!(names.len(), 17);
        for name in names {
            let mut expected = vectors::octets(&name["wire_name_hex"]).to_ascii_lowercase();
            assert_eq!(expected.pop(), Some(0));
            for (place, key) in name["lookup_keys_in_order"].as_array().unwrap().iter().enumerate() {
                let mut wire = Vec::new();
                assert_eq!(canonical(key.as_str().unwrap(), &mut wire), Ok(place > 0), "{key}");
                assert_eq!(wire, expected, "{key}");
                let first = usize::from(expected.first().copied().unwrap_or_default());
                expected.drain(..(first + 1).min(expected.len()));
            }
        }
    }
}
