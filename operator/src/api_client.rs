//! The clients of the API server: put together as kube's own, but for connections that stay small and few.
//!
//! Requests go over HTTP/1.1, one at a time on a connection. hyper lets a connection's buffer grow with the longest answer that it read, up to
//! 400 KiB, and never lets it shrink: here it has a fixed size. Watches last, and a scope has ten of them: they share one HTTP/2 connection,
//! where the API server speaks it, and are far fewer than the streams that it allows on one.

use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

use crate::telemetry::metrics::Metrics;
use crate::telemetry::writes::CountWrites;

/// Room for a read of a connection. A longer answer takes several.
const READ: usize = 8 * 1024;
/// What the API server may send ahead on a watch, and on all of a connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// The API server is asked for a sign of life so often, and has so long to give it.
const ALIVE_EVERY: Duration = Duration::from_secs(30);
const ALIVE_WITHIN: Duration = Duration::from_secs(15);

type Connector = HttpsConnector<HttpConnector>;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error("the kubeconfig names a proxy ({0}), which the operator cannot use: let it reach the API server directly")]
    Proxy(String),
    #[error("the kubeconfig names a TLS server name that is none: {0:?}")]
    ServerName(String),
}

/// Makes clients whose requests are counted. They repeat nothing by themselves: a disruption budget answers evictions by 429, a lease cannot
/// wait, and controllers and watches have their own back-off.
#[derive(Clone)]
pub struct Clients {
    config: Config,
    metrics: Metrics,
    requests: Client,
    watching: Connector,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Clients").finish_non_exhaustive()
    }
}

impl Clients {
    /// Of one API server.
    ///
    /// # Errors
    /// When the configuration holds what cannot be used.
    pub fn new(config: Config, metrics: Metrics) -> Result<Self, ClientError> {
        if let Some(proxy) = &config.proxy_url {
            return Err(ClientError::Proxy(proxy.host().unwrap_or_default().to_owned()));
        }
        let connector = config.rustls_https_connector_with_connector(plain())?;
        let mut builder = legacy::Builder::new(TokioExecutor::new());
        let transport = builder.http1_read_buf_exact_size(READ).build(timed(&config, connector));
        let requests = client(&config, &metrics, transport)?;
        Ok(Self { watching: multiplexed(&config)?, config, metrics, requests })
    }

    /// For requests; clones share its connections.
    #[must_use]
    pub fn requests(&self) -> Client {
        self.requests.clone()
    }

    /// For the watches of one scope: a connection of its own.
    ///
    /// # Errors
    /// When the configuration holds what cannot be used.
    pub fn watches(&self) -> Result<Client, ClientError> {
        let mut builder = legacy::Builder::new(TokioExecutor::new());
        let builder = builder
            .http1_read_buf_exact_size(READ)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            // A connection that died unseen would leave all its watches deaf.
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(ALIVE_EVERY)
            .http2_keep_alive_timeout(ALIVE_WITHIN);
        client(&self.config, &self.metrics, builder.build(timed(&self.config, self.watching.clone())))
    }
}

fn client(
    config: &Config,
    metrics: &Metrics,
    transport: legacy::Client<TimeoutConnector<Connector>, Body>,
) -> Result<Client, ClientError> {
    let service = ServiceBuilder::new()
        .layer(CountWrites(metrics.clone()))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(transport);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

fn plain() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector
}

fn timed(config: &Config, connector: Connector) -> TimeoutConnector<Connector> {
    let mut connector = TimeoutConnector::new(connector);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    connector
}

/// Offers HTTP/2, and HTTP/1.1 to who does not speak it.
fn multiplexed(config: &Config) -> Result<Connector, ClientError> {
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into().map_err(|_| ClientError::ServerName(name.clone()))?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_http1().enable_http2().wrap_connector(plain()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_proxy_is_refused_by_name_and_nothing_of_its_credentials_is_told() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut config = Config::new("https://api.test".parse().unwrap());
        let clients = Clients::new(config.clone(), Metrics::default()).unwrap();
        assert!(clients.watches().is_ok());
        config.proxy_url = Some("http://user:secret@proxy.test:3128".parse().unwrap());
        let error = Clients::new(config, Metrics::default()).err().unwrap().to_string();
        assert!(error.contains("(proxy.test)") && !error.contains("secret"), "{error}");
    }
}
