//! Asking peers.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tapir_runtime::back_off::{BackOff, Pauses};
use tapir_runtime::panics::{Panicked, caught_task};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::observation::{ListType, Message};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::line::Line;
use super::{Identity, PATH};
use crate::feeds::{NewsSender, SourceNews};

/// How often it is looked who is there: each second in the first minute, then less often.
const FIRST: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(10);
/// Pauses for one that does not answer.
const RETRY: BackOff = BackOff { min: Duration::from_secs(1), max: Duration::from_secs(60) };
const CONNECT: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(300);
/// Octets of an answer: ten million names.
const LARGEST: usize = 2 << 30;
/// Longest line: the longest name with all its octets escaped, and the rest.
const LONGEST: usize = 4096;
/// Names that the engine is told at once.
const AT_ONCE: usize = 256;
/// Peers that are asked at most: an edge has replicas, not hundreds of them.
const MOST: usize = 64;

/// Why a peer was of no use.
#[derive(Debug, thiserror::Error)]
enum PeerError {
    #[error("{0}")]
    Unreachable(String),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("it answers with something else than lines")]
    Nonsense,
    #[error(transparent)]
    Panicked(#[from] Panicked),
    #[error("POP is stopping")]
    Gone,
}

impl From<reqwest::Error> for PeerError {
    fn from(error: reqwest::Error) -> Self {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        Self::Unreachable(text)
    }
}

/// Asks everyone that `look` finds, each once, those that come later too, until the shutdown. `look` leaves out ourselves.
pub async fn ask_all<L, F>(look: L, identity: watch::Receiver<Option<Identity>>, to: NewsSender, shutdown: Shutdown)
where
    L: Fn() -> F + Send,
    F: Future<Output = io::Result<Vec<SocketAddr>>> + Send,
{
    tokio::select! {
        () = go_on(look, identity, to) => {}
        () = shutdown.requested() => {}
    }
}

/// How it is with one of them.
enum Peer {
    Told,
    Silent(Instant, Pauses),
}

async fn go_on<L, F>(look: L, mut identity: watch::Receiver<Option<Identity>>, to: NewsSender)
where
    L: Fn() -> F,
    F: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    let mut peers: HashMap<SocketAddr, Peer> = HashMap::new();
    let Ok(_) = identity.wait_for(Option::is_some).await else { return };
    let begun = Instant::now();
    loop {
        let Some(us) = identity.borrow_and_update().clone() else { return };
        // A name that leads nowhere yet is the usual reason.
        let found = look().await.unwrap_or_default();
        peers.retain(|address, _| found.contains(address));
        for address in found.into_iter().take(MOST) {
            let due = match peers.get(&address) {
                None => true,
                Some(Peer::Told) => false,
                Some(Peer::Silent(due, _)) => *due <= Instant::now(),
            };
            if !due {
                continue;
            }
            let peer = match caught_task(ask(&us, address, &to)).await.unwrap_or_else(|panicked| Err(panicked.into())) {
                Ok(names) => {
                    tracing::info!(%address, names, "a peer told what it knows");
                    Peer::Told
                }
                Err(PeerError::Gone) => return,
                Err(error) => {
                    tracing::debug!(%address, %error, "a peer tells nothing");
                    let mut pauses = match peers.remove(&address) {
                        Some(Peer::Silent(_, pauses)) => pauses,
                        _ => RETRY.start(),
                    };
                    Peer::Silent(Instant::now() + pauses.next_pause(), pauses)
                }
            };
            peers.insert(address, peer);
        }
        sleep(if begun.elapsed() < FIRST { STEP } else { LATER }).await;
    }
}

/// Asks one: names that it told.
async fn ask(us: &Identity, address: SocketAddr, to: &NewsSender) -> Result<u64, PeerError> {
    let client = Client::builder()
        .tls_backend_preconfigured((*us.client).clone())
        .https_only(true)
        .redirect(Policy::none())
        .no_proxy()
        // Whoever is there has to be this node.
        .resolve(&us.name, address)
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .timeout(WHOLE)
        .build()?;
    let mut response = client.get(format!("https://{}:{}{PATH}", us.name, address.port())).send().await?;
    if response.status() != StatusCode::OK {
        return Err(PeerError::Status(response.status()));
    }
    let (mut rest, mut batch, mut octets) = (Vec::new(), Batch::default(), 0_usize);
    while let Some(part) = response.chunk().await? {
        octets += part.len();
        if octets > LARGEST {
            return Err(PeerError::Nonsense);
        }
        for piece in part.split_inclusive(|octet| *octet == b'\n') {
            rest.extend_from_slice(piece);
            if rest.len() > LONGEST {
                return Err(PeerError::Nonsense);
            }
            if rest.ends_with(b"\n") {
                // A line of a later version is none of ours.
                if let Ok(line) = serde_json::from_slice(&rest) {
                    batch.push(line);
                }
                rest.clear();
            }
        }
        if batch.count >= AT_ONCE {
            batch.tell(to).await?;
        }
    }
    batch.tell(to).await?;
    Ok(batch.told)
}

/// Names for the engine.
#[derive(Default)]
struct Batch {
    by_list: BTreeMap<String, Message>,
    count: usize,
    told: u64,
}

impl Batch {
    fn push(&mut self, line: Line) {
        // What has ended has no effect, and takes no room.
        if line.expires <= Timestamp::now() {
            return;
        }
        let (list, removed) = (line.list.clone(), line.removed);
        let Some(entry) = line.into_entry() else { return };
        self.count += 1;
        let message = self.by_list.entry(list).or_insert_with_key(|list| Message {
            src_name: list.clone(),
            list_type: ListType::Doubt,
            timestamp: None,
            added: Vec::new(),
            removed: Vec::new(),
            rejected: BTreeMap::new(),
        });
        if removed { message.removed.push(entry) } else { message.added.push(entry) }
    }

    async fn tell(&mut self, to: &NewsSender) -> Result<(), PeerError> {
        self.told += self.count as u64;
        self.count = 0;
        for (list, message) in std::mem::take(&mut self.by_list) {
            let source: Arc<str> = list.into();
            if !to.tell(&source, SourceNews::Observed(Box::new(message))).await {
                return Err(PeerError::Gone);
            }
        }
        Ok(())
    }
}
