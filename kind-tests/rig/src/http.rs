//! HTTP for tests that do not care for asynchrony.

use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Certificate, Client, Identity, RequestBuilder};
use serde_json::Value;
use tapir_harness::certificates::Pair;
use tokio::runtime::{Builder, Runtime};

/// An API server that hangs may be the very test.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// Drives every client of this process; threads of tests only wait for it.
static RUNTIME: LazyLock<Result<Runtime, std::io::Error>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build());

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    /// As JSON; `Null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// A client that trusts this CA alone.
pub fn client(ca: Option<&str>, user: Option<&Pair>) -> Result<Client> {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let roots = ca.map(|ca| Certificate::from_pem(ca.as_bytes())).transpose().context("reading a CA")?;
    let mut builder = Client::builder().timeout(REQUEST_TIME).no_proxy().tls_certs_only(roots);
    if let Some(user) = user {
        let pem = format!("{}{}", user.certificate, user.key);
        builder = builder.identity(Identity::from_pem(pem.as_bytes()).context("reading a user's certificate")?);
    }
    block_on(async { builder.build().context("making an HTTP client") })
}

/// Sends and reads it all.
pub fn send(request: RequestBuilder) -> Result<Answer> {
    block_on(async {
        let response = request.send().await?;
        Ok(Answer { status: response.status().as_u16(), text: response.text().await? })
    })
}

fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = RUNTIME.as_ref().map_err(|error| anyhow::anyhow!("starting the runtime: {error}"))?;
    runtime.block_on(future)
}
