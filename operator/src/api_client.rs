//! The client of the API server: put together as kube's own, but for connections whose buffers stay small.
//!
//! Each watch is a connection, and a fleet has a hundred of them. hyper lets a connection's buffer grow with the longest answer that it
//! read, up to 400 KiB, and never lets it shrink.

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

use crate::telemetry::metrics::Metrics;
use crate::telemetry::writes::CountWrites;

/// Room for a read of a connection. A longer answer takes several.
const READ: usize = 8 * 1024;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error("the kubeconfig names a proxy ({0}), which the operator cannot use: let it reach the API server directly")]
    Proxy(String),
}

/// A client whose requests are counted. It repeats nothing by itself: a disruption budget answers evictions by 429, a lease cannot wait,
/// and controllers and watches have their own back-off.
///
/// # Errors
/// When the configuration holds what cannot be used.
pub fn client(config: Config, metrics: Metrics) -> Result<Client, ClientError> {
    if let Some(proxy) = &config.proxy_url {
        return Err(ClientError::Proxy(proxy.host().unwrap_or_default().to_owned()));
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let transport: legacy::Client<_, Body> =
        legacy::Builder::new(TokioExecutor::new()).http1_read_buf_exact_size(READ).build(connector);
    let service = ServiceBuilder::new()
        .layer(CountWrites(metrics))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(transport);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_proxy_is_refused_by_name_and_nothing_of_its_credentials_is_told() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut config = Config::new("https://api.test".parse().unwrap());
        assert!(client(config.clone(), Metrics::default()).is_ok());
        config.proxy_url = Some("http://user:secret@proxy.test:3128".parse().unwrap());
        let error = client(config, Metrics::default()).err().unwrap().to_string();
        assert!(error.contains("(proxy.test)") && !error.contains("secret"), "{error}");
    }
}
