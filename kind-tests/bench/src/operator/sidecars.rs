//! Sidecars of thousands of Pods: one responder that answers at every Pod's address, and takes new configuration over as soon as it is
//! written, as a sidecar in a Pod would.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::{Value, json};
use tapir_wire::certificate::CertificateInfo;
use tapir_wire::node::paths::{EDM_HTTP_PORT, POP_HTTP_PORT};
use tapir_wire::node::{NODE_DOCUMENT, NodeDocument, TLS_CERTIFICATE};
use tapir_wire::status::SidecarStatus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request of the operator is far smaller.
const LONGEST_REQUEST: usize = 8 * 1024;

/// `namespace/edge`.
type Edge = String;

/// What all sidecars know.
#[derive(Debug, Default)]
pub(crate) struct Sidecars {
    pods: RwLock<HashMap<IpAddr, Edge>>,
    edges: RwLock<HashMap<Edge, Known>>,
    /// Questions that were answered.
    pub(crate) answered: AtomicU64,
}

#[derive(Debug, Clone, Default)]
struct Known {
    edm: String,
    pop: String,
    sources: Vec<String>,
    identity: Option<Value>,
}

impl Sidecars {
    /// Begins to answer and to follow the configuration.
    pub(crate) async fn start(client: &Client) -> Result<Arc<Self>> {
        let sidecars = Arc::new(Self::default());
        for port in [EDM_HTTP_PORT, POP_HTTP_PORT] {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.context("listening as sidecar")?;
            tokio::spawn(Arc::clone(&sidecars).listen(listener));
        }
        let (maps, secrets) = (Arc::clone(&sidecars), Arc::clone(&sidecars));
        tokio::spawn(follow(Api::<ConfigMap>::all(client.clone()), move |map| maps.configured(&map)));
        tokio::spawn(follow(Api::<Secret>::all(client.clone()), move |secret| secrets.identified(&secret)));
        Ok(sidecars)
    }

    /// A Pod of an edge answers at this address.
    pub(crate) fn add(&self, address: IpAddr, namespace: &str, edge: &str) {
        self.pods.write().unwrap_or_else(PoisonError::into_inner).insert(address, format!("{namespace}/{edge}"));
    }

    async fn listen(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&self).serve(stream));
        }
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) -> Option<()> {
        let local = stream.local_addr().ok()?;
        let mut request = Vec::new();
        loop {
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                let mut part = [0; 1024];
                match stream.read(&mut part).await {
                    Ok(count) if count > 0 && request.len() < LONGEST_REQUEST => request.extend_from_slice(part.get(..count)?),
                    _ => return None,
                }
            }
            request.clear();
            let body = self.status(local)?;
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(head.as_bytes()).await.ok()?;
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn status(&self, local: SocketAddr) -> Option<String> {
        let edge = self.pods.read().unwrap_or_else(PoisonError::into_inner).get(&local.ip())?.clone();
        let known = self.edges.read().unwrap_or_else(PoisonError::into_inner).get(&edge).cloned().unwrap_or_default();
        let now = Timestamp::UNIX_EPOCH;
        let (component, revision) = if local.port() == EDM_HTTP_PORT { ("edm", known.edm) } else { ("pop", known.pop) };
        let mut status = json!({
            "format": SidecarStatus::FORMAT, "component": component, "version": "bench", "commit": "bench", "startedAt": now,
            "config": {"revision": revision, "loadedAt": now, "disabled": false},
            "core": {"connected": true, "since": now},
        });
        let members = status.as_object_mut()?;
        if let Some(identity) = known.identity {
            members.insert("identity".to_owned(), identity);
        }
        if component == "edm" {
            members.insert(
                "edm".to_owned(),
                json!({"connections": 1, "frames": 0, "eventsSent": 0, "eventsQueued": 0, "eventsDropped": 0}),
            );
        } else {
            let sources: Vec<Value> =
                known.sources.iter().map(|name| json!({"name": name, "entries": 1, "rejected": 0, "state": "Ready"})).collect();
            members.insert("pop".to_owned(), json!({"zone": "dnstapir.", "serial": 1, "records": 1, "sources": sources}));
        }
        Some(status.to_string())
    }

    fn change(&self, namespace: &str, edge: &str, with: impl FnOnce(&mut Known)) {
        let mut edges = self.edges.write().unwrap_or_else(PoisonError::into_inner);
        with(edges.entry(format!("{namespace}/{edge}")).or_default());
    }

    fn configured(&self, map: &ConfigMap) {
        let (name, namespace) = (map.name_any(), map.namespace().unwrap_or_default());
        let Some(data) = &map.data else { return };
        if let (Some(edge), Some(text)) = (name.strip_suffix("-edm"), data.get("edm.toml")) {
            self.change(&namespace, edge, |known| known.edm = value(text, "revision = "));
        } else if let (Some(edge), Some(text)) = (name.strip_suffix("-pop"), data.get("pop.yaml")) {
            let sources = text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("- name: "))
                .map(|name| name.trim_matches('"').to_owned());
            self.change(&namespace, edge, |known| {
                known.pop = value(text, "revision: ");
                known.sources = sources.collect();
            });
        }
    }

    fn identified(&self, secret: &Secret) {
        let (name, namespace) = (secret.name_any(), secret.namespace().unwrap_or_default());
        let (Some(edge), Some(data)) = (name.strip_suffix("-identity"), &secret.data) else { return };
        let text = |key: &str| data.get(key).and_then(|value| std::str::from_utf8(&value.0).ok());
        let node = text(NODE_DOCUMENT).and_then(|text| serde_json::from_str::<NodeDocument>(text).ok());
        if let (Some(Ok(info)), Some(node)) = (text(TLS_CERTIFICATE).map(CertificateInfo::from_pem), node) {
            let identity = json!({"node": node.name, "certificateSerial": info.serial, "notAfter": info.not_after});
            self.change(&namespace, edge, |known| known.identity = Some(identity));
        }
    }
}

/// The value behind a key of a rendered file.
fn value(text: &str, key: &str) -> String {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap_or_default();
    value.trim_matches('"').to_owned()
}

async fn follow<K>(api: Api<K>, mut take: impl FnMut(K) + Send)
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        if let Ok(Event::Apply(object) | Event::InitApply(object)) = event {
            take(object);
        }
    }
}
