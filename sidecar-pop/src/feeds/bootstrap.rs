//! Servers that export what they have observed, as upstream's policy processor does. One that starts asks them in their order until
//! one answers, once. Names, times and tags are taken, never settings.

pub mod gob;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tapir_runtime::back_off::BackOff;
use tapir_runtime::panics::{Panicked, caught_task};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::config::pop::Bootstrap;
use tapir_wire::observation::{Entry, ListType, Message};
use tokio::sync::watch;
use tokio::time::sleep;
use zeroize::Zeroizing;

use self::gob::GobError;
use super::aside::aside;
use super::peers::Identity;
use super::{NewsSender, SourceNews};

/// Where nothing is said.
const URL: &str = "https://%s/api/v1";
const RETRY: BackOff = BackOff { min: Duration::from_secs(2), max: Duration::from_secs(300) };
const CONNECT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(120);
/// Octets of an export: some hundred thousand names.
const LARGEST: usize = 64 << 20;
/// Names that the engine is told at once.
const AT_ONCE: usize = 256;

/// One source's servers.
#[derive(Clone, PartialEq, Eq)]
pub struct Bootstrapping {
    /// Name of the source in the policy.
    pub source: Arc<str>,
    /// What Core, and so the server, calls the list.
    pub list: String,
    /// Servers.
    pub from: Bootstrap,
    /// What they ask for.
    pub key: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for Bootstrapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bootstrapping").field("source", &self.source).field("servers", &self.from.servers).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
enum BootstrapError {
    #[error("{0}")]
    Unreachable(String),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("its export is larger than {LARGEST} octets")]
    TooLarge,
    #[error(transparent)]
    Gob(#[from] GobError),
    #[error("the key holds what no header can")]
    Key,
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl From<reqwest::Error> for BootstrapError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        Self::Unreachable(text)
    }
}

impl Bootstrapping {
    /// Until one server has answered, or the shutdown.
    pub async fn run(self, identity: watch::Receiver<Option<Identity>>, to: NewsSender, shutdown: Shutdown) {
        tokio::select! {
            () = self.go_on(identity, to) => {}
            () = shutdown.requested() => {}
        }
    }

    async fn go_on(&self, mut identity: watch::Receiver<Option<Identity>>, to: NewsSender) {
        let mut pauses = RETRY.start();
        loop {
            let Ok(us) = identity.wait_for(Option::is_some).await.map(|us| us.clone()) else { return };
            let Some(us) = us else { return };
            for server in &self.from.servers {
                match caught_task(self.ask(&us, *server)).await.unwrap_or_else(|panicked| Err(panicked.into())) {
                    Ok((entries, left_out)) => {
                        to.well(&self.source);
                        tracing::info!(source = &*self.source, %server, names = entries.len(), left_out, "a bootstrap server told what it knows");
                        return self.tell(entries, &to).await;
                    }
                    Err(error) => {
                        if matches!(error, BootstrapError::Panicked(_)) {
                            to.panicked(&self.source);
                        }
                        tracing::warn!(source = &*self.source, %server, %error, "a bootstrap server tells nothing");
                    }
                }
            }
            sleep(pauses.next_pause()).await;
        }
    }

    async fn ask(&self, us: &Identity, server: SocketAddr) -> Result<(Vec<Entry>, u64), BootstrapError> {
        let tls = us.towards_any_node().map_err(|error| BootstrapError::Unreachable(error.to_string()))?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .timeout(WHOLE)
            .build()?;
        let base = self.from.url.as_deref().unwrap_or(URL).replace("%s", &server.to_string());
        // The status that upstream asks for first cannot be answered by any server that is out there.
        let body = serde_json::json!({"Command": "export-doubtlist", "ListName": self.list, "Encoding": "gob"});
        let mut request = client.post(format!("{}/bootstrap", base.trim_end_matches('/'))).json(&body);
        if let Some(key) = &self.key {
            let mut key = HeaderValue::from_str(key.trim()).map_err(|_| BootstrapError::Key)?;
            key.set_sensitive(true);
            request = request.header("X-API-Key", key);
        }
        let mut response = request.send().await?;
        if response.status() != StatusCode::OK {
            return Err(BootstrapError::Status(response.status()));
        }
        let mut export = Vec::new();
        while let Some(part) = response.chunk().await? {
            export.extend_from_slice(&part);
            if export.len() > LARGEST {
                return Err(BootstrapError::TooLarge);
            }
        }
        let list = self.list.clone();
        Ok(aside(move || gob::read(&export, &list)).await??)
    }

    async fn tell(&self, entries: Vec<Entry>, to: &NewsSender) {
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let message = Message {
                src_name: self.list.clone(),
                list_type: ListType::Doubt,
                timestamp: None,
                added: entries.by_ref().take(AT_ONCE).collect(),
                removed: Vec::new(),
                rejected: BTreeMap::new(),
            };
            if !to.tell(&self.source, SourceNews::Observed(Box::new(message))).await {
                return;
            }
        }
    }
}
