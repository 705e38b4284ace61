//! A zone whose versions are all known, served to everybody and to who signs, with NOTIFY.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tapir_pop::dns::acl::Acl;
use tapir_pop::dns::guard::Guard;
use tapir_pop::dns::server;
use tapir_pop::dns::tsig::{Key, Keys};
use tapir_pop::dns::zone::{Apex, Since, Zone};
use tapir_pop::metrics::Metrics;
use tapir_pop::notify::{self, Target, Targets};
use tapir_pop::state::zone_log::Past;
use tapir_pop::status::Telemetry;
use tapir_pop::zone::layers::Layers;
use tapir_pop::zone::tally::Tally;
use tapir_pop::zone::{Serial, Size, Snapshot, text};
use tapir_runtime::shutdown::Shutdown;
use tapir_table::{Codes, KeyBuf, Palette, ReadError, TableFile, TableWriter};
use tapir_wire::tsig::TsigKey;
use tokio::sync::watch;

use super::ask::internet;
use super::fleet::{KINDS, Kind, Primary, SECRET};
use super::process::{free_port, wait_for};
use super::versions::{Names, Versions};
use super::worlds::palette;

/// Whole transfers that began, and incremental ones.
#[derive(Debug, Default)]
struct Counts {
    whole: AtomicU32,
    changes: AtomicU32,
}

/// Counts what it is asked for.
struct Counted {
    zone: Versions,
    counts: Arc<Counts>,
}

impl Zone for Counted {
    type Cursor = <Versions as Zone>::Cursor;
    type Changes = <Versions as Zone>::Changes;
    type Steps = <Versions as Zone>::Steps;

    fn apex(&self) -> Arc<Apex> {
        self.zone.apex()
    }

    fn serial(&self) -> Serial {
        self.zone.serial()
    }

    fn len(&self) -> u64 {
        self.zone.len()
    }

    fn palette(&self) -> Arc<Palette> {
        self.zone.palette()
    }

    fn find(&self, key: &KeyBuf) -> Result<Codes, ReadError> {
        self.zone.find(key)
    }

    fn cursor(&self) -> Self::Cursor {
        self.counts.whole.fetch_add(1, Ordering::Relaxed);
        self.zone.cursor()
    }

    fn since(&self, serial: Serial) -> Since<Self::Steps> {
        let since = self.zone.since(serial);
        if matches!(since, Since::Steps { .. }) {
            self.counts.changes.fetch_add(1, Ordering::Relaxed);
        }
        since
    }
}

/// For as long as this is held.
pub(crate) struct Serving {
    pub(crate) primary: Primary,
    versions: Vec<(u32, Names)>,
    counts: Arc<Counts>,
    published: watch::Sender<Option<Arc<Counted>>>,
    shutdown: Shutdown,
    _listen: Vec<watch::Sender<Vec<SocketAddr>>>,
    _guard: Vec<watch::Sender<Arc<Guard>>>,
    _targets: watch::Sender<Targets>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Serving {
    /// Serves this version; `ports` are those of the resolvers.
    pub(crate) fn start(serial: u32, names: Names, ports: &[u16; KINDS.len()]) -> Self {
        let key = TsigKey::parse(&format!("hmac-sha256:k:{SECRET}")).unwrap();
        let counts = Arc::new(Counts::default());
        let (published, receiver) = watch::channel(None);
        let primary = Primary { signed: free_port(), open: free_port(), internet: internet() };
        let shutdown = Shutdown::manual().1;
        let (mut _listen, mut _guard) = (Vec::new(), Vec::new());
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        for (port, signed_only) in [(primary.signed, true), (primary.open, false)] {
            let keys = Keys::first_of([Key::from(&key)]);
            let guard = Guard { acl: Acl { signed_only, ..Acl::default() }, keys, ..Guard::default() };
            let (listen, guard) = (watch::channel(vec![at(port)]), watch::channel(Arc::new(guard)));
            let telemetry = Telemetry::new(None, None);
            tokio::spawn(server::serve_guarded(listen.1, guard.1, receiver.clone(), telemetry, shutdown.clone()));
            _listen.push(listen.0);
            _guard.push(guard.0);
        }
        let target = |(kind, port): (Kind, u16)| match kind {
            Kind::Unbound => Some(Target { address: at(port), key: None }),
            Kind::Bind => Some(Target { address: at(port), key: Some(key.clone()) }),
            Kind::PowerDns | Kind::Knot => None,
        };
        let targets = KINDS.into_iter().zip(*ports).filter_map(target).collect();
        let (_targets, told) = watch::channel(Targets { listen: vec![at(primary.open)], targets });
        tokio::spawn(notify::run(told, receiver, Arc::new(Metrics::default()), shutdown.clone()));
        let mut serving = Self { primary, versions: Vec::new(), counts, published, shutdown, _listen, _guard, _targets };
        serving.publish(serial, names);
        let open = || [primary.signed, primary.open].map(|port| std::net::TcpStream::connect(at(port)).is_ok());
        wait_for("the ports", open, |open| *open == [true; 2]);
        serving
    }

    /// The next version.
    pub(crate) fn publish(&mut self, serial: u32, names: Names) {
        self.versions.push((serial, names));
        let mut zone = Versions::new(self.versions.clone());
        zone.palette = Arc::new(palette());
        self.published.send_replace(Some(Arc::new(Counted { zone, counts: Arc::clone(&self.counts) })));
    }

    /// Whole transfers so far, and incremental ones.
    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.counts.whole.load(Ordering::Relaxed), self.counts.changes.load(Ordering::Relaxed))
    }

    /// The newest version, as POP writes it for who transfers nothing.
    pub(crate) fn as_text(&self) -> Vec<u8> {
        let Some((serial, names)) = self.versions.last() else { return Vec::new() };
        let mut writer = TableWriter::new(Vec::new()).unwrap();
        names.iter().for_each(|(key, codes)| writer.push(key, *codes).unwrap());
        let table = TableFile::from_memory(writer.finish(*serial, &palette()).unwrap().0).unwrap();
        let layers = Layers::new(Arc::new(table));
        let (size, apex) =
            (Size::of(&layers.base, Tally::of(&layers.base).unwrap()), Versions::new(self.versions.clone()).apex());
        let snapshot = Snapshot::new(Serial(*serial), apex, Arc::new(palette()), (layers, size), Past::default());
        let mut written = Vec::new();
        text::write(&snapshot, &mut written).unwrap();
        written
    }
}
