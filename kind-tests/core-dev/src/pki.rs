//! Fresh keys and certificates of a whole Core, and their form as Kubernetes objects.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};

use crate::authority::{AuthorityError, since_1970};
use crate::observations::{KeyKind, SigningKey, SigningKeyError};

/// Namespace of the manifest.
pub const NAMESPACE: &str = "tapir-core";
/// Common name of the bridge's client certificate, by which the broker's access list knows it.
pub const BRIDGE_NAME: &str = "core-bridge";

const TEN_YEARS: SignedDuration = SignedDuration::from_hours(24 * 3650);
/// Pods of one node share its clock, but a CA made this second must also please a clock that runs a little behind.
const BEGINS_BEFORE: SignedDuration = SignedDuration::from_mins(5);

/// Everything secret of a Core, as PEM texts and JWKs.
#[derive(Clone)]
pub struct Pki {
    /// CA that users of nodeman and aggrec trust.
    pub web_ca_certificate: String,
    /// nodeman's and aggrec's certificate.
    pub web_certificate: String,
    /// Its key.
    pub web_key: String,
    /// Trust anchor of the nodes.
    pub node_root_certificate: String,
    /// CA that issues node certificates.
    pub node_issuer_certificate: String,
    /// Its key.
    pub node_issuer_key: String,
    /// The broker's certificate, issued by the root because edges verify the broker against what enrolment gave them.
    pub broker_certificate: String,
    /// Its key.
    pub broker_key: String,
    /// The bridge's client certificate with the issuing CA.
    pub bridge_certificate: String,
    /// Its key.
    pub bridge_key: String,
    /// Private JWKs that observations may be signed with: Ed25519, then P-256.
    pub observation_keys: [Value; 2],
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pki(..)")
    }
}

/// Why the keys could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A certificate could not be made.
    #[error("making a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The clock is out of the range of certificates.
    #[error("dating a certificate")]
    Date(#[from] AuthorityError),
    /// A Core key could not be made.
    #[error("making an observation key")]
    SigningKey(#[from] SigningKeyError),
}

impl Pki {
    /// Makes everything anew.
    ///
    /// # Errors
    /// When the random generator or the clock fail.
    pub fn generate(now: Timestamp) -> Result<Self, PkiError> {
        let (web_ca_certificate, web_ca) = self_signed(authority("Dev Core Web CA", now)?)?;
        let (node_root_certificate, node_root) = self_signed(authority("Dev Core Node Root CA", now)?)?;
        let issuer_key = KeyPair::generate()?;
        let issuer_params = authority("Dev Core Node Issuing CA", now)?;
        let node_issuer_certificate = issuer_params.signed_by(&issuer_key, &node_root)?.pem();
        let node_issuer_key = issuer_key.serialize_pem();
        let node_issuer = Issuer::new(issuer_params, issuer_key);
        let (web_certificate, web_key) = leaf("core", &service_names("core"), ExtendedKeyUsagePurpose::ServerAuth, &web_ca, now)?;
        let (broker_certificate, broker_key) =
            leaf("broker", &service_names("broker"), ExtendedKeyUsagePurpose::ServerAuth, &node_root, now)?;
        let (bridge_leaf, bridge_key) = leaf(BRIDGE_NAME, &[], ExtendedKeyUsagePurpose::ClientAuth, &node_issuer, now)?;
        Ok(Self {
            web_ca_certificate,
            web_certificate,
            web_key,
            node_root_certificate,
            bridge_certificate: format!("{bridge_leaf}{node_issuer_certificate}"),
            node_issuer_certificate,
            node_issuer_key,
            broker_certificate,
            broker_key,
            bridge_key,
            observation_keys: [
                SigningKey::generate_jwk("core-observations-ed25519", KeyKind::Ed25519)?,
                SigningKey::generate_jwk("core-observations-p256", KeyKind::P256)?,
            ],
        })
    }

    /// Files of the Secret `core-pki`.
    fn core_files(&self) -> Value {
        json!({
            "web.crt": self.web_certificate, "web.key": self.web_key, "web-ca.crt": self.web_ca_certificate,
            "node-root.crt": self.node_root_certificate, "node-issuer.crt": self.node_issuer_certificate, "node-issuer.key": self.node_issuer_key,
            "bridge.crt": self.bridge_certificate, "bridge.key": self.bridge_key,
            "observation-ed25519.jwk": self.observation_keys[0].to_string(), "observation-p256.jwk": self.observation_keys[1].to_string(),
        })
    }

    /// Files of the Secret `broker-pki`.
    fn broker_files(&self) -> Value {
        json!({"tls.crt": self.broker_certificate, "tls.key": self.broker_key, "ca.crt": self.node_root_certificate})
    }

    /// Writes what the two Pods mount into `core` and `broker` below `directory`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, directory: &Path) -> std::io::Result<()> {
        for (folder, files) in [("core", self.core_files()), ("broker", self.broker_files())] {
            let folder = directory.join(folder);
            std::fs::create_dir_all(&folder)?;
            for (name, content) in files.as_object().into_iter().flatten() {
                std::fs::write(folder.join(name), content.as_str().unwrap_or_default())?;
            }
        }
        Ok(())
    }

    /// One Kubernetes List: Secrets of Core and broker, and the ConfigMap `core-ca` in each namespace of `ca_namespaces`.
    #[must_use]
    pub fn to_list(&self, ca_namespaces: &[String]) -> Value {
        let mut items = vec![
            object("Secret", "core-pki", NAMESPACE, "stringData", &self.core_files()),
            object("Secret", "broker-pki", NAMESPACE, "stringData", &self.broker_files()),
        ];
        let own_namespace = NAMESPACE.to_owned();
        let mut namespaces: Vec<&String> = std::iter::once(&own_namespace).chain(ca_namespaces).collect();
        namespaces.sort();
        namespaces.dedup();
        items.extend(
            namespaces
                .into_iter()
                .map(|namespace| object("ConfigMap", "core-ca", namespace, "data", &json!({"ca.crt": self.web_ca_certificate}))),
        );
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    }
}

fn object(kind: &str, name: &str, namespace: &str, member: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, member: data})
}

/// Every name that a client of Service `service` may use.
fn service_names(service: &str) -> Vec<String> {
    let full = format!("{service}.{NAMESPACE}.svc");
    vec![format!("{full}.cluster.local"), full, format!("{service}.{NAMESPACE}"), service.to_owned(), "localhost".to_owned()]
}

fn self_signed(params: CertificateParams) -> Result<(String, Issuer<'static, KeyPair>), PkiError> {
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    Ok((certificate, Issuer::new(params, key)))
}

fn authority(name: &str, now: Timestamp) -> Result<CertificateParams, PkiError> {
    let mut params = named(name, now)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn leaf(
    name: &str,
    dns_names: &[String],
    usage: ExtendedKeyUsagePurpose,
    issuer: &Issuer<'_, KeyPair>,
    now: Timestamp,
) -> Result<(String, String), PkiError> {
    let mut params = named(name, now)?;
    for dns_name in dns_names {
        params.subject_alt_names.push(SanType::DnsName(dns_name.as_str().try_into()?));
    }
    if !dns_names.is_empty() {
        params.subject_alt_names.push(SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}

fn named(name: &str, now: Timestamp) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let bounds = |duration| now.checked_add(duration).map_err(|_| PkiError::Date(AuthorityError::Date));
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970(bounds(-BEGINS_BEFORE)?)?;
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970(bounds(TEN_YEARS)?)?;
    Ok(params)
}
