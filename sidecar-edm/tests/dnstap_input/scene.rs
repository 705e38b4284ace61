//! An input inside the test process, whose sink does what the frames tell it.
#![allow(unreachable_pub)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tapir_edm::input::sink::{FrameSink, GROUP};
use tapir_edm::input::{Counts, End, Endpoint, Input, InputState, Limits, tls};
use tapir_edm::metrics::ClosedLabels;
use tapir_runtime::shutdown::Shutdown;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::sender::{PATIENCE, Sender, Trust, until};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Unix,
    Tcp,
    Tls,
    Mutual,
}

pub const ALL: [Transport; 4] = [Transport::Unix, Transport::Tcp, Transport::Tls, Transport::Mutual];

/// What all sinks share.
#[derive(Debug, Default)]
pub struct Seen {
    pub frames: Mutex<Vec<Vec<u8>>>,
    pub count: AtomicU64,
    opened: Mutex<bool>,
    opens: Condvar,
}

impl Seen {
    pub fn open(&self) {
        *self.opened.lock().unwrap() = true;
        self.opens.notify_all();
    }
}

/// `panic` makes it panic, `stuck` makes it wait until told to go on; frames that are long are counted only.
#[derive(Debug)]
struct Obedient(Arc<Seen>);

impl FrameSink for Obedient {
    fn frames(&mut self, frames: &[&[u8]]) {
        assert!((1..=GROUP).contains(&frames.len()));
        for frame in frames {
            assert_ne!(*frame, b"panic", "as the test wants it");
            if *frame == b"stuck" {
                let opened = self.0.opened.lock().unwrap();
                drop(self.0.opens.wait_while(opened, |opened| !*opened).unwrap());
            }
            self.0.count.fetch_add(1, Ordering::Relaxed);
            if frame.len() < 100 {
                self.0.frames.lock().unwrap().push(frame.to_vec());
            }
        }
    }
}

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key.
    pub fn issue(&self) -> (String, String) {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// Server settings; with a CA for clients where there is one.
    pub fn server(&self, clients: Option<&Self>) -> Arc<rustls::ServerConfig> {
        let (chain, key) = self.issue();
        let clients = clients.map(Self::pem);
        tls::server_config(chain.as_bytes(), key.as_bytes(), clients.as_deref().map(str::as_bytes)).unwrap()
    }
}

pub struct Scene {
    pub folder: TempDir,
    pub counts: Counts,
    pub seen: Arc<Seen>,
    pub state: watch::Receiver<InputState>,
    pub endpoint: watch::Sender<Endpoint>,
    pub trust: Trust,
    pub shutdown: Shutdown,
    pub task: tokio::task::JoinHandle<()>,
    pub runtime: Runtime,
}

impl Scene {
    pub fn start(transport: Transport) -> Self {
        Self::with(transport, Limits::default())
    }

    pub fn with(transport: Transport, limits: Limits) -> Self {
        Self::prepared(transport, limits, |_| ())
    }

    pub fn prepared(transport: Transport, limits: Limits, prepare: impl FnOnce(&PathBuf)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/dnstap.sock");
        prepare(&path);
        let (authority, clients) = (Authority::new(), Authority::new());
        let trust = Trust { server: authority.pem(), client: (transport == Transport::Mutual).then(|| clients.issue()) };
        let anywhere = "127.0.0.1:0".to_owned();
        let endpoint = match transport {
            Transport::Unix => Endpoint::unix(path),
            Transport::Tcp => Endpoint::Tcp(anywhere),
            Transport::Tls => Endpoint::Tls(anywhere, authority.server(None)),
            Transport::Mutual => Endpoint::Tls(anywhere, authority.server(Some(&clients))),
        };
        let (endpoint, wanted) = watch::channel(endpoint);
        let (state_sender, state) = watch::channel(InputState::default());
        let (counts, seen) = (Counts::default(), Arc::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let input = Input {
            sinks: move || Obedient(Arc::clone(&shared)),
            counts: counts.clone(),
            state: state_sender,
            limits: watch::channel(limits).1,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (_, shutdown) = Shutdown::manual();
        let task = runtime.spawn(input.run(wanted, shutdown.clone()));
        Self { folder, counts, seen, state, endpoint, trust, shutdown, task, runtime }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/dnstap.sock")
    }

    pub fn state_becomes(&self, mut holds: impl FnMut(&InputState) -> bool) -> InputState {
        until("state", || holds(&self.state.borrow()));
        self.state.borrow().clone()
    }

    pub fn address(&self) -> SocketAddr {
        self.state_becomes(|state| state.listening.is_some()).listening.unwrap().parse().unwrap()
    }

    /// Connects, and shakes hands with TLS where there is some.
    pub fn connect_only(&self, transport: Transport) -> Sender {
        match transport {
            Transport::Unix => Sender::unix(&self.socket()),
            Transport::Tcp => Sender::tcp(self.address()),
            Transport::Tls | Transport::Mutual => Sender::tls(self.address(), &self.trust).unwrap(),
        }
    }

    /// A connection on which data can flow.
    pub fn connect(&self, transport: Transport) -> Sender {
        let mut sender = self.connect_only(transport);
        sender.shake_hands();
        sender
    }

    pub fn ended(&self, end: End, count: u64) {
        until(&format!("{end:?} {count} times"), || self.counts.closed.get_or_create(&ClosedLabels { end }).get() == count);
    }

    pub fn seen(&self, frame: &[u8]) {
        until(&format!("{frame:?}"), || self.seen.frames.lock().unwrap().iter().any(|seen| seen == frame));
    }

    pub fn count(&self) -> u64 {
        self.seen.count.load(Ordering::Relaxed)
    }

    pub fn stop(&mut self) {
        self.shutdown.trigger();
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, &mut self.task).await }).unwrap().unwrap();
    }
}
