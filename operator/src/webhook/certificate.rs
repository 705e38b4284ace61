//! What the webhook's Secret holds: the bundle of authorities, newest first, the newest one's key, the certificate that is served, its key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use tapir_plan::renewal::Validity;
use tapir_plan::webhook_certificate::{CA_LIFE, LEAF_LIFE, Leaf};
use tapir_wire::certificate::CertificateInfo;
use zeroize::Zeroizing;

const BUNDLE: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
/// Authorities in a bundle at most: the newest, the one before, and one to spare after a jump of the clock.
const MOST_AUTHORITIES: usize = 3;
const END: &str = "-----END CERTIFICATE-----";
/// Begin of validity before now: clocks of API servers may be behind.
const BACKDATED: SignedDuration = SignedDuration::from_hours(2);

/// Why something cannot be made of a Secret. No text of it is ever part of the error.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("the webhook's Secret has no {0}")]
    Missing(&'static str),
    #[error("the webhook's certificate or key is not usable PEM")]
    Pem,
    #[error("the webhook's certificate and key do not belong together, or are of a kind that cannot be served")]
    Unusable(#[source] rustls::Error),
    #[error("making a certificate for the webhook")]
    Generation(#[source] rcgen::Error),
}

/// Content of the Secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Material {
    bundle: Option<String>,
    authority_key: Option<Zeroizing<String>>,
    chain: Option<String>,
    key: Option<Zeroizing<String>>,
}

impl fmt::Debug for Material {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Material").finish_non_exhaustive()
    }
}

impl Material {
    /// What a Secret holds; what is no text counts as missing.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        let text = |key: &str| {
            let value = secret.data.as_ref()?.get(key)?;
            std::str::from_utf8(&value.0).ok().filter(|text| !text.trim().is_empty()).map(str::to_owned)
        };
        Self {
            bundle: text(BUNDLE),
            authority_key: text(AUTHORITY_KEY).map(Zeroizing::new),
            chain: text(CHAIN),
            key: text(KEY).map(Zeroizing::new),
        }
    }

    /// As data of a Secret.
    #[must_use]
    pub fn data(&self) -> BTreeMap<String, ByteString> {
        let members = [
            (BUNDLE, self.bundle.as_deref()),
            (AUTHORITY_KEY, self.authority_key.as_ref().map(|key| key.as_str())),
            (CHAIN, self.chain.as_deref()),
            (KEY, self.key.as_ref().map(|key| key.as_str())),
        ];
        let present = members.into_iter().filter_map(|(name, text)| Some((name, text?)));
        present.map(|(name, text)| (name.to_owned(), ByteString(text.as_bytes().to_vec()))).collect()
    }

    /// What API servers are to trust.
    #[must_use]
    pub fn bundle(&self) -> Option<&str> {
        self.bundle.as_deref()
    }

    /// The newest authority, if its key is there and fits.
    #[must_use]
    pub fn authority(&self) -> Option<Validity> {
        let certificate = self.authorities().next()?;
        pair(certificate, self.authority_key.as_ref()?).ok()?;
        validity(certificate)
    }

    /// The certificate that is served, if it can be and an authority of the bundle vouches for it under all these names.
    #[must_use]
    pub fn leaf(&self, names: &[String], now: Timestamp) -> Option<Leaf> {
        self.served().ok()?;
        let chain = self.chain.as_deref()?;
        let authorities: Vec<&str> = self.authorities().collect();
        let by_newest = vouches(authorities.get(..1)?, chain, names, now);
        (by_newest || vouches(&authorities, chain, names, now)).then_some(Leaf { validity: validity(chain)?, by_newest })
    }

    /// For the TLS server.
    ///
    /// # Errors
    /// When there is nothing, or nothing that can be served.
    pub fn served(&self) -> Result<Arc<CertifiedKey>, CertificateError> {
        let chain = self.chain.as_deref().ok_or(CertificateError::Missing(CHAIN))?;
        let key = self.key.as_ref().ok_or(CertificateError::Missing(KEY))?;
        pair(chain, key).map(Arc::new)
    }

    /// With a new authority, first in the bundle. Those before it stay known while something is served that they may have vouched for.
    ///
    /// # Errors
    /// When the library fails.
    pub fn with_new_authority(&self, now: Timestamp) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("tapir-operator webhook authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_life(&mut params, now, now.checked_add(CA_LIFE).unwrap_or(Timestamp::MAX));
        let key = key_pair()?;
        let certificate = params.self_signed(&key).map_err(CertificateError::Generation)?.pem();
        let former = self.served().map(|_| self.authorities()).into_iter().flatten();
        let bundle = std::iter::once(certificate.as_str()).chain(former).take(MOST_AUTHORITIES).collect();
        Ok(Self { bundle: Some(bundle), authority_key: Some(Zeroizing::new(key.serialize_pem())), ..self.clone() })
    }

    /// With a new certificate for these names, by the newest authority.
    ///
    /// # Errors
    /// When there is no authority, or the library fails.
    pub fn with_new_leaf(&self, names: &[String], now: Timestamp) -> Result<Self, CertificateError> {
        let (issuer, key) = (self.issuer()?, key_pair()?);
        let chain = leaf(&issuer, &key, names, now, now.checked_add(LEAF_LIFE).unwrap_or(Timestamp::MAX))?;
        Ok(Self { chain: Some(chain), key: Some(Zeroizing::new(key.serialize_pem())), ..self.clone() })
    }

    /// There are authorities beside the newest.
    #[must_use]
    pub fn has_older(&self) -> bool {
        self.authorities().nth(1).is_some()
    }

    /// With the newest authority alone.
    #[must_use]
    pub fn without_older(&self) -> Self {
        Self { bundle: self.authorities().next().map(str::to_owned), ..self.clone() }
    }

    fn authorities(&self) -> impl Iterator<Item = &str> {
        let bundle = self.bundle.as_deref().unwrap_or_default();
        bundle.split_inclusive(END).filter(|certificate| certificate.contains(END))
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, CertificateError> {
        let key = self.authority_key.as_ref().ok_or(CertificateError::Missing(AUTHORITY_KEY))?;
        let key = KeyPair::from_pem(key).map_err(|_| CertificateError::Pem)?;
        let certificate = self.authorities().next().ok_or(CertificateError::Missing(BUNDLE))?;
        Issuer::from_ca_cert_pem(certificate, key).map_err(|_| CertificateError::Pem)
    }
}

fn key_pair() -> Result<KeyPair, CertificateError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(CertificateError::Generation)
}

fn leaf(
    issuer: &Issuer<'_, KeyPair>,
    key: &KeyPair,
    names: &[String],
    now: Timestamp,
    not_after: Timestamp,
) -> Result<String, CertificateError> {
    let mut params = CertificateParams::new(names.to_vec()).map_err(CertificateError::Generation)?;
    params.distinguished_name = named("tapir-operator webhook");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, now, not_after);
    params.signed_by(key, issuer).map(|certificate| certificate.pem()).map_err(CertificateError::Generation)
}

fn named(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn set_life(params: &mut CertificateParams, now: Timestamp, not_after: Timestamp) {
    let begin = rcgen::date_time_ymd(1970, 1, 1);
    let since_1970 = |time: Timestamp| Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default());
    params.not_before = begin + since_1970(now.checked_sub(BACKDATED).unwrap_or(now));
    params.not_after = begin + since_1970(not_after);
}

fn validity(certificate: &str) -> Option<Validity> {
    let CertificateInfo { not_before, not_after, .. } = CertificateInfo::from_pem(certificate).ok()?;
    Some(Validity { not_before, not_after })
}

/// A chain and the key of its first certificate; it is compared whether they belong together.
fn pair(chain: &str, key: &str) -> Result<CertifiedKey, CertificateError> {
    let chain = certificates(chain).filter(|chain| !chain.is_empty()).ok_or(CertificateError::Pem)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| CertificateError::Pem)?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider()).map_err(CertificateError::Unusable)
}

fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().ok()
}

/// Whether a client that trusts these authorities accepts the chain under every one of the names.
fn vouches(authorities: &[&str], chain: &str, names: &[String], now: Timestamp) -> bool {
    let verified = || -> Option<bool> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(certificates(authority)?.into_iter().next()?).ok()?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        let chain = certificates(chain)?;
        let (leaf, intermediates) = chain.split_first()?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second()).ok()?));
        Some(names.iter().all(|name| {
            let name = ServerName::try_from(name.as_str());
            name.is_ok_and(|name| verifier.verify_server_cert(leaf, intermediates, &name, &[], now).is_ok())
        }))
    };
    verified().unwrap_or(false)
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
