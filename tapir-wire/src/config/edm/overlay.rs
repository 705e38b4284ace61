//! Values of the command line and of the environment: laid over every reading of the file.

use std::fmt;

use super::table::{EdmKey, Kind};

/// Values by key. A later one takes the place of an earlier one.
#[derive(Clone, Default, PartialEq)]
pub struct Overlay(toml::Table);

/// A value that a key cannot have. It may be secret, and is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// No such flag or variable.
    #[error("is not known")]
    Unknown,
    /// Not what Go takes for a boolean.
    #[error("must be true or false")]
    Bool,
    /// Not what Go takes for an integer.
    #[error("must be an integer")]
    Integer,
    /// Not what upstream takes for the keep-alive.
    #[error("must be a decimal number up to 65535")]
    Decimal,
}

impl Overlay {
    /// Sets a key to the value that a flag or a variable has.
    ///
    /// # Errors
    /// When the key cannot have it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), OverlayError> {
        let key = EdmKey::named(name).filter(|key| key.on_command_line()).ok_or(OverlayError::Unknown)?;
        let value = match key.kind {
            Kind::Bool => go_bool(value).map(toml::Value::from).ok_or(OverlayError::Bool)?,
            Kind::Integer => go_integer(value).map(toml::Value::from).ok_or(OverlayError::Integer)?,
            Kind::Decimal => {
                let digits = value.bytes().all(|octet| octet.is_ascii_digit());
                let number = value.parse::<u16>().ok().filter(|_| digits).ok_or(OverlayError::Decimal)?;
                i64::from(number).into()
            }
            Kind::Text => value.into(),
            Kind::Texts => {
                let texts = value.split(',').map(str::trim).filter(|text| !text.is_empty());
                toml::Value::Array(texts.map(toml::Value::from).collect())
            }
        };
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// Whether there is nothing to lay over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) const fn table(&self) -> &toml::Table {
        &self.0
    }
}

impl fmt::Debug for Overlay {
    /// Values may be secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// As Go's `strconv.ParseBool`.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// As Go's `strconv.ParseInt` with base 0: a prefix tells the base, a single underscore may stand between digits or behind the prefix.
fn go_integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // Without a prefix an underscore needs a digit in front.
    let body = if radix == 10 { body } else { body.strip_prefix('_').unwrap_or(body) };
    let misplaced = body.is_empty() || body.starts_with('_') || body.ends_with('_') || body.contains("__");
    if misplaced || !body.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_') {
        return None;
    }
    let magnitude = i128::from_str_radix(&body.replace('_', ""), radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_as_go_reads_them() {
        let good = [
            ("0", 0),
            ("20", 20),
            ("-1", -1),
            ("+7", 7),
            ("0x1F", 31),
            ("0X_1f", 31),
            ("0b101", 5),
            ("0o17", 15),
            ("017", 15),
            ("0_17", 15),
            ("1_000_000", 1_000_000),
            ("-0x8000000000000000", i64::MIN),
        ];
        for (text, number) in good {
            assert_eq!(go_integer(text), Some(number), "{text}");
        }
        for text in ["", "-", "_1", "1_", "1__0", "0x", "08", "1e3", "1.0", " 1", "0x8000000000000000", "--1", "0b2", "١"] {
            assert_eq!(go_integer(text), None, "{text:?}");
        }
    }

    #[test]
    fn values_of_each_kind() {
        let mut overlay = Overlay::default();
        assert_eq!(overlay.set("debug", "TRUE"), Ok(()));
        assert_eq!(overlay.set("debug", "yes"), Err(OverlayError::Bool));
        assert_eq!(overlay.set("qname-seen-entries", "0x10"), Ok(()));
        assert_eq!(overlay.set("qname-seen-entries", "many"), Err(OverlayError::Integer));
        for wrong in ["0x10", "65536", "-1", "+1", "1_0", ""] {
            assert_eq!(overlay.set("mqtt-keepalive", wrong), Err(OverlayError::Decimal), "{wrong}");
        }
        assert_eq!(overlay.set("mqtt-keepalive", "065"), Ok(()));
        assert_eq!(overlay.set("counted-types", "CLIENT_RESPONSE, AUTH_RESPONSE"), Ok(()));
        for unknown in ["format", "mqtt-sign-workers", "config-file", "colour"] {
            assert_eq!(overlay.set(unknown, "1"), Err(OverlayError::Unknown), "{unknown}");
        }
        assert_eq!(overlay.table()["counted-types"].as_array().map(Vec::len), Some(2));
        overlay.set("cryptopan-key", "hush").unwrap();
        assert!(!format!("{overlay:?}").contains("hush"));
    }
}
