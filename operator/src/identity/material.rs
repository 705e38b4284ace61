//! Content of the three Secrets of an identity, and what can be told of it without showing it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tapir_plan::renewal::{Percent, Validity, schedule};
use tapir_wire::certificate::{CertificateError, CertificateInfo, TlsKey};
use tapir_wire::enrolment::Configuration;
use tapir_wire::jwk::{DataKey, JwkError, TrustedKeys};
use tapir_wire::node::{
    CA_CERTIFICATE, CRYPTOPAN_KEY, DATA_KEY, NODE_DOCUMENT, NodeDocument, Renewal, TLS_CERTIFICATE, TLS_KEY, TRUSTED_KEYS,
};
use tapir_wire::node_name::NodeName;
use zeroize::Zeroizing;

use super::plan::SecretFacts;
use crate::nodeman::Issued;

pub use crate::api::{ANNOTATION_RENEWED_FOR as RENEWED_FOR_ANNOTATION, FINALIZER_IDENTITY as IDENTITY_FINALIZER};
/// Annotation: node name. On the identity Secrets, and on the edge as its record of having been enrolled.
pub const NODE_ANNOTATION: &str = "dnstapir.se/node";
/// Annotation: fingerprint of the credentials that an identity was made with.
pub const CREDENTIALS_ANNOTATION: &str = "dnstapir.se/credentials-fingerprint";
/// Annotation of an identity: where its node was enrolled. The credentials that say so may be deleted after use.
pub const NODEMAN_ANNOTATION: &str = "dnstapir.se/nodeman-url";
/// Annotation of an identity: when its certificate was had from Core, by this cluster's clock.
pub const RENEWED_AT_ANNOTATION: &str = "dnstapir.se/renewed-at";

/// Member of the pending Secret: where its keys were about to be enrolled.
pub const NODEMAN_URL: &str = "nodeman-url";

/// Content of a Secret.
pub type Data = BTreeMap<String, ByteString>;

/// Keys that are stored before nodeman is called.
#[derive(Debug)]
pub struct Keys {
    pub data: DataKey,
    pub tls: TlsKey,
    cryptopan: Zeroizing<String>,
    pub nodeman_url: Option<String>,
}

/// Why material is of no use. Never says more than which member.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not text")]
    NotText(&'static str),
    #[error("datakey.jwk: {0}")]
    DataKey(#[source] JwkError),
    #[error("TLS material: {0}")]
    Tls(#[source] CertificateError),
    #[error("making a JSON document failed")]
    Json(#[source] serde_json::Error),
}

impl Keys {
    /// New keys for a node.
    ///
    /// # Errors
    /// When the source of randomness fails.
    pub fn generate(node: &NodeName, nodeman_url: &str) -> Result<Self, MaterialError> {
        let random = Zeroizing::new(rand::random::<[u8; 32]>());
        Ok(Self {
            data: DataKey::generate(node).map_err(MaterialError::DataKey)?,
            tls: TlsKey::generate().map_err(MaterialError::Tls)?,
            cryptopan: Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(random.as_slice())),
            nodeman_url: Some(nodeman_url.to_owned()),
        })
    }

    /// Those of an installation that was there before, with a new TLS key: the old one stays with its certificate.
    ///
    /// # Errors
    /// When the source of randomness fails.
    pub fn adopted(data: &DataKey, cryptopan: Option<&str>, nodeman_url: &str) -> Result<Self, MaterialError> {
        let fresh = Self::generate(data.node_name(), nodeman_url)?;
        let cryptopan = cryptopan.map_or(fresh.cryptopan, |key| Zeroizing::new(key.to_owned()));
        let data = DataKey::from_jwk(&data.to_jwk()).map_err(MaterialError::DataKey)?;
        Ok(Self { data, tls: fresh.tls, cryptopan, nodeman_url: fresh.nodeman_url })
    }

    /// Those of an identity, with a new TLS key.
    ///
    /// # Errors
    /// When the data key is missing or damaged.
    pub fn renewed(identity: &Secret) -> Result<Self, MaterialError> {
        Ok(Self {
            data: data_key(identity)?,
            tls: TlsKey::generate().map_err(MaterialError::Tls)?,
            cryptopan: Zeroizing::new(text(identity, CRYPTOPAN_KEY).unwrap_or_default().to_owned()),
            nodeman_url: None,
        })
    }

    /// Keys from a pending Secret.
    ///
    /// # Errors
    /// When one is missing or damaged.
    pub fn from_secret(secret: &Secret) -> Result<Self, MaterialError> {
        Ok(Self {
            data: data_key(secret)?,
            tls: TlsKey::from_pem(text(secret, TLS_KEY)?).map_err(MaterialError::Tls)?,
            cryptopan: Zeroizing::new(text(secret, CRYPTOPAN_KEY)?.to_owned()),
            nodeman_url: text(secret, NODEMAN_URL).ok().map(str::to_owned),
        })
    }

    /// Content of the pending Secret.
    #[must_use]
    pub fn to_pending(&self) -> Data {
        let mut data = self.common();
        if let Some(url) = &self.nodeman_url {
            data.insert(NODEMAN_URL.to_owned(), ByteString(url.clone().into_bytes()));
        }
        data
    }

    /// Content of the identity Secret.
    ///
    /// # Errors
    /// When a document cannot be written.
    pub fn to_identity(&self, issued: &Issued, configuration: &Configuration, renew_at: Percent) -> Result<Data, MaterialError> {
        let mut data = self.common();
        data.append(&mut certificate_members(issued));
        let renewal = times(self.data.kid(), &issued.info, renew_at);
        data.append(&mut configuration_members(configuration, Some(renewal))?);
        Ok(data)
    }

    /// Content of the identity after a renewal. Without a configuration, what is known of Core stays.
    ///
    /// # Errors
    /// When a document cannot be written.
    pub fn to_renewed(
        &self,
        identity: &Secret,
        issued: &Issued,
        configuration: Option<&Configuration>,
        renew_at: Percent,
    ) -> Result<Data, MaterialError> {
        let mut data = identity.data.clone().unwrap_or_default();
        put(&mut data, TLS_KEY, &self.tls.pem());
        data.append(&mut certificate_members(issued));
        let renewal = times(self.data.kid(), &issued.info, renew_at);
        match (configuration, node(identity)) {
            (Some(configuration), _) => data.append(&mut configuration_members(configuration, Some(renewal))?),
            (None, Some(document)) => {
                let document = NodeDocument { renewal: Some(renewal), ..document };
                put(&mut data, NODE_DOCUMENT, &serde_json::to_string(&document).map_err(MaterialError::Json)?);
            }
            (None, None) => {}
        }
        Ok(data)
    }

    fn common(&self) -> Data {
        let mut data = Data::new();
        put(&mut data, DATA_KEY, &self.data.to_jwk());
        put(&mut data, TLS_KEY, &self.tls.pem());
        put(&mut data, CRYPTOPAN_KEY, &self.cryptopan);
        data
    }
}

/// What Core says now, compared with what an identity knows.
#[derive(Debug)]
pub struct Refreshed {
    /// Members to be replaced.
    pub members: Data,
    /// Keys that Core lists no more.
    pub withdrawn: Vec<String>,
    /// Other keys may sign observations than before.
    pub keys_changed: bool,
    /// Not one key is left that may sign observations.
    pub none_trusted: bool,
}

/// The members of an identity that follow Core's configuration; none when nothing is to be changed. Sets are compared as sets: Core
/// shuffles its keys.
///
/// # Errors
/// When a document cannot be written.
pub fn refreshed(
    identity: &Secret,
    configuration: &Configuration,
    renew_at: Percent,
) -> Result<Option<Refreshed>, MaterialError> {
    let known = text(identity, TRUSTED_KEYS).ok().and_then(|set| TrustedKeys::from_jwks(set).ok());
    // Checked when it came: what cannot be read never gets here.
    let said = TrustedKeys::from_value(&configuration.trusted_jwks).unwrap_or_default();
    let document = node(identity);
    let renewal = certificate(identity).map(|info| times(&configuration.name, &info, renew_at));
    if known.as_ref() == Some(&said) && document.as_ref() == Some(&node_document(configuration, renewal)) {
        return Ok(None);
    }
    let keys_changed = known.as_ref() != Some(&said);
    let listed: Vec<&str> = said.kids().collect();
    let withdrawn = known.iter().flat_map(TrustedKeys::kids).filter(|kid| !listed.contains(kid)).map(str::to_owned).collect();
    let none_trusted = said.is_empty() && known.is_some_and(|known| !known.is_empty());
    Ok(Some(Refreshed { members: configuration_members(configuration, renewal)?, withdrawn, keys_changed, none_trusted }))
}

/// Tells two answers of Core apart. A shuffle of its keys is no other answer.
#[must_use]
pub fn configuration_digest(configuration: &Configuration) -> [u8; 32] {
    digest_of(configuration.trusted_jwks.clone(), &node_document(configuration, None))
}

/// The same of the answer that an identity was written from; none when the same answer would be written otherwise today.
#[must_use]
pub fn held_digest(identity: &Secret, renew_at: Percent) -> Option<[u8; 32]> {
    let keys = serde_json::from_str(text(identity, TRUSTED_KEYS).ok()?).ok()?;
    let document = node(identity)?;
    let renewal = certificate(identity).map(|info| times(&document.name, &info, renew_at));
    let digest = digest_of(keys, &NodeDocument { renewal: None, ..document.clone() });
    (document.renewal == renewal).then_some(digest)
}

fn digest_of(mut keys: Value, document: &NodeDocument) -> [u8; 32] {
    keys.sort_all_objects();
    let mut hash = Sha256::new();
    hash.update(trusted_keys(&keys));
    hash.update([0]);
    hash.update(serde_json::to_vec(document).unwrap_or_default());
    hash.finalize().into()
}

fn certificate_members(issued: &Issued) -> Data {
    let mut data = Data::new();
    put(&mut data, TLS_CERTIFICATE, &issued.chain);
    put(&mut data, CA_CERTIFICATE, &issued.anchors);
    data
}

fn configuration_members(configuration: &Configuration, renewal: Option<Renewal>) -> Result<Data, MaterialError> {
    let document = serde_json::to_string(&node_document(configuration, renewal)).map_err(MaterialError::Json)?;
    let mut data = Data::new();
    put(&mut data, TRUSTED_KEYS, &trusted_keys(&configuration.trusted_jwks));
    put(&mut data, NODE_DOCUMENT, &document);
    Ok(data)
}

fn put(data: &mut Data, name: &str, content: &str) {
    data.insert(name.to_owned(), ByteString(content.as_bytes().to_vec()));
}

/// When the certificate is to be renewed, for those who look at the identity from inside a Pod.
fn times(node: &str, info: &CertificateInfo, renew_at: Percent) -> Renewal {
    let validity = Validity { not_before: info.not_before, not_after: info.not_after };
    let schedule = schedule(validity, renew_at, node, &info.serial);
    Renewal { due: schedule.renew_at, overdue: schedule.overdue_at }
}

/// What the state machine needs to know of a Secret.
#[must_use]
pub fn facts(secret: &Secret) -> SecretFacts {
    let data_key = data_key(secret);
    SecretFacts {
        node: data_key.as_ref().ok().map(|key| key.kid().to_owned()),
        credentials: secret.annotations().get(CREDENTIALS_ANNOTATION).cloned(),
        data_key: data_key.as_ref().ok().map(DataKey::thumbprint),
        content: content_hash(secret),
        defect: defect(secret, data_key.err()),
        terminating: secret.metadata.deletion_timestamp.is_some(),
        protected: secret.finalizers().iter().any(|finalizer| finalizer == IDENTITY_FINALIZER),
    }
}

fn defect(secret: &Secret, data_key: Option<MaterialError>) -> Option<String> {
    let members: &[&'static str] = if secret.type_.as_deref() == Some("kubernetes.io/tls") {
        &[TLS_KEY, TLS_CERTIFICATE, CA_CERTIFICATE, TRUSTED_KEYS, NODE_DOCUMENT]
    } else {
        &[TLS_KEY]
    };
    let missing = members.iter().find_map(|member| text(secret, member).err());
    let key = text(secret, TLS_KEY).ok().and_then(|pem| TlsKey::from_pem(pem).err()).map(MaterialError::Tls);
    data_key.or(missing).or(key).map(|error| error.to_string())
}

/// Facts of the certificate in an identity.
#[must_use]
pub fn certificate(secret: &Secret) -> Option<CertificateInfo> {
    CertificateInfo::from_pem(text(secret, TLS_CERTIFICATE).ok()?).ok()
}

/// The node document in an identity.
#[must_use]
pub fn node(secret: &Secret) -> Option<NodeDocument> {
    serde_json::from_str(text(secret, NODE_DOCUMENT).ok()?).ok()
}

/// Fingerprint of credentials: enough to tell two apart, of no use for making either. Enrolment keys have 128 bits of
/// entropy at least, so a hash of them cannot be searched.
#[must_use]
pub fn fingerprint(credentials: &str) -> String {
    let canonical = serde_json::from_str::<Value>(credentials).map_or_else(
        |_| credentials.to_owned(),
        |mut value| {
            value.sort_all_objects();
            serde_json::json!([value["name"], value["key"]]).to_string()
        },
    );
    hex::encode(&Sha256::digest(format!("dnstapir.se credentials\0{canonical}").as_bytes())[..16])
}

fn content_hash(secret: &Secret) -> String {
    let mut hash = Sha256::new();
    hash.update(secret.type_.as_deref().unwrap_or_default());
    for (name, value) in secret.data.iter().flatten() {
        hash.update(name.len().to_be_bytes());
        hash.update(name);
        hash.update(value.0.len().to_be_bytes());
        hash.update(&value.0);
    }
    hex::encode(hash.finalize())
}

/// The set with its keys in the order of their identifiers: Core shuffles them, and a shuffle is no change.
fn trusted_keys(set: &Value) -> String {
    let mut set = set.clone();
    if let Some(keys) = set.get_mut("keys").and_then(Value::as_array_mut) {
        keys.sort_by_key(|key| (key["kid"].as_str().unwrap_or_default().to_owned(), key.to_string()));
    }
    set.to_string()
}

fn node_document(configuration: &Configuration, renewal: Option<Renewal>) -> NodeDocument {
    NodeDocument {
        format: NodeDocument::FORMAT,
        name: configuration.name.clone(),
        mqtt_broker: configuration.mqtt_broker.clone(),
        mqtt_topics: configuration.mqtt_topics.clone(),
        nodeman_url: configuration.nodeman_url.clone(),
        aggrec_url: configuration.aggrec_url.clone(),
        renewal,
    }
}

/// The data key of an identity or of pending keys.
///
/// # Errors
/// When it is missing or damaged.
pub(super) fn data_key(secret: &Secret) -> Result<DataKey, MaterialError> {
    DataKey::from_jwk(text(secret, DATA_KEY)?).map_err(MaterialError::DataKey)
}

pub(super) fn text<'a>(secret: &'a Secret, member: &'static str) -> Result<&'a str, MaterialError> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(member)).ok_or(MaterialError::Missing(member))?;
    std::str::from_utf8(&bytes.0).map_err(|_| MaterialError::NotText(member))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending() -> Secret {
        let node = NodeName::parse("a.edge.test").unwrap();
        let keys = Keys::generate(&node, "https://nodeman.test/").unwrap();
        Secret { data: Some(keys.to_pending()), type_: Some("Opaque".to_owned()), ..Secret::default() }
    }

    #[test]
    fn pending_keys_survive_the_round_trip() {
        let secret = pending();
        let again = Keys::from_secret(&secret).unwrap();
        assert_eq!(Some(again.to_pending()), secret.data);
        let facts = facts(&secret);
        assert_eq!(facts.node.as_deref(), Some("a.edge.test"));
        assert_eq!(facts.defect, None);
    }

    #[test]
    fn a_missing_or_damaged_member_is_named_and_not_shown() {
        let mut secret = pending();
        secret.data.as_mut().unwrap().insert(TLS_KEY.to_owned(), ByteString(b"very secret".to_vec()));
        let defect = facts(&secret).defect.unwrap();
        assert!(!defect.contains("very secret"), "{defect}");
        secret.data.as_mut().unwrap().remove(DATA_KEY);
        assert_eq!(facts(&secret).defect.as_deref(), Some("datakey.jwk is missing"));
    }

    #[test]
    fn fingerprints_ignore_order_and_space_but_not_keys() {
        let one = r#"{"name":"a","key":{"kty":"oct","k":"AAAA"},"nodeman_url":"https://x/"}"#;
        let same = r#"{ "key": {"k":"AAAA", "kty":"oct"}, "name":"a" }"#;
        let other = r#"{"name":"a","key":{"kty":"oct","k":"AAAB"}}"#;
        assert_eq!(fingerprint(one), fingerprint(same));
        assert_ne!(fingerprint(one), fingerprint(other));
    }

    #[test]
    fn a_shuffled_key_set_is_the_same() {
        let one = serde_json::json!({"keys":[{"kid":"a"},{"kid":"b"}]});
        let other = serde_json::json!({"keys":[{"kid":"b"},{"kid":"a"}]});
        assert_eq!(trusted_keys(&one), trusted_keys(&other));
    }

    #[test]
    fn two_answers_of_core_are_told_apart_by_what_counts() {
        let answer = |keys: serde_json::Value, broker: &str| {
            let answer = serde_json::json!({"name": "a.edge.test", "mqtt_broker": broker, "trusted_jwks": {"keys": keys}});
            configuration_digest(&serde_json::from_value(answer).unwrap())
        };
        let one = answer(serde_json::json!([{"kid": "a", "x": "1"}, {"kid": "b"}]), "mqtts://one/");
        assert_eq!(one, answer(serde_json::json!([{"kid": "b"}, {"x": "1", "kid": "a"}]), "mqtts://one/"));
        assert_ne!(one, answer(serde_json::json!([{"kid": "b"}]), "mqtts://one/"));
        assert_ne!(one, answer(serde_json::json!([{"kid": "a", "x": "2"}, {"kid": "b"}]), "mqtts://one/"));
        assert_ne!(one, answer(serde_json::json!([{"kid": "a", "x": "1"}, {"kid": "b"}]), "mqtts://two/"));
    }

    #[test]
    fn an_identity_tells_the_answer_that_it_was_written_from() {
        let answer = |keys: serde_json::Value| -> Configuration {
            let answer =
                serde_json::json!({"name": "a.edge.test", "mqtt_broker": "mqtts://one/", "trusted_jwks": {"keys": keys}});
            serde_json::from_value(answer).unwrap()
        };
        let identity = |renewal| {
            let said = answer(serde_json::json!([{"kid": "b", "x": "1"}, {"kid": "a"}]));
            Secret { data: Some(configuration_members(&said, renewal).unwrap()), ..Secret::default() }
        };
        let held = held_digest(&identity(None), Percent::DEFAULT);
        assert_eq!(held, Some(configuration_digest(&answer(serde_json::json!([{"kid": "a"}, {"x": "1", "kid": "b"}])))));
        assert_ne!(held, Some(configuration_digest(&answer(serde_json::json!([{"kid": "b", "x": "1"}])))));
        let other = Renewal { due: jiff::Timestamp::MIN, overdue: jiff::Timestamp::MAX };
        assert_eq!(held_digest(&identity(Some(other)), Percent::DEFAULT), None, "the times are to be written anew");
        assert_eq!(held_digest(&Secret::default(), Percent::DEFAULT), None);
    }

    #[test]
    fn copies_have_equal_content_and_changes_show() {
        let secret = pending();
        let mut changed = secret.clone();
        assert_eq!(facts(&secret).content, facts(&changed).content);
        changed.data.as_mut().unwrap().remove(CRYPTOPAN_KEY);
        assert_ne!(facts(&secret).content, facts(&changed).content);
    }
}
