//! The node's TLS key and certificate: request, check, facts.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::node_name::NodeName;

/// Most certificates read from one PEM text: a chain or a bundle of anchors, not a system's CA store.
const MAX_CERTIFICATES: usize = 64;

/// Why a key or certificate is of no use. Variant names serve as reasons in conditions and metrics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum CertificateError {
    /// No private key in PEM that we can use.
    #[error("private key is not PKCS#8 PEM of a supported kind")]
    BadKey,
    /// Making a key or request failed.
    #[error("making a key or certificate request failed: {0}")]
    Generation(String),
    /// Not a certificate.
    #[error("{what} is not a certificate in PEM")]
    NotPem {
        /// `certificate` or `CA certificate`.
        what: &'static str,
    },
    /// Unreadable certificate.
    #[error("{what} is not valid X.509")]
    NotX509 {
        /// `certificate` or `CA certificate`.
        what: &'static str,
    },
    /// The certificate is somebody else's.
    #[error("certificate's public key is not that of the private key")]
    OtherKey,
    /// Subject or SAN is not the node.
    #[error("certificate is for {found:?}, expected {expected:?} as common name and only alternative name")]
    OtherName {
        /// Names in the certificate.
        found: Vec<String>,
        /// The node.
        expected: String,
    },
    /// Its time is over.
    #[error("certificate ended at {0}")]
    Expired(Timestamp),
    /// Its time is still to come: a clock is wrong.
    #[error("certificate begins only at {0}; check the clocks")]
    NotYetValid(Timestamp),
    /// No path to any of the anchors.
    #[error("certificate does not verify against the CA certificate: {0}")]
    Untrusted(String),
}

/// Private key for TLS, P-256.
pub struct TlsKey {
    pem: Zeroizing<String>,
    pair: KeyPair,
}

impl TlsKey {
    /// A new key.
    pub fn generate() -> Result<Self, CertificateError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(generation)?;
        Ok(Self { pem: Zeroizing::new(pair.serialize_pem()), pair })
    }

    /// Reads any private key in PEM that can sign, such as one of an earlier installation.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        let pair = KeyPair::from_pem(pem).map_err(|_| CertificateError::BadKey)?;
        Ok(Self { pem: Zeroizing::new(pair.serialize_pem()), pair })
    }

    /// PKCS#8 PEM.
    #[must_use]
    pub fn pem(&self) -> Zeroizing<String> {
        self.pem.clone()
    }

    /// Certificate request as Core wants it: the common name and one DNS name, both the node name, and nothing else.
    pub fn csr(&self, name: &NodeName) -> Result<String, CertificateError> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name.as_str());
        parameters.subject_alt_names = vec![SanType::DnsName(name.as_str().try_into().map_err(generation)?)];
        parameters.serialize_request(&self.pair).and_then(|request| request.pem()).map_err(generation)
    }

    /// DER of the public half (SubjectPublicKeyInfo).
    #[must_use]
    pub fn public_key_der(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsKey").finish_non_exhaustive()
    }
}

impl Drop for TlsKey {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;

        self.pair.zeroize();
    }
}

/// Facts of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Decimal, as Core writes it.
    pub serial: String,
    /// Begin of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
}

impl CertificateInfo {
    /// Facts of the first certificate in a PEM text.
    pub fn from_pem(chain: &str) -> Result<Self, CertificateError> {
        let chain = certificates(chain, "certificate")?;
        let leaf = parse(chain.first().ok_or(CertificateError::NotPem { what: "certificate" })?, "certificate")?;
        Self::of(&leaf)
    }

    fn of(leaf: &X509Certificate<'_>) -> Result<Self, CertificateError> {
        let time = |seconds| Timestamp::from_second(seconds).map_err(|_| CertificateError::NotX509 { what: "certificate" });
        Ok(Self {
            serial: leaf.tbs_certificate.serial.to_string(),
            not_before: time(leaf.validity().not_before.timestamp())?,
            not_after: time(leaf.validity().not_after.timestamp())?,
        })
    }
}

/// Checks a certificate that was issued for our request: our key, our name, valid now, and a path to one of the anchors.
///
/// Every certificate of `ca_pem` is an anchor, self-signed or not: behind nodeman may stand a CA that hands out an intermediate one.
pub fn check_issued(
    chain_pem: &str,
    ca_pem: &str,
    key: &TlsKey,
    name: &NodeName,
    now: Timestamp,
) -> Result<CertificateInfo, CertificateError> {
    let chain = certificates(chain_pem, "certificate")?;
    let anchors = certificates(ca_pem, "CA certificate")?;
    let Some((leaf_der, intermediates)) = chain.split_first() else {
        return Err(CertificateError::NotPem { what: "certificate" });
    };
    let leaf = parse(leaf_der, "certificate")?;
    if leaf.public_key().raw != key.public_key_der() {
        return Err(CertificateError::OtherKey);
    }
    check_name(&leaf, name)?;
    let info = CertificateInfo::of(&leaf)?;
    if now > info.not_after {
        return Err(CertificateError::Expired(info.not_after));
    }
    if now < info.not_before {
        return Err(CertificateError::NotYetValid(info.not_before));
    }
    verify_path(leaf_der, intermediates, &anchors, now)?;
    Ok(info)
}

fn check_name(leaf: &X509Certificate<'_>, name: &NodeName) -> Result<(), CertificateError> {
    let common = leaf.subject().iter_common_name().map(|name| name.as_str().unwrap_or_default().to_owned());
    let alternative = leaf.subject_alternative_name().ok().flatten();
    let alternative = alternative.iter().flat_map(|names| &names.value.general_names).map(|name| match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        other => format!("{other:?}"),
    });
    let (common, alternative): (Vec<_>, Vec<_>) = (common.collect(), alternative.collect());
    if common == [name.as_str()] && alternative == [name.as_str()] {
        return Ok(());
    }
    let found = common.into_iter().chain(alternative).collect();
    Err(CertificateError::OtherName { found, expected: name.to_string() })
}

fn verify_path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<(), CertificateError> {
    let untrusted = |error: webpki::Error| CertificateError::Untrusted(error.to_string());
    // A bundle may hold more than the anchor that counts; what is no anchor for us must not spoil it.
    let anchors: Vec<_> = anchors.iter().filter_map(|anchor| webpki::anchor_from_trusted_cert(anchor).ok()).collect();
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(untrusted)?;
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        webpki::KeyUsage::client_auth(),
        None,
        None,
    )
    .map_err(untrusted)?;
    Ok(())
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .take(MAX_CERTIFICATES)
        .collect::<Result<_, _>>()
        .map_err(|_| CertificateError::NotPem { what })?;
    if certificates.is_empty() {
        return Err(CertificateError::NotPem { what });
    }
    Ok(certificates)
}

fn parse<'a>(der: &'a CertificateDer<'_>, what: &'static str) -> Result<X509Certificate<'a>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::NotX509 { what }),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn generation(error: rcgen::Error) -> CertificateError {
    CertificateError::Generation(error.to_string())
}
