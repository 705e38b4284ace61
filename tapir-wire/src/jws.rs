//! JSON Web Signatures (RFC 7515): flattened and general for what we send, those and compact for what we take.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::jwk::{DataKey, EnrolmentKey, JwkError, TrustedKeys, decode, encode};

/// Largest message that is looked at. Core's observations have a few hundred octets; this leaves room for lists by hand.
pub const MAX_MESSAGE: usize = 1024 * 1024;
/// Signatures looked at in one message: each costs a public-key operation, and the sender is not yet known to be anybody.
pub const MAX_SIGNATURES: usize = 8;

/// Why a message was not accepted. Variant names serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
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
pub fn sign_enrolment(
    payload: &[u8],
    data: &DataKey,
    enrolment: &EnrolmentKey,
) -> Result<String, JwkError> {
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
    let text = std::str::from_utf8(message)
        .map_err(|_| VerifyError::NotJws)?
        .trim_ascii();
    let parts = if text.starts_with('{') {
        json_parts(text)?
    } else {
        compact_parts(text)?
    };
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
        (None, Some(signature)) => vec![Signature {
            protected: json.protected.unwrap_or_default(),
            signature,
        }],
        // RFC 7515 section 7.2.2: the flattened form must not be mixed with "signatures".
        _ => return Err(VerifyError::NotJws),
    };
    Ok(Parts {
        payload: json.payload,
        signatures,
    })
}

fn compact_parts(text: &str) -> Result<Parts, VerifyError> {
    let mut parts = text.split('.').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(protected), Some(payload), Some(signature), None) => Ok(Parts {
            payload,
            signatures: vec![Signature {
                protected,
                signature,
            }],
        }),
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
