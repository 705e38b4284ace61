//! TLS 1.3 for the listeners, and the name in a client's certificate.

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::clock::Clock;

/// Why a configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text holds no certificate or no key.
    #[error("reading a certificate or key: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// The library refuses the material.
    #[error("configuring TLS")]
    Rustls(#[from] rustls::Error),
    /// No client could ever be verified.
    #[error("configuring the verification of clients")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// A server; with `client_ca`, only for clients with a certificate of that CA.
///
/// # Errors
/// When the PEM texts are unusable.
pub fn server(certificate: &str, key: &str, client_ca: Option<&str>, clock: &Clock) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(clock.clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => builder
            .with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(Arc::new(roots(pem)?), provider).build()?),
    };
    let mut config = builder.with_single_cert(certificates(certificate)?, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client that trusts `ca` alone; with `identity` (chain and key) it shows a certificate.
///
/// # Errors
/// When the PEM texts are unusable.
pub fn client(ca: &str, identity: Option<(&str, &str)>, clock: &Clock) -> Result<Arc<rustls::ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_details(provider, Arc::new(clock.clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = builder.with_root_certificates(roots(ca)?);
    Ok(Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            builder.with_client_auth_cert(certificates(chain)?, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?
        }
    }))
}

/// The common name in the client's certificate.
#[must_use]
pub fn client_name(chain: Option<&[CertificateDer<'_>]>) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(chain?.first()?).ok()?;
    certificate.subject().iter_common_name().next()?.as_str().ok().map(str::to_owned)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    Ok(CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>()?)
}

fn roots(pem: &str) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate)?;
    }
    Ok(store)
}
