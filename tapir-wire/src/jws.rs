//! JSON Web Signatures (RFC 7515): flattened and general for what we send, those and compact for what we take.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::jwk::{DataKey, EnrolmentKey, JwkError, TrustedKeys, decode, encode};

/// Largest message that is looked at. Core's observations have a few hundred octets; this leaves room for lists by hand.
pub const MAX_MESSAGE: usize = 1024 * 1024;
/// Signatures looked at in one message: each costs a public-key operation, and the sender is not yet known to be anybody.
pub const MAX_SIGNATURES: usize = 8;

/// Why a message was not accepted. Variant names serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum VerifyError {
    /// Longer than [`MAX_MESSAGE`].
    #[error("message is larger than {MAX_MESSAGE} octets")]
    TooLarge,
    /// None of the three serialisations.
    #[error("message is no JWS")]
    NotJws,
    /// More than [`MAX_SIGNATURES`].
    #[error("message has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// A protected header that is missing or no JSON object.
    #[error("signature has no readable protected header")]
    BadHeader,
    /// `crit`, whatever it names: we know no extension.
    #[error("signature demands an extension")]
    CriticalExtension,
    /// No `kid` in the protected header.
    #[error("signature names no key in its protected header")]
    NoKeyId,
    /// A `kid` that is not trusted.
    #[error("signature is by an unknown key")]
    UnknownKey,
    /// An algorithm that is not the key's.
    #[error("signature names an algorithm that is not the key's")]
    WrongAlgorithm,
    /// It does not verify.
    #[error("signature does not verify")]
    BadSignature,
}

/// Signs as Core's bridge wants events: flattened JSON, members in this order, nothing but `alg` and `kid` in the header.
#[must_use]
pub fn sign_flattened(payload: &[u8], key: &DataKey) -> String {
    let payload = encode(payload);
    let protected = encode(header("EdDSA", Some(key.kid())).as_bytes());
    let signature = encode(&key.sign(format!("{protected}.{payload}").as_bytes()));
    format!(r#"{{"payload":"{payload}","protected":"{protected}","signature":"{signature}"}}"#)
}

/// Signs an enrolment request: general JSON with two signatures, the data key's first.
pub fn sign_enrolment(payload: &[u8], data: &DataKey, enrolment: &EnrolmentKey) -> Result<String, JwkError> {
    let payload = encode(payload);
    let first = encode(header("EdDSA", Some(data.kid())).as_bytes());
    let second = encode(header(enrolment.algorithm(), enrolment.kid()).as_bytes());
    let by_data = encode(&data.sign(format!("{first}.{payload}").as_bytes()));
    let by_enrolment = encode(&enrolment.sign(format!("{second}.{payload}").as_bytes())?);
    let message = json!({
        "payload": payload,
        "signatures": [
            {"protected": first, "signature": by_data},
            {"protected": second, "signature": by_enrolment},
        ],
    });
    Ok(message.to_string())
}

/// Returns the payload if any one signature is good: made by a trusted key that the protected header names, with that key's
/// own algorithm. Upstream gives up at the first unknown key id and does not compare the header's algorithm.
pub fn verify(message: &[u8], keys: &TrustedKeys) -> Result<Vec<u8>, VerifyError> {
    if message.len() > MAX_MESSAGE {
        return Err(VerifyError::TooLarge);
    }
    let text = std::str::from_utf8(message).map_err(|_| VerifyError::NotJws)?.trim_ascii();
    let parts = if text.starts_with('{') { json_parts(text)? } else { compact_parts(text)? };
    if parts.signatures.len() > MAX_SIGNATURES {
        return Err(VerifyError::TooManySignatures);
    }
    let mut reason = VerifyError::NotJws;
    for signature in &parts.signatures {
        match check(&parts.payload, signature, keys) {
            Ok(()) => return decode(&parts.payload).ok_or(VerifyError::NotJws),
            // The reason nearest to success says most about what went wrong.
            Err(error) if error as u8 > reason as u8 => reason = error,
            Err(_) => {}
        }
    }
    Err(reason)
}

struct Parts {
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    #[serde(default)]
    protected: String,
    signature: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
    /// RFC 7797; only legal together with `crit`, refused here by itself as well because it changes what is signed.
    #[serde(default)]
    b64: Option<Value>,
}

fn json_parts(text: &str) -> Result<Parts, VerifyError> {
    #[derive(Deserialize)]
    struct Json {
        payload: String,
        signatures: Option<Vec<Signature>>,
        protected: Option<String>,
        signature: Option<String>,
    }
    let json: Json = serde_json::from_str(text).map_err(|_| VerifyError::NotJws)?;
    let signatures = match (json.signatures, json.signature) {
        (Some(signatures), None) if json.protected.is_none() => signatures,
        (None, Some(signature)) => vec![Signature { protected: json.protected.unwrap_or_default(), signature }],
        // RFC 7515 section 7.2.2: the flattened form must not be mixed with "signatures".
        _ => return Err(VerifyError::NotJws),
    };
    Ok(Parts { payload: json.payload, signatures })
}

fn compact_parts(text: &str) -> Result<Parts, VerifyError> {
    let mut parts = text.split('.').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(protected), Some(payload), Some(signature), None) => {
            Ok(Parts { payload, signatures: vec![Signature { protected, signature }] })
        }
        _ => Err(VerifyError::NotJws),
    }
}

fn check(payload: &str, signature: &Signature, keys: &TrustedKeys) -> Result<(), VerifyError> {
    let header = decode(&signature.protected).ok_or(VerifyError::BadHeader)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| VerifyError::BadHeader)?;
    if header.crit.is_some() || header.b64.is_some() {
        return Err(VerifyError::CriticalExtension);
    }
    let kid = header.kid.ok_or(VerifyError::NoKeyId)?;
    let octets = decode(&signature.signature).ok_or(VerifyError::BadSignature)?;
    let signed = format!("{}.{payload}", signature.protected);
    let mut reason = VerifyError::UnknownKey;
    for key in keys.with_kid(&kid) {
        if key.algorithm() != header.alg {
            reason = VerifyError::WrongAlgorithm;
        } else if key.verifies(signed.as_bytes(), &octets) {
            return Ok(());
        } else {
            reason = VerifyError::BadSignature;
        }
    }
    Err(reason)
}

fn header(algorithm: &str, kid: Option<&str>) -> String {
    match kid {
        Some(kid) => json!({"alg": algorithm, "kid": kid}).to_string(),
        None => json!({"alg": algorithm}).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_name::NodeName;

    fn key() -> DataKey {
        DataKey::generate(&NodeName::parse("core.example").unwrap()).unwrap()
    }

    fn trust(keys: &[&DataKey]) -> TrustedKeys {
        let keys: Vec<_> = keys.iter().map(|key| key.public_jwk()).collect();
        TrustedKeys::from_value(&json!({ "keys": keys })).unwrap()
    }

    /// Signs with any header.
    fn signature(key: &DataKey, header: &Value, payload: &[u8]) -> Value {
        let protected = encode(header.to_string().as_bytes());
        let signature = encode(&key.sign(format!("{protected}.{}", encode(payload)).as_bytes()));
        json!({"protected": protected, "signature": signature})
    }

    fn flattened(key: &DataKey, header: &Value) -> String {
        let mut message = signature(key, header, b"x");
        message["payload"] = encode(b"x").into();
        message.to_string()
    }

    fn general(signatures: &[Value]) -> String {
        json!({"payload": encode(b"x"), "signatures": signatures}).to_string()
    }

    #[test]
    fn every_defect_has_its_reason() {
        let key = key();
        let keys = trust(&[&key]);
        let check = |message: &str, expected| assert_eq!(verify(message.as_bytes(), &keys), expected, "{message}");
        let with = |header: Value| flattened(&key, &header);
        check(&with(json!({"alg": "EdDSA", "kid": "core.example"})), Ok(b"x".to_vec()));
        check(&with(json!({"alg": "EdDSA", "kid": "core.example", "typ": "JOSE"})), Ok(b"x".to_vec()));
        check(&with(json!({"alg": "EdDSA"})), Err(VerifyError::NoKeyId));
        check(&with(json!({"kid": "core.example"})), Err(VerifyError::BadHeader));
        check(&with(json!({"alg": "EdDSA", "kid": "other"})), Err(VerifyError::UnknownKey));
        check(&with(json!({"alg": "none", "kid": "core.example"})), Err(VerifyError::WrongAlgorithm));
        check(&with(json!({"alg": "HS256", "kid": "core.example"})), Err(VerifyError::WrongAlgorithm));
        check(&with(json!({"alg": "EdDSA", "kid": "core.example", "crit": []})), Err(VerifyError::CriticalExtension));
        check(&with(json!({"alg": "EdDSA", "kid": "core.example", "b64": false})), Err(VerifyError::CriticalExtension));
        check("", Err(VerifyError::NotJws));
        check("{}", Err(VerifyError::NotJws));
        check("a.b", Err(VerifyError::NotJws));
        check(&general(&[]), Err(VerifyError::NotJws));
        check(&"x".repeat(MAX_MESSAGE + 1), Err(VerifyError::TooLarge));
    }

    #[test]
    fn one_good_signature_among_strange_ones_suffices() {
        let (ours, stranger) = (key(), key());
        let keys = trust(&[&ours]);
        let good = signature(&ours, &json!({"alg": "EdDSA", "kid": "core.example"}), b"x");
        let unknown = signature(&stranger, &json!({"alg": "EdDSA", "kid": "other"}), b"x");
        let forged = signature(&stranger, &json!({"alg": "EdDSA", "kid": "core.example"}), b"x");
        for signatures in [[unknown.clone(), good.clone()], [good.clone(), forged.clone()], [forged.clone(), good.clone()]] {
            assert_eq!(verify(general(&signatures).as_bytes(), &keys), Ok(b"x".to_vec()));
        }
        assert_eq!(verify(general(&[forged, unknown]).as_bytes(), &keys), Err(VerifyError::BadSignature));
        let many = vec![good; MAX_SIGNATURES + 1];
        assert_eq!(verify(general(&many).as_bytes(), &keys), Err(VerifyError::TooManySignatures));
    }

    #[test]
    fn flattened_and_general_form_must_not_be_mixed() {
        let key = key();
        let good = signature(&key, &json!({"alg": "EdDSA", "kid": "core.example"}), b"x");
        let mut mixed = good.clone();
        mixed["payload"] = encode(b"x").into();
        mixed["signatures"] = json!([good]);
        assert_eq!(verify(mixed.to_string().as_bytes(), &trust(&[&key])), Err(VerifyError::NotJws));
    }

    #[test]
    fn two_keys_of_one_id_are_both_tried() {
        let (first, second) = (key(), key());
        let keys = trust(&[&first, &second]);
        for key in [&first, &second] {
            assert_eq!(verify(sign_flattened(b"x", key).as_bytes(), &keys), Ok(b"x".to_vec()));
        }
    }

    #[test]
    fn the_enrolment_carries_both_signatures_data_key_first() {
        let key = key();
        let enrolment = EnrolmentKey::from_jwk(r#"{"kty":"oct","kid":"e","alg":"HS256","k":"AAAA"}"#).unwrap();
        let message: Value = serde_json::from_str(&sign_enrolment(b"x", &key, &enrolment).unwrap()).unwrap();
        let header = |position: usize| {
            let protected = message["signatures"][position]["protected"].as_str().unwrap();
            String::from_utf8(decode(protected).unwrap()).unwrap()
        };
        assert_eq!(header(0), r#"{"alg":"EdDSA","kid":"core.example"}"#);
        assert_eq!(header(1), r#"{"alg":"HS256","kid":"e"}"#);
    }
}
