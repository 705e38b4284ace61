//! The files of an installation that was there before, as upstream's clients leave them: only the data key counts. The TLS key of the
//! old installation stays where it is, and its certificate stays valid until it ends.

use k8s_openapi::api::core::v1::Secret;
use tapir_wire::enrolment::{EndpointError, endpoint};
use tapir_wire::jwk::{DataKey, JwkError};
use zeroize::Zeroizing;

use super::material::{Keys, MaterialError, text};
use tapir_wire::node::{CRYPTOPAN_KEY, DATA_KEY};

/// Names of the data key's file: of upstream's client in Go, of the one in Python, and ours.
const DATA_KEYS: [&str; 3] = ["datakey-priv.json", "data.json", DATA_KEY];

/// What is taken over.
#[derive(Debug)]
pub struct Existing {
    pub data: DataKey,
    pub cryptopan: Option<Zeroizing<String>>,
    pub nodeman_url: String,
}

/// Why an installation cannot be taken over. Never says more than which member.
#[derive(Debug, thiserror::Error)]
pub enum ExistingError {
    #[error(
        "Secret {0} holds no data key: put the file datakey-priv.json of the old installation there, under that name (data.json of the client in Python, or datakey.jwk, will do)"
    )]
    NoDataKey(String),
    #[error(
        "Secret {secret}, {member}: {error}; only an Ed25519 key with a kid can be taken over, and Core replaces no data key: ask its operator for a new node otherwise"
    )]
    DataKey { secret: String, member: &'static str, error: JwkError },
    #[error("Secret {0}: the data key names no nodeman in \"iss\": set spec.enrollment.existingIdentitySecretRef.nodemanUrl")]
    NoAddress(String),
    #[error("address of nodeman for the existing identity: {0}; set spec.enrollment.existingIdentitySecretRef.nodemanUrl")]
    BadAddress(EndpointError),
}

impl Existing {
    /// From the Secret that holds the files; the address of nodeman is the one given, else that in the data key.
    ///
    /// # Errors
    /// See [`ExistingError`].
    pub fn read(secret: &Secret, name: &str, nodeman_url: Option<&str>) -> Result<Self, ExistingError> {
        let found = DATA_KEYS.into_iter().find_map(|member| text(secret, member).ok().map(|jwk| (member, jwk)));
        let (member, jwk) = found.ok_or_else(|| ExistingError::NoDataKey(name.to_owned()))?;
        let data = DataKey::from_jwk(jwk).map_err(|error| ExistingError::DataKey { secret: name.to_owned(), member, error })?;
        let nodeman_url = nodeman_url.map(str::to_owned).or_else(|| issuer(jwk));
        let nodeman_url = nodeman_url.ok_or_else(|| ExistingError::NoAddress(name.to_owned()))?;
        endpoint(&nodeman_url, data.node_name(), "renew").map_err(ExistingError::BadAddress)?;
        let cryptopan = text(secret, CRYPTOPAN_KEY).ok().map(|key| Zeroizing::new(key.to_owned()));
        Ok(Self { data, cryptopan, nodeman_url })
    }

    /// Keys to be stored before Core is asked, with a new TLS key.
    ///
    /// # Errors
    /// When the source of randomness fails.
    pub(super) fn keys(&self) -> Result<Keys, MaterialError> {
        Keys::adopted(&self.data, self.cryptopan.as_ref().map(|key| key.as_str()), &self.nodeman_url)
    }

    /// What tells this installation from another one, of no use for making either.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("existing-{}", self.data.thumbprint())
    }
}

/// Where the node was enrolled: upstream keeps it in the data key.
fn issuer(jwk: &str) -> Option<String> {
    // Of the parsed key no more than this member is looked at, and all of it is wiped.
    #[derive(serde::Deserialize)]
    struct Issuer {
        iss: Option<String>,
    }
    serde_json::from_str::<Issuer>(jwk).ok()?.iss.filter(|issuer| !issuer.is_empty())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    const KEY: &str = include_str!("../../../tapir-wire/vectors/core/go-client/data-key.private.jwk.json");

    fn secret(member: &str, content: &str) -> Secret {
        let data = [(member.to_owned(), ByteString(content.as_bytes().to_vec()))].into();
        Secret { data: Some(data), ..Secret::default() }
    }

    #[test]
    fn the_files_of_each_client_are_read() {
        for member in DATA_KEYS {
            let existing = Existing::read(&secret(member, KEY), "vm", None).unwrap();
            assert_eq!(existing.data.kid(), "go-edge.test.dnstapir.se");
            assert_eq!(existing.nodeman_url, "https://nodeman.test.dnstapir.se/");
        }
        let elsewhere = Existing::read(&secret("data.json", KEY), "vm", Some("https://other.test")).unwrap();
        assert_eq!(elsewhere.nodeman_url, "https://other.test");
    }

    #[test]
    fn what_cannot_be_taken_over_is_named_and_not_shown() {
        let why = |member: &str, content: &str| Existing::read(&secret(member, content), "vm", None).unwrap_err().to_string();
        assert!(why("tls.key", "x").contains("datakey-priv.json"));
        assert!(why("data.json", &KEY.replace("Ed25519", "Ed448")).contains("Ed448"));
        assert!(why("data.json", &KEY.replace("\"iss\"", "\"other\"")).contains("nodemanUrl"));
        assert!(why("data.json", &KEY.replace("https://nodeman", "ftp://nodeman")).contains("nodemanUrl"));
        for broken in [KEY.replace("\"d\"", "\"dd\""), KEY.replace("MMjadX61", "XXXXXXXX")] {
            assert!(!why("data.json", &broken).contains("rE3yS6NrsWtHNbA3LU1LHjmk6dsF"));
        }
    }
}
