//! Names become keys, or are refused with the reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tapir_table::{KeyBuf, KeyError, MAX_KEY};

fn check(text: &str, expected: Result<&[u8], KeyError>) {
    let key = KeyBuf::from_text(text, MAX_KEY);
    assert_eq!(key.as_ref().map(KeyBuf::as_bytes), expected.as_ref().map(|key| *key), "{text}");
    if let Ok(key) = key {
        assert_eq!(KeyBuf::from_text(&key.to_string(), MAX_KEY), Ok(key), "{text}");
        assert_eq!(KeyBuf::from_wire(&key.to_wire(), MAX_KEY), Ok(key), "{text}");
        assert_eq!(KeyBuf::from_key(key.as_bytes()), Ok(key), "{text}");
    }
}

#[test]
fn text_becomes_labels_from_the_top() {
    check("www.Example.COM", Ok(b"\x03com\x07example\x03www"));
    check("www.example.com.", Ok(b"\x03com\x07example\x03www"));
    check(r"a\.b.\000.c", Ok(b"\x01c\x01\x00\x03a.b"));
    check(".", Err(KeyError::Root));
    check("..", Err(KeyError::EmptyLabel));
    check("", Err(KeyError::Root));
    check("a..b", Err(KeyError::EmptyLabel));
    check(".a", Err(KeyError::EmptyLabel));
    check("a b", Err(KeyError::BadCharacter));
    check("bücher.example", Err(KeyError::BadCharacter));
    check(r"a\", Err(KeyError::BadEscape));
    check(r"a\25", Err(KeyError::BadEscape));
    check(r"a\256", Err(KeyError::BadEscape));
    check(&"a".repeat(64), Err(KeyError::LabelTooLong));
    check(&format!("{}.x", "a".repeat(64)), Err(KeyError::LabelTooLong));
    check(&"a.".repeat(127), Ok(&b"\x01a".repeat(127)));
    check(&"a.".repeat(128), Err(KeyError::TooLong));
}

#[test]
fn the_zone_takes_room() {
    let name = |octets: usize| format!("{}.{}", "a".repeat(63), "b".repeat(octets - 65));
    assert_eq!(KeyBuf::from_text(&name(100), 100).map(|key| key.len()), Ok(100));
    assert_eq!(KeyBuf::from_text(&name(101), 100), Err(KeyError::TooLong));
    assert_eq!(KeyBuf::from_wire(b"\x01a\x01b", 3), Err(KeyError::TooLong));
}

#[test]
fn wire_form_is_whole_labels() {
    let read = |wire: &[u8]| KeyBuf::from_wire(wire, MAX_KEY).map(|key| key.to_string());
    assert_eq!(read(b"\x01A\x01b\0"), Ok("a.b.".into()));
    assert_eq!(read(b"\x01a\x01b"), Ok("a.b.".into()));
    assert_eq!(read(b"\x01\0"), Ok("\\000.".into()), "a label of one zero octet, no root");
    assert_eq!(read(b"\0"), Err(KeyError::Root));
    assert_eq!(read(b""), Err(KeyError::Root));
    assert_eq!(read(b"\x02a"), Err(KeyError::NotLabels));
    assert_eq!(read(b"\0\x01a"), Err(KeyError::EmptyLabel));
    assert_eq!(read(b"\xc0\x0c"), Err(KeyError::LabelTooLong));
    assert_eq!(KeyBuf::from_key(&[1; 256]), Err(KeyError::TooLong));
}

#[test]
fn a_name_stands_before_what_is_below_it() {
    let key = |text: &str| KeyBuf::from_text(text, MAX_KEY).unwrap();
    let mut sorted = ["com", "example.com", "a.example.com", "z.a.example.com", "example.org", "exampla.com"].map(key);
    sorted.sort();
    let names = sorted.map(|key| key.to_string());
    assert_eq!(names, ["com.", "exampla.com.", "example.com.", "a.example.com.", "z.a.example.com.", "example.org."]);
    let borders: Vec<_> = key("www.example.com").borders().collect();
    assert_eq!(borders, [4, 12, 16]);
}
