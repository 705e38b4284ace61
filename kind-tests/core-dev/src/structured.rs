//! Structured fields (RFC 8941), as far as signatures and digests need them: dictionaries of items and inner lists.

use std::fmt::Write as _;

use crate::encoding::{base64, from_base64};

/// A bare item. Dates and display strings of RFC 9651 do not occur in these headers.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Up to 15 digits.
    Integer(i64),
    /// Kept as text, it is only ever written again.
    Decimal(String),
    /// Printable ASCII.
    Text(String),
    /// A word.
    Token(String),
    /// Binary.
    Bytes(Vec<u8>),
    /// `?0` or `?1`
    Boolean(bool),
}

/// Names and values in order; a repeated name has its last value at its first place.
pub type Parameters = Vec<(String, Item)>;

/// A member of a dictionary.
#[derive(Clone, Debug, PartialEq)]
pub enum Member {
    /// One item.
    Item(Item, Parameters),
    /// Items in parentheses.
    List(Vec<(Item, Parameters)>, Parameters),
}

/// The text is no structured field of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header is no structured field")]
pub struct Malformed;

/// Reads a dictionary (RFC 8941 section 4.2.2).
///
/// # Errors
/// When the text is none.
pub fn dictionary(text: &str) -> Result<Vec<(String, Member)>, Malformed> {
    let mut reader = Reader { rest: text.trim_matches(' ') };
    let mut members = Vec::new();
    while !reader.rest.is_empty() {
        let key = reader.key()?;
        let member = if reader.take('=') { reader.member()? } else { Member::Item(Item::Boolean(true), reader.parameters()?) };
        put(&mut members, key, member);
        reader.skip(&[' ', '\t']);
        if reader.rest.is_empty() {
            break;
        }
        if !reader.take(',') {
            return Err(Malformed);
        }
        reader.skip(&[' ', '\t']);
        if reader.rest.is_empty() {
            return Err(Malformed);
        }
    }
    Ok(members)
}

/// The value of a parameter.
#[must_use]
pub fn parameter<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a Item> {
    parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// An inner list in canonical form (RFC 8941 section 4.1.1.1).
#[must_use]
pub fn write_list(items: &[(Item, Parameters)], parameters: &Parameters) -> String {
    let items: Vec<String> = items.iter().map(|(item, parameters)| write_item(item) + &write_parameters(parameters)).collect();
    format!("({}){}", items.join(" "), write_parameters(parameters))
}

fn write_parameters(parameters: &Parameters) -> String {
    let mut text = String::new();
    for (name, value) in parameters {
        let written = match value {
            Item::Boolean(true) => write!(text, ";{name}"),
            value => write!(text, ";{name}={}", write_item(value)),
        };
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }
    text
}

fn write_item(item: &Item) -> String {
    match item {
        Item::Integer(number) => number.to_string(),
        Item::Decimal(text) | Item::Token(text) => text.clone(),
        Item::Text(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        Item::Bytes(bytes) => format!(":{}:", base64(bytes)),
        Item::Boolean(value) => format!("?{}", u8::from(*value)),
    }
}

fn put<T>(list: &mut Vec<(String, T)>, key: String, value: T) {
    match list.iter_mut().find(|(name, _)| *name == key) {
        Some(entry) => entry.1 = value,
        None => list.push((key, value)),
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, expected: char) -> bool {
        let found = self.rest.strip_prefix(expected);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn skip(&mut self, characters: &[char]) {
        self.rest = self.rest.trim_start_matches(characters);
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|character| !accept(character)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn key(&mut self) -> Result<String, Malformed> {
        if !self.rest.starts_with(|first: char| first.is_ascii_lowercase() || first == '*') {
            return Err(Malformed);
        }
        Ok(self
            .take_while(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || "_-.*".contains(character))
            .to_owned())
    }

    fn member(&mut self) -> Result<Member, Malformed> {
        if !self.take('(') {
            let item = self.item()?;
            return Ok(Member::Item(item, self.parameters()?));
        }
        let mut items = Vec::new();
        loop {
            self.skip(&[' ']);
            if self.take(')') {
                return Ok(Member::List(items, self.parameters()?));
            }
            let item = self.item()?;
            items.push((item, self.parameters()?));
            if !self.rest.starts_with([' ', ')']) {
                return Err(Malformed);
            }
        }
    }

    fn parameters(&mut self) -> Result<Parameters, Malformed> {
        let mut parameters = Vec::new();
        while self.take(';') {
            self.skip(&[' ']);
            let key = self.key()?;
            let value = if self.take('=') { self.item()? } else { Item::Boolean(true) };
            put(&mut parameters, key, value);
        }
        Ok(parameters)
    }

    fn item(&mut self) -> Result<Item, Malformed> {
        match self.rest.chars().next().ok_or(Malformed)? {
            '"' => self.text(),
            ':' => self.bytes(),
            '?' => match self.rest.get(1..2) {
                Some(digit @ ("0" | "1")) => {
                    self.rest = self.rest.get(2..).unwrap_or_default();
                    Ok(Item::Boolean(digit == "1"))
                }
                _ => Err(Malformed),
            },
            '-' | '0'..='9' => self.number(),
            first if first.is_ascii_alphabetic() || first == '*' => Ok(Item::Token(
                self.take_while(|character| character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(character))
                    .to_owned(),
            )),
            _ => Err(Malformed),
        }
    }

    fn text(&mut self) -> Result<Item, Malformed> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = self.rest.get(index + 1..).unwrap_or_default();
                    return Ok(Item::Text(text));
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    _ => return Err(Malformed),
                },
                ' '..='~' => text.push(character),
                _ => return Err(Malformed),
            }
        }
        Err(Malformed)
    }

    fn bytes(&mut self) -> Result<Item, Malformed> {
        let (encoded, rest) = self.rest.get(1..).and_then(|rest| rest.split_once(':')).ok_or(Malformed)?;
        self.rest = rest;
        from_base64(encoded).map(Item::Bytes).ok_or(Malformed)
    }

    fn number(&mut self) -> Result<Item, Malformed> {
        let start = self.rest;
        self.take('-');
        let whole = self.take_while(|character| character.is_ascii_digit());
        if whole.is_empty() || whole.len() > 15 {
            return Err(Malformed);
        }
        if self.take('.') {
            let fraction = self.take_while(|character| character.is_ascii_digit());
            let length = start.len() - self.rest.len();
            let valid = (1..=3).contains(&fraction.len()) && whole.len() <= 12;
            return valid.then(|| Item::Decimal(start.get(..length).unwrap_or_default().to_owned())).ok_or(Malformed);
        }
        let length = start.len() - self.rest.len();
        start.get(..length).and_then(|text| text.parse().ok()).map(Item::Integer).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form_of_what_was_read() {
        let check = |text: &str, expected: &str| {
            let members = dictionary(text).unwrap();
            let Some((_, Member::List(items, parameters))) = members.first() else { panic!("{text}") };
            assert_eq!(write_list(items, parameters), expected);
        };
        check(
            r#"sig1=("content-type" "a");created=5;alg="ed25519";keyid="x""#,
            r#"("content-type" "a");created=5;alg="ed25519";keyid="x""#,
        );
        check(
            r#"s=(  "a"  "b";sf );x; y=?0;z=1.50;t=tok;b=:AA==:;q="\"""#,
            r#"("a" "b";sf);x;y=?0;z=1.50;t=tok;b=:AA==:;q="\"""#,
        );
        check("s=()", "()");
    }

    #[test]
    fn malformed_fields_are_refused() {
        for text in [
            "=1",
            "A=1",
            "a=",
            "a=(",
            "a=(1",
            "a=(1 2",
            "a=\"x",
            "a=:AA:",
            "a=:AA",
            "a=1,",
            "a=1 b=2",
            "a=1;",
            "a=1;=2",
            "a=1234567890123456",
            "a=?2",
            "a=\u{e4}",
            "a=(\"x\"\"y\")",
            "a=1.",
        ] {
            assert_eq!(dictionary(text), Err(Malformed), "{text}");
        }
        assert_eq!(dictionary(""), Ok(vec![]));
    }
}
