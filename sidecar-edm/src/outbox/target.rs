//! Where aggregates go, and as whom.

use std::sync::Arc;

use hyper::Uri;
use hyper::http::uri::Scheme;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tapir_wire::jwk::DataKey;

/// Below the base URL.
const PATH: &str = "/api/v1/aggregate/histogram";

/// Core's receiver, and the identity that is shown to it.
#[derive(Debug)]
pub struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    /// Value of the header `Host`.
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(super) data_key: Arc<DataKey>,
}

/// Why an address is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No URL.
    #[error("http-url is no URL")]
    Url,
    /// Neither of the two schemes.
    #[error("http-url must begin with https:// (or, for tests, http://)")]
    Scheme,
    /// No host.
    #[error("http-url names no host")]
    Host,
    /// A path or a query that cannot be joined.
    #[error("http-url must not have a query")]
    Query,
}

impl Target {
    /// The receiver below the base URL `url`. `tls` shows the node's certificate; `data_key` signs. A change of any of them is a new target,
    /// and the connection to the old one is closed.
    ///
    /// # Errors
    /// When the URL is unusable.
    pub fn new(url: &str, tls: Arc<ClientConfig>, data_key: Arc<DataKey>) -> Result<Self, TargetError> {
        let url: Uri = url.parse().map_err(|_| TargetError::Url)?;
        let encrypted = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(TargetError::Scheme),
        };
        if url.query().is_some() {
            return Err(TargetError::Query);
        }
        let authority = url.authority().ok_or(TargetError::Host)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| TargetError::Host)?;
        let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        Ok(Self {
            host,
            port,
            // Without what could stand before an @.
            authority: authority.as_str().rsplit('@').next().unwrap_or_default().to_owned(),
            path: format!("{}{PATH}", url.path().trim_end_matches('/')),
            tls: encrypted.then_some((tls, name)),
            data_key,
        })
    }
}

/// The same client certificate towards servers of other CAs: Core's receiver is not always behind the node CA.
///
/// # Errors
/// When the library does not take it.
pub fn trusting(tls: &ClientConfig, anchors: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(tls.crypto_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(anchors);
    Ok(builder.with_client_cert_resolver(Arc::clone(&tls.client_auth_cert_resolver)))
}

#[cfg(test)]
mod tests {
    use tapir_wire::node_name::NodeName;

    use super::*;

    fn target(url: &str) -> Result<Target, TargetError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let key = DataKey::generate(&NodeName::parse("node.example").unwrap()).unwrap();
        Target::new(url, Arc::new(tls), Arc::new(key))
    }

    #[test]
    fn the_path_is_joined_to_whatever_the_url_has() {
        let check = |url: &str, host: &str, port: u16, path: &str, encrypted: bool| {
            let target = target(url).unwrap();
            assert_eq!((target.host.as_str(), target.port, target.path.as_str()), (host, port, path), "{url}");
            assert_eq!(target.tls.is_some(), encrypted);
        };
        check("https://core.example", "core.example", 443, "/api/v1/aggregate/histogram", true);
        check("https://core.example:8443/", "core.example", 8443, "/api/v1/aggregate/histogram", true);
        check("https://core.example/base//", "core.example", 443, "/base/api/v1/aggregate/histogram", true);
        check("http://[::1]:80/a/b", "::1", 80, "/a/b/api/v1/aggregate/histogram", false);
        check("http://127.0.0.1", "127.0.0.1", 80, "/api/v1/aggregate/histogram", false);
        assert_eq!(target("https://u:p@core.example:1").unwrap().authority, "core.example:1");
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (url, error) in [
            ("", TargetError::Url),
            ("core.example", TargetError::Scheme),
            ("/path", TargetError::Scheme),
            ("mqtts://core.example", TargetError::Scheme),
            ("https://core.example/?a", TargetError::Query),
        ] {
            assert_eq!(target(url).unwrap_err(), error, "{url}");
        }
    }
}
