//! The signed payload of enrolment and renewal requests, checked as nodeman's model does: any flaw is `Bad Request`.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::clock::parse_rfc3339;
use crate::jwk::{JwkError, PublicJwk};

/// A payload older than this is refused; one from the future is not, however far.
const MAXIMUM_AGE: SignedDuration = SignedDuration::from_secs(300);
/// From here on a number of seconds is taken for milliseconds, as the service's library does.
const MILLISECONDS_FROM: f64 = 2e10;

/// The members that both requests have.
#[derive(Clone, Debug)]
pub struct Payload {
    /// PEM.
    pub csr: String,
    /// Seconds.
    pub lifetime: Option<u64>,
    object: Value,
}

/// What is wrong with a payload; the client only learns that something is.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PayloadError {
    /// The payload is no JSON object.
    #[error("the payload is no JSON object")]
    NoObject,
    /// A member is missing or has the wrong form.
    #[error("the payload's member {0} is missing or malformed")]
    Member(&'static str),
    /// The timestamp lies too far back.
    #[error("the payload is older than 300 s")]
    TooOld,
    /// `public_key` is no acceptable key.
    #[error("the payload's public key: {0}")]
    Key(#[from] JwkError),
}

impl Payload {
    /// Reads and checks all but `public_key`.
    ///
    /// # Errors
    /// With the first flaw.
    pub fn parse(bytes: &[u8], now: Timestamp) -> Result<Self, PayloadError> {
        let object: Value = serde_json::from_slice(bytes).map_err(|_| PayloadError::NoObject)?;
        if !object.is_object() {
            return Err(PayloadError::NoObject);
        }
        let timestamp = object.get("timestamp").and_then(timestamp).ok_or(PayloadError::Member("timestamp"))?;
        if now.duration_since(timestamp) > MAXIMUM_AGE {
            return Err(PayloadError::TooOld);
        }
        let csr = object.get("x509_csr").and_then(Value::as_str).ok_or(PayloadError::Member("x509_csr"))?.to_owned();
        let lifetime = match object.get("x509_lifetime") {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_u64().filter(|seconds| *seconds > 0).ok_or(PayloadError::Member("x509_lifetime"))?),
        };
        Ok(Self { csr, lifetime, object })
    }

    /// The data key, and the name that it claims.
    ///
    /// # Errors
    /// When there is none that nodeman takes.
    pub fn public_key(&self) -> Result<(PublicJwk, Option<String>), PayloadError> {
        Ok(PublicJwk::parse(self.object.get("public_key").ok_or(PayloadError::Member("public_key"))?)?)
    }
}

fn timestamp(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => parse_rfc3339(text),
        Value::Number(number) => {
            let number = number.as_f64()?;
            let milliseconds = if number.abs() > MILLISECONDS_FROM { number } else { number * 1000.0 };
            if milliseconds.abs() > 9e15 {
                return None;
            }
            #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
            Timestamp::from_millisecond(milliseconds as i64).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(payload: &Value, expected: &Result<(), PayloadError>) {
        let parsed = Payload::parse(payload.to_string().as_bytes(), "2026-11-21T12:00:00Z".parse().unwrap());
        assert_eq!(&parsed.map(|_| ()), expected, "{payload}");
    }

    #[test]
    fn timestamps_need_a_zone_and_must_not_be_old() {
        let with = |timestamp: Value| json!({"timestamp": timestamp, "x509_csr": ""});
        for good in [
            json!("2026-11-21T11:55:00Z"),
            json!("2026-11-21T13:00:00.123456789+01:00"),
            json!("2036-11-21T11:55:00Z"),
            json!(1_795_262_400),
            json!(1_795_262_400.5),
            json!(1_795_262_400_000_u64),
        ] {
            check(&with(good), &Ok(()));
        }
        for old in [json!("2026-11-21T11:54:59Z"), json!("2026-11-21T12:00:00+01:00"), json!(1_795_262_099)] {
            check(&with(old), &Err(PayloadError::TooOld));
        }
        for bad in [json!("2026-11-21T12:00:00"), json!(null), json!(true), json!("now"), json!(1e300)] {
            check(&with(bad), &Err(PayloadError::Member("timestamp")));
        }
        check(&json!({"x509_csr": ""}), &Err(PayloadError::Member("timestamp")));
        check(&json!(["x509_csr"]), &Err(PayloadError::NoObject));
    }

    #[test]
    fn members_have_their_types() {
        let with = |name: &str, value: Value| {
            let mut payload = json!({"timestamp": "2026-11-21T12:00:00Z", "x509_csr": "", "further": 1});
            payload[name] = value;
            payload
        };
        check(&with("x509_csr", json!(null)), &Err(PayloadError::Member("x509_csr")));
        check(&with("x509_lifetime", json!(null)), &Ok(()));
        check(&with("x509_lifetime", json!(3600)), &Ok(()));
        for bad in [json!(0), json!(-1), json!(1.5), json!("hour"), json!(true)] {
            check(&with("x509_lifetime", bad), &Err(PayloadError::Member("x509_lifetime")));
        }
    }
}
