//! JSON Web Signatures (RFC 7515): reading the three serialisations and verifying. No signing of requests here.

use serde_json::{Map, Value};

use crate::encoding::from_base64url;
use crate::jwk::VerifyingKey;

/// A JWS as read, not yet verified.
#[derive(Clone, Debug)]
pub struct Jws {
    /// The decoded payload.
    pub payload: Vec<u8>,
    /// At least one.
    pub signatures: Vec<JwsSignature>,
    encoded_payload: String,
}

/// One signature with its headers.
#[derive(Clone, Debug)]
pub struct JwsSignature {
    /// The protected header, empty when there is none.
    pub protected: Map<String, Value>,
    unprotected: Map<String, Value>,
    encoded_protected: String,
    signature: Vec<u8>,
}

/// Why bytes are no JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoseError {
    /// Neither a JSON object nor three parts with dots.
    #[error("the body is no JWS")]
    NoJws,
    /// A member is missing, has the wrong type or is no base64url.
    #[error("the JWS member {0} is missing or malformed")]
    Member(&'static str),
    /// The same name in protected and unprotected header (RFC 7515 section 4).
    #[error("a JWS header member stands in both headers")]
    DoubleHeader,
}

impl Jws {
    /// Reads flattened or general JSON serialisation.
    ///
    /// # Errors
    /// When the bytes are nothing of the kind; compact serialisation is not.
    pub fn parse_json(body: &[u8]) -> Result<Self, JoseError> {
        let value: Value = serde_json::from_slice(body).map_err(|_| JoseError::NoJws)?;
        let object = value.as_object().ok_or(JoseError::NoJws)?;
        let encoded_payload = text(object, "payload")?.ok_or(JoseError::Member("payload"))?;
        let payload = from_base64url(&encoded_payload).ok_or(JoseError::Member("payload"))?;
        let signatures = match object.get("signatures") {
            // RFC 7515 section 7.2.2: the flattened form has no "signatures" member, the general one no "signature".
            Some(_) if object.contains_key("signature") => return Err(JoseError::Member("signatures")),
            Some(Value::Array(list)) if !list.is_empty() => list
                .iter()
                .map(|entry| JwsSignature::parse(entry.as_object().ok_or(JoseError::Member("signatures"))?))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(JoseError::Member("signatures")),
            None => vec![JwsSignature::parse(object)?],
        };
        Ok(Self { payload, signatures, encoded_payload })
    }

    /// Reads any of the three serialisations.
    ///
    /// # Errors
    /// When the bytes are none of them.
    pub fn parse_any(body: &[u8]) -> Result<Self, JoseError> {
        let Ok(compact) = std::str::from_utf8(body) else { return Err(JoseError::NoJws) };
        let parts: Vec<&str> = compact.trim().split('.').collect();
        let [protected, payload, signature] = parts[..] else { return Self::parse_json(body) };
        if compact.trim_start().starts_with('{') {
            return Self::parse_json(body);
        }
        let object: Map<String, Value> = [("protected", protected), ("signature", signature)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        Ok(Self {
            payload: from_base64url(payload).ok_or(JoseError::Member("payload"))?,
            signatures: vec![JwsSignature::parse(&object)?],
            encoded_payload: payload.to_owned(),
        })
    }

    /// Whether any of the signatures is by `key`. Names of keys in headers play no part, as at nodeman.
    #[must_use]
    pub fn any_signature_by(&self, key: &VerifyingKey) -> bool {
        self.signatures.iter().any(|signature| self.is_signed_by(signature, key))
    }

    /// Whether this one signature is by `key`.
    #[must_use]
    pub fn is_signed_by(&self, signature: &JwsSignature, key: &VerifyingKey) -> bool {
        let Some(alg) = signature.header("alg").and_then(Value::as_str) else { return false };
        // No extension is implemented, so whatever "crit" names is unknown (RFC 7515 section 4.1.11).
        if signature.header("crit").is_some() {
            return false;
        }
        let message = format!("{}.{}", signature.encoded_protected, self.encoded_payload);
        key.verifies(alg, message.as_bytes(), &signature.signature)
    }
}

impl JwsSignature {
    fn parse(object: &Map<String, Value>) -> Result<Self, JoseError> {
        let encoded_protected = text(object, "protected")?.unwrap_or_default();
        let protected = if encoded_protected.is_empty() {
            Map::new()
        } else {
            let bytes = from_base64url(&encoded_protected).ok_or(JoseError::Member("protected"))?;
            serde_json::from_slice(&bytes).map_err(|_| JoseError::Member("protected"))?
        };
        let unprotected = match object.get("header") {
            None => Map::new(),
            Some(Value::Object(header)) => header.clone(),
            Some(_) => return Err(JoseError::Member("header")),
        };
        if unprotected.keys().any(|name| protected.contains_key(name)) {
            return Err(JoseError::DoubleHeader);
        }
        let signature = text(object, "signature")?.ok_or(JoseError::Member("signature"))?;
        let signature = from_base64url(&signature).ok_or(JoseError::Member("signature"))?;
        Ok(Self { protected, unprotected, encoded_protected, signature })
    }

    fn header(&self, name: &str) -> Option<&Value> {
        self.protected.get(name).or_else(|| self.unprotected.get(name))
    }
}

fn text(object: &Map<String, Value>, name: &'static str) -> Result<Option<String>, JoseError> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(JoseError::Member(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_jws_is_refused() {
        for body in [
            &b"hello"[..],
            b"{}",
            b"[]",
            b"",
            b"\xff",
            b"a.b.c",
            b"{\"payload\":\"AA\"}",
            b"{\"payload\":\"AA\",\"signatures\":[]}",
            b"{\"payload\":\"AA\",\"signatures\":[7]}",
            b"{\"payload\":\"A\",\"signature\":\"AA\"}",
            b"{\"payload\":\"AA\",\"signature\":\"AA=\"}",
            b"{\"payload\":\"AA\",\"signature\":\"AA\",\"signatures\":[{\"signature\":\"AA\"}]}",
            b"{\"payload\":\"AA\",\"signature\":\"AA\",\"protected\":\"AA\"}",
            b"{\"payload\":\"AA\",\"signature\":\"AA\",\"header\":5}",
            b"{\"payload\":\"AA\",\"signature\":\"AA\",\"protected\":\"eyJhbGciOiJFZERTQSJ9\",\"header\":{\"alg\":\"EdDSA\"}}",
        ] {
            assert!(Jws::parse_any(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn compact_form_is_read_only_where_it_is_allowed() {
        let compact = b"eyJhbGciOiJFZERTQSJ9.AA.AA";
        assert!(Jws::parse_any(compact).is_ok());
        assert_eq!(Jws::parse_json(compact).map(|_| ()), Err(JoseError::NoJws));
    }
}
