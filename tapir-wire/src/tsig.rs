//! Keys for signed transfers (TSIG, RFC 8945), as tools write them into files.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::name::Name;

/// How messages are signed. Weaker ones (MD5, SHA-1) are refused: RFC 8945 section 6 deprecates them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::Display)]
#[strum(ascii_case_insensitive)]
pub enum Algorithm {
    /// What everybody has.
    #[strum(serialize = "hmac-sha256")]
    HmacSha256,
    /// Longer.
    #[strum(serialize = "hmac-sha384")]
    HmacSha384,
    /// Longest.
    #[strum(serialize = "hmac-sha512")]
    HmacSha512,
}

/// A key. It shows its name and never its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct TsigKey {
    /// Its name, known to both sides.
    pub name: Name,
    /// How messages are signed.
    pub algorithm: Algorithm,
    /// The shared secret.
    pub secret: Zeroizing<Vec<u8>>,
}

/// Why a text is no key. Nothing of the text is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TsigError {
    /// Neither of the two ways.
    #[error(
        "is no TSIG key: give what tsig-keygen prints, key \"NAME\" {{ algorithm hmac-sha256; secret \"BASE64\"; }};, or NAME:BASE64 with hmac-sha256: before it"
    )]
    Form,
    /// The name of the key is none.
    #[error("names a TSIG key that is no domain name")]
    Name,
    /// Unknown or weak.
    #[error("has an algorithm other than hmac-sha256, hmac-sha384 and hmac-sha512")]
    Algorithm,
    /// Not base64, or nothing.
    #[error("has a secret that is no base64")]
    Secret,
}

impl TsigKey {
    /// Reads a `key` clause as of BIND's `tsig-keygen`, or `[algorithm:]name:secret` as of `dig -y` (then hmac-sha256 is what no
    /// algorithm means).
    pub fn parse(text: &str) -> Result<Self, TsigError> {
        let text = text.trim_start_matches('\u{feff}').trim();
        match text.strip_prefix("key").filter(|rest| rest.starts_with([' ', '\t', '"', '\n', '\r'])) {
            Some(clause) => Self::of_clause(clause),
            None => Self::of_line(text),
        }
    }

    fn of_line(text: &str) -> Result<Self, TsigError> {
        let parts: Vec<&str> = text.split(':').collect();
        match *parts.as_slice() {
            [name, secret] => Self::new(name, "hmac-sha256", secret),
            [algorithm, name, secret] => Self::new(name, algorithm, secret),
            _ => Err(TsigError::Form),
        }
    }

    fn of_clause(clause: &str) -> Result<Self, TsigError> {
        let (name, rest) = clause.split_once('{').ok_or(TsigError::Form)?;
        let (body, rest) = rest.split_once('}').ok_or(TsigError::Form)?;
        if !matches!(rest.trim(), "" | ";") {
            return Err(TsigError::Form);
        }
        let (mut algorithm, mut secret) = (None, None);
        for statement in body.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            let (key, value) = statement.split_once(char::is_whitespace).ok_or(TsigError::Form)?;
            let slot = match key {
                "algorithm" => &mut algorithm,
                "secret" => &mut secret,
                _ => return Err(TsigError::Form),
            };
            if slot.replace(value).is_some() {
                return Err(TsigError::Form);
            }
        }
        Self::new(name, algorithm.ok_or(TsigError::Form)?, secret.ok_or(TsigError::Form)?)
    }

    fn new(name: &str, algorithm: &str, secret: &str) -> Result<Self, TsigError> {
        let name = Name::parse(unquoted(name)).ok().filter(|name| !name.is_root()).ok_or(TsigError::Name)?;
        let algorithm = unquoted(algorithm);
        let algorithm = algorithm.strip_suffix('.').unwrap_or(algorithm).parse().map_err(|_| TsigError::Algorithm)?;
        let secret = STANDARD.decode(unquoted(secret)).map_err(|_| TsigError::Secret)?;
        if secret.is_empty() {
            return Err(TsigError::Secret);
        }
        Ok(Self { name, algorithm, secret: Zeroizing::new(secret) })
    }
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TsigKey").field("name", &self.name).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAUSE: &str = "key \"feed.example\" {\n\talgorithm hmac-sha512;\n\tsecret \"c2VjcmV0LW9jdGV0cw==\";\n};\n";

    fn check(text: &str, expected: Result<(&str, Algorithm), TsigError>) {
        let key = TsigKey::parse(text);
        if let Ok(key) = &key {
            assert_eq!(key.secret.as_slice(), b"secret-octets");
        }
        assert_eq!(key.as_ref().map(|key| (key.name.as_str(), key.algorithm)).map_err(|error| *error), expected, "{text:?}");
    }

    #[test]
    fn both_ways_to_write_a_key() {
        check(CLAUSE, Ok(("feed.example.", Algorithm::HmacSha512)));
        check("key k { secret c2VjcmV0LW9jdGV0cw== ; algorithm HMAC-SHA256. ; }", Ok(("k.", Algorithm::HmacSha256)));
        check("Feed.Example.:c2VjcmV0LW9jdGV0cw==\n", Ok(("feed.example.", Algorithm::HmacSha256)));
        check("hmac-sha384:feed:c2VjcmV0LW9jdGV0cw==", Ok(("feed.", Algorithm::HmacSha384)));
        check("keyring:c2VjcmV0LW9jdGV0cw==", Ok(("keyring.", Algorithm::HmacSha256)));
    }

    #[test]
    fn refusals() {
        for text in ["", "c2VjcmV0", "key \"k\" { secret \"c2VjcmV0\"; };", "key k { algorithm a; secret b", "a:b:c:d"] {
            check(text, Err(TsigError::Form));
        }
        check("key k { algorithm hmac-sha256; secret a; secret b; };", Err(TsigError::Form));
        check(&format!("{CLAUSE}{CLAUSE}"), Err(TsigError::Form));
        check("a..b:c2VjcmV0", Err(TsigError::Name));
        check(".:c2VjcmV0", Err(TsigError::Name));
        for weak in ["hmac-md5", "hmac-sha1", "hmac-md5.sig-alg.reg.int", "none"] {
            check(&format!("{weak}:k:c2VjcmV0"), Err(TsigError::Algorithm));
        }
        check("k:c2VjcmV", Err(TsigError::Secret));
        check("k:", Err(TsigError::Secret));
    }

    #[test]
    fn a_secret_is_shown_nowhere() {
        let shown = format!("{:?}", TsigKey::parse(CLAUSE).unwrap());
        assert!(shown.contains("feed.example.") && !shown.contains("ecret-") && !shown.contains("115"), "{shown}");
        for text in ["k:c2VjcmV", "key k { algorithm hmac-sha256; secret c2VjcmV; };"] {
            assert!(!TsigKey::parse(text).unwrap_err().to_string().contains("c2Vjcm"));
        }
    }
}
