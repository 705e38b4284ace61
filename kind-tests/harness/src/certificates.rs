//! An authority for a test's API server, and kubeconfig files for its users.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;

/// Signs certificates of servers and users; made anew for each cluster and gone with it.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pair(..)")
    }
}

impl Authority {
    /// A new one.
    pub fn generate() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new()).context("describing the authority")?;
        params.distinguished_name.push(DnType::CommonName, "tapir test cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("generating the authority's key")?;
        let certificate = params.self_signed(&key).context("signing the authority")?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Its own certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its key, as PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for a server of these names or a client; user and groups are as Kubernetes reads them.
    pub fn issue(&self, user: &str, groups: &[&str], names: &[&str]) -> Result<Pair> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).with_context(|| format!("describing {user}"))?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().with_context(|| format!("generating the key of {user}"))?;
        let certificate = params.signed_by(&key, &self.issuer).with_context(|| format!("signing {user}"))?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// What a user of the API server at this address needs. JSON is YAML; kubectl and client libraries read either.
    pub fn kubeconfig(&self, server: &str, user: &Pair) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tapir",
            "clusters": [{"name": "tapir", "cluster": {
                "server": server,
                "certificate-authority-data": STANDARD.encode(&self.certificate),
            }}],
            "users": [{"name": "tapir", "user": {
                "client-certificate-data": STANDARD.encode(&user.certificate),
                "client-key-data": STANDARD.encode(&user.key),
            }}],
            "contexts": [{"name": "tapir", "context": {"cluster": "tapir", "user": "tapir"}}],
        })
        .to_string()
    }
}
