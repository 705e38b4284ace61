//! An engine with everything but the network.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tapir_pop::dns::server::Published;
use tapir_pop::dns::zone::Zone as _;
use tapir_pop::engine::{Engine, Handle, Inputs};
use tapir_pop::feeds::{self, NewsSender};
use tapir_pop::setup::{NoFiles, Setup};
use tapir_pop::status::Telemetry;
use tapir_pop::zone::Snapshot;
use tapir_runtime::mqtt::Incoming;
use tapir_runtime::shutdown::Shutdown;
use tapir_table::{Codes, Cursor as _, KeyBuf, MAX_KEY};
use tapir_wire::jwk::{DataKey, TrustedKeys};
use tapir_wire::jws;
use tapir_wire::node_name::NodeName;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const TAGGED: &str =
    "sources: [{name: core-feed, list: Doubt, core: {}}]\ndoubt: [{name: new, anyTags: [globally_new], action: NXDOMAIN}]\n";

#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) key: DataKey,
    pub(crate) setup: watch::Sender<Option<Arc<Setup>>>,
    pub(crate) messages: mpsc::Sender<Incoming>,
    pub(crate) published: Published,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) engine: Handle,
    pub(crate) news: NewsSender,
    _shutdown: Shutdown,
}

pub(crate) fn setup(directory: &Path, rest: &str) -> Option<Arc<Setup>> {
    let text = format!("format: 1\ndataDir: {}\n{rest}", directory.display());
    Some(Arc::new(Setup::parse(&text, &mut NoFiles).unwrap().0))
}

pub(crate) fn start(directory: &Path, rest: &str) -> Running {
    let key = DataKey::generate(&NodeName::parse("core.test").unwrap()).unwrap();
    let keys = TrustedKeys::from_value(&json!({"keys": [key.public_jwk()]})).unwrap();
    let (setup, setups) = watch::channel(setup(directory, rest));
    let (messages, incoming) = mpsc::channel(1024);
    let (publish, published) = watch::channel(None);
    let telemetry = Telemetry::new(None, None);
    let engine = Engine::new(publish, Arc::clone(&telemetry)).unwrap();
    let (news_sender, news) = feeds::channel();
    let inputs = Inputs { setup: setups, keys: watch::channel(Some(Arc::new(keys))).1, incoming, news };
    let shutdown = Shutdown::manual().1;
    let engine = engine.spawn(inputs, shutdown.clone(), oneshot::channel().0).unwrap();
    Running { key, setup, messages, published, telemetry, engine, news: news_sender, _shutdown: shutdown }
}

impl Running {
    pub(crate) async fn send(&self, entries: &[Value]) {
        let payload = json!({
            "src_name": "dns-tapir", "creator": "observation-encoder", "msg_type": "observation", "list_type": "doubtlist",
            "added": entries, "removed": [], "msg": "", "timestamp": Timestamp::now().to_string(), "time_str": "",
        });
        let signed = jws::sign_flattened(payload.to_string().as_bytes(), &self.key);
        self.messages.send(Incoming { topic: "t".to_owned(), payload: signed.into() }).await.unwrap();
    }

    pub(crate) async fn until(&mut self, good: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let found = self.published.wait_for(|snapshot| snapshot.as_ref().is_some_and(|snapshot| good(snapshot)));
        timeout(PATIENCE, found).await.unwrap().unwrap().clone().unwrap()
    }

    /// As `kill -9`: nothing more is written.
    #[allow(clippy::unused_async, reason = "reads like the other steps of a test")]
    pub(crate) async fn kill(self) {
        self.engine.kill();
    }
}

/// As Core sends it: no final dot.
pub(crate) fn entry(name: &str, lifetime: SignedDuration, tag_mask: u32) -> Value {
    let ttl = 600;
    let time_added = Timestamp::now().checked_add(lifetime).unwrap().checked_sub(SignedDuration::from_secs(ttl)).unwrap();
    json!({"name": name, "time_added": time_added.to_string(), "ttl": ttl, "tag_mask": tag_mask, "extended_tags": []})
}

pub(crate) fn has(snapshot: &Snapshot, name: &str) -> bool {
    !snapshot.get(&KeyBuf::from_text(name, MAX_KEY).unwrap()).unwrap().own.is_silent()
}

/// Everything that is in it.
pub(crate) fn content(snapshot: &Snapshot) -> Vec<(KeyBuf, Codes)> {
    let (mut all, mut cursor) = (Vec::new(), snapshot.cursor());
    while cursor.advance().unwrap() {
        all.push((*cursor.key(), cursor.value()));
    }
    assert_eq!(all.len() as u64, snapshot.size.names);
    all
}
