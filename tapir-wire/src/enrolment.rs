//! Messages between an edge and Core's nodeman: credentials, enrolment, renewal, configuration.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::{Zeroize as _, Zeroizing};

use crate::jwk::{DataKey, EnrolmentKey, JwkError};
use crate::jws;
use crate::node_name::NodeName;

/// What Core's administrator hands out for one node.
pub struct Credentials {
    /// The node's final name.
    pub name: NodeName,
    /// Key that signs the enrolment once.
    pub key: EnrolmentKey,
    /// Base URL of nodeman; Core leaves it out when none is configured.
    pub nodeman_url: Option<String>,
}

/// Why credentials are of no use. Names the member, never its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum CredentialsError {
    /// No JSON, or cut off.
    #[error("credentials are not JSON (line {line}, column {column}); store the file exactly as Core's administrator sent it")]
    NotJson {
        /// Where reading stopped.
        line: usize,
        /// Where reading stopped.
        column: usize,
    },
    /// JSON of another kind.
    #[error("credentials are not a JSON object; store the file exactly as Core's administrator sent it")]
    NotAnObject,
    /// A needed member is missing or of the wrong type.
    #[error("credentials member {member:?} is missing or not {expected}")]
    BadMember {
        /// The member.
        member: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// `name` cannot be a node's name.
    #[error("credentials member \"name\" is {0}")]
    BadName(#[source] crate::node_name::NodeNameError),
    /// `key` cannot sign.
    #[error("credentials member \"key\": {0}")]
    BadKey(#[source] JwkError),
    /// `nodeman_url` cannot be called.
    #[error("credentials member \"nodeman_url\": {0}")]
    BadUrl(#[source] EndpointError),
}

impl Credentials {
    /// Reads the JSON as received from Core. Unknown members are ignored, as older Cores sent more of them.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| CredentialsError::NotJson { line: error.line(), column: error.column() })?;
        let Value::Object(mut members) = value else {
            return Err(CredentialsError::NotAnObject);
        };
        let parsed = Self::from_members(&members);
        wipe(&mut members);
        parsed
    }

    fn from_members(members: &Map<String, Value>) -> Result<Self, CredentialsError> {
        let bad = |member, expected| CredentialsError::BadMember { member, expected };
        let name = members.get("name").and_then(Value::as_str).ok_or(bad("name", "a text"))?;
        let name = NodeName::parse(name).map_err(CredentialsError::BadName)?;
        let key = members.get("key").filter(|key| key.is_object()).ok_or(bad("key", "a JWK object"))?;
        let key = EnrolmentKey::from_jwk(&Zeroizing::new(key.to_string())).map_err(CredentialsError::BadKey)?;
        let nodeman_url = match members.get("nodeman_url") {
            None | Some(Value::Null) => None,
            Some(Value::String(url)) => {
                endpoint(url, &name, "enroll").map_err(CredentialsError::BadUrl)?;
                Some(url.clone())
            }
            Some(_) => return Err(bad("nodeman_url", "a text")),
        };
        Ok(Self { name, key, nodeman_url })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("name", &self.name)
            .field("key", &self.key)
            .field("nodeman_url", &self.nodeman_url)
            .finish()
    }
}

fn wipe(members: &mut Map<String, Value>) {
    for value in members.values_mut() {
        match value {
            Value::String(text) => text.zeroize(),
            Value::Object(inner) => wipe(inner),
            _ => {}
        }
    }
}

/// Body of `POST …/enroll`, signed by both keys.
pub fn enrolment_request(
    credentials: &Credentials,
    key: &DataKey,
    csr: &str,
    now: Timestamp,
    lifetime: Option<u64>,
) -> Result<String, JwkError> {
    let mut payload = request(csr, now);
    payload.insert("public_key".to_owned(), key.public_jwk());
    add_lifetime(&mut payload, lifetime);
    jws::sign_enrolment(Value::Object(payload).to_string().as_bytes(), key, &credentials.key)
}

/// Body of `POST …/renew`, signed by the data key alone.
#[must_use]
pub fn renewal_request(key: &DataKey, csr: &str, now: Timestamp, lifetime: Option<u64>) -> String {
    let mut payload = request(csr, now);
    add_lifetime(&mut payload, lifetime);
    jws::sign_flattened(Value::Object(payload).to_string().as_bytes(), key)
}

fn request(csr: &str, now: Timestamp) -> Map<String, Value> {
    let mut payload = Map::new();
    payload.insert("timestamp".to_owned(), json!(now.to_string()));
    payload.insert("x509_csr".to_owned(), json!(csr));
    payload
}

fn add_lifetime(payload: &mut Map<String, Value>, lifetime: Option<u64>) {
    if let Some(seconds) = lifetime {
        payload.insert("x509_lifetime".to_owned(), json!(seconds));
    }
}

/// Answer to a renewal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewalAnswer {
    /// PEM bundle, leaf first.
    pub x509_certificate: String,
    /// Trust anchors in PEM; every certificate in it is one, self-signed or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509_ca_certificate: Option<String>,
    /// Decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509_certificate_serial_number: Option<String>,
    /// End of validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509_certificate_not_valid_after: Option<Timestamp>,
}

/// What `GET …/configuration` says, and an enrolment answer too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The node's name.
    pub name: String,
    /// `mqtt:` or `mqtts:` URL.
    pub mqtt_broker: String,
    /// Topics by purpose.
    #[serde(default)]
    pub mqtt_topics: BTreeMap<String, String>,
    /// JWK Set as received; `TrustedKeys::from_value` reads it.
    pub trusted_jwks: Value,
    /// Base URL of nodeman.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodeman_url: Option<String>,
    /// Base URL of the aggregate receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggrec_url: Option<String>,
}

/// Answer to an enrolment: a certificate and the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentAnswer {
    /// The certificate.
    #[serde(flatten)]
    pub certificate: RenewalAnswer,
    /// Everything else.
    #[serde(flatten)]
    pub configuration: Configuration,
}

/// A base URL that cannot be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum EndpointError {
    /// Neither `https:` nor `http:`.
    #[error("URL must begin with https:// (or http:// in a test)")]
    BadScheme,
    /// Nothing between scheme and path.
    #[error("URL has no host")]
    NoHost,
    /// User name, query, fragment, space or control characters.
    #[error("URL must be a plain base: no user name, query, fragment or spaces")]
    NotABase,
}

/// URL of an action (`enroll`, `renew`, `configuration`, `certificate`, `public_key`) on a node. A path of the base is kept, and
/// no `//` arises from its final slash.
pub fn endpoint(base_url: &str, name: &NodeName, action: &str) -> Result<String, EndpointError> {
    let (scheme, rest) = base_url.split_once("://").ok_or(EndpointError::BadScheme)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(EndpointError::BadScheme);
    }
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return Err(EndpointError::NoHost);
    }
    let forbidden = |character: char| matches!(character, '?' | '#' | '@' | '\\') || !character.is_ascii_graphic();
    if rest.contains(forbidden) {
        return Err(EndpointError::NotABase);
    }
    Ok(format!("{}/api/v1/node/{name}/{action}", base_url.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwk::decode;

    const CREDENTIALS: &str = r#"{"name":"edge.example","key":{"kty":"oct","kid":"e","alg":"HS256","k":"c2VjcmV0c2VjcmV0"},
        "nodeman_url":"https://core.example/base/","aggrec_url":"ignored"}"#;

    fn check_error(text: &str, expected: &str) {
        let error = Credentials::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("c2VjcmV0"), "{error}");
    }

    #[test]
    fn credentials_are_read() {
        let credentials = Credentials::parse(CREDENTIALS).unwrap();
        assert_eq!(credentials.name.as_str(), "edge.example");
        assert_eq!(credentials.nodeman_url.as_deref(), Some("https://core.example/base/"));
        assert!(!format!("{credentials:?}").contains("c2VjcmV0"));
        let without = CREDENTIALS.replace(r#""https://core.example/base/""#, "null");
        assert_eq!(Credentials::parse(&without).unwrap().nodeman_url, None);
    }

    #[test]
    fn bad_credentials_name_the_member() {
        check_error("", "credentials are not JSON (line 1, column 0)");
        check_error("[]", "credentials are not a JSON object");
        check_error("{}", "credentials member \"name\" is missing or not a text");
        check_error(&CREDENTIALS.replace("edge.example", "edge_example"), "credentials member \"name\" is not a node name");
        check_error(&CREDENTIALS.replace("\"key\"", "\"Key\""), "credentials member \"key\" is missing or not a JWK object");
        check_error(&CREDENTIALS.replace("oct", "octet"), "credentials member \"key\": key type \"octet\"");
        check_error(&CREDENTIALS.replace("\"k\"", "\"l\""), "credentials member \"key\": key has no text member \"k\"");
        check_error(
            &CREDENTIALS.replace("https://", "ftp://"),
            "credentials member \"nodeman_url\": URL must begin with https://",
        );
    }

    #[test]
    fn requests_have_cores_members() {
        let credentials = Credentials::parse(CREDENTIALS).unwrap();
        let key = DataKey::generate(&credentials.name).unwrap();
        let now = "2026-11-21T00:24:14.5Z".parse().unwrap();
        let payload = |message: &str| -> Value {
            let message: Value = serde_json::from_str(message).unwrap();
            serde_json::from_slice(&decode(message["payload"].as_str().unwrap()).unwrap()).unwrap()
        };
        assert_eq!(
            payload(&enrolment_request(&credentials, &key, "csr", now, Some(3600)).unwrap()),
            json!({"timestamp": "2026-11-21T00:24:14.5Z", "x509_csr": "csr", "public_key": key.public_jwk(), "x509_lifetime": 3600})
        );
        assert_eq!(
            payload(&renewal_request(&key, "csr", now, None)),
            json!({"timestamp": "2026-11-21T00:24:14.5Z", "x509_csr": "csr"})
        );
    }

    #[test]
    fn endpoints_are_joined_without_a_double_slash() {
        let name = NodeName::parse("edge.example").unwrap();
        let check = |base: &str, expected: Result<&str, EndpointError>| {
            assert_eq!(endpoint(base, &name, "renew").as_deref(), expected.as_deref(), "{base}");
        };
        check("https://core.example", Ok("https://core.example/api/v1/node/edge.example/renew"));
        check("https://core.example/", Ok("https://core.example/api/v1/node/edge.example/renew"));
        check("https://core.example:8443/base//", Ok("https://core.example:8443/base/api/v1/node/edge.example/renew"));
        check("core.example", Err(EndpointError::BadScheme));
        check("file:///etc", Err(EndpointError::BadScheme));
        check("https://", Err(EndpointError::NoHost));
        check("https:///x", Err(EndpointError::NoHost));
        check("https://:8443/", Err(EndpointError::NoHost));
        check("https://core.example/?x", Err(EndpointError::NotABase));
        check("https://user@core.example/", Err(EndpointError::NotABase));
        check("https://core.example/ x", Err(EndpointError::NotABase));
    }
}
