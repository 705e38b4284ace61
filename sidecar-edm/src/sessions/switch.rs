//! Session files on and off, as the configuration says, and the key of their pseudonyms.
//!
//! A key costs 64 MiB and a moment. So it is derived only while files are wanted, on a thread of its own that gives both back, and again only
//! for another secret or salt. Until then the one before is used; where there is none, rows are counted and not written. Nothing is left of a key
//! when no files are wanted any more; those that are there go by their age all the same.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use jiff::Timestamp;
use tapir_wire::config::edm::Secret;

use super::{Counters, Reason, SessionRow, Sessions, Settings};
use crate::histogram_file::Interval;
use crate::memory::{Budget, Charge, container_limit};
use crate::pseudonym::{self, Key};

/// What a key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The operator's secret.
    pub secret: Secret,
    /// What is mixed into it.
    pub salt: String,
}

/// What the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whether files are to be written.
    pub on: bool,
    /// Of the key, or why there can be none.
    pub source: Result<Source, String>,
    /// Where and how much.
    pub settings: Settings,
}

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Files are wanted.
    pub on: bool,
    /// There is a key: rows are written.
    pub has_key: bool,
    /// Why there is none.
    pub error: Option<String>,
    /// What is set aside of memory.
    pub octets: usize,
}

/// Session files, or none. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Switch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Both for the threads that read frames.
    on: AtomicBool,
    has_key: AtomicBool,
    sessions: Sessions,
    counters: Counters,
    budget: Arc<Budget>,
    /// In a container a key must find room at any time.
    room_for_key: usize,
    control: Mutex<Control>,
}

#[derive(Debug)]
struct Control {
    /// When the present interval began.
    begun: Timestamp,
    wanted: Wanted,
    /// The last one that was derived, or why it could not be.
    key: Option<(Source, Result<Key, String>)>,
    /// A thread is at it.
    deriving: bool,
    charge: Option<Charge>,
}

impl Switch {
    /// Off. What an earlier run left unfinished, too much of or for too long goes, whether more is wanted or not.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn open(settings: Settings, counters: Counters, budget: &Arc<Budget>) -> io::Result<Self> {
        let sessions = Sessions::start(settings.clone(), None, counters.clone())?;
        let wanted = Wanted { on: false, source: Err(String::new()), settings };
        let control = Control { begun: Timestamp::now(), wanted, key: None, deriving: false, charge: None };
        Ok(Self(Arc::new(Shared {
            on: AtomicBool::new(false),
            has_key: AtomicBool::new(false),
            sessions,
            counters,
            budget: Arc::clone(budget),
            room_for_key: if container_limit(Path::new("/")).is_some() { pseudonym::MEMORY } else { 0 },
            control: Mutex::new(control),
        })))
    }

    /// Whether rows are wanted.
    #[inline]
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    /// Takes rows. Never waits for the disk; what finds no room, or no key, is dropped and counted.
    pub fn offer<'a>(&self, rows: impl IntoIterator<Item = SessionRow<'a>>) {
        if self.0.has_key.load(Ordering::Relaxed) {
            self.0.sessions.offer(rows);
        } else {
            self.0.counters.dropped(Reason::NoKey, rows.into_iter().count() as u64);
        }
    }

    /// Takes up what the configuration says. Never waits: a key that it needs is there a moment later.
    pub fn configure(&self, wanted: Wanted) {
        let mut control = self.control();
        if control.wanted == wanted {
            return;
        }
        control.wanted = wanted;
        self.settle(&mut control);
    }

    /// Ends the interval, and with it the file. Never waits for the disk.
    pub fn rotate(&self, now: Timestamp) {
        let interval = self.control().until(now);
        self.0.sessions.rotate(interval);
    }

    /// Ends the last interval. Never waits for the disk.
    pub fn close(&self, now: Timestamp) {
        let interval = self.control().until(now);
        self.0.sessions.close(interval);
    }

    /// Waits so long for all to be written after [`Switch::close`]; false if it was not.
    #[must_use]
    pub fn is_written(&self, patience: std::time::Duration) -> bool {
        self.0.sessions.is_written(patience)
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> State {
        let (on, has_key) = (self.is_on(), self.0.has_key.load(Ordering::Relaxed));
        let control = self.control();
        let octets = control.charge.as_ref().map_or(0, Charge::octets);
        let error = (on && !has_key).then(|| match (&control.wanted.source, &control.key) {
            (Err(error), _) => error.clone(),
            (Ok(source), Some((of, Err(error)))) if of == source => error.clone(),
            _ => "the key is being derived".to_owned(),
        });
        State { on, has_key, error, octets }
    }

    /// Brings threads that read and the thread that writes to what is wanted and what is there.
    fn settle(&self, control: &mut Control) {
        let (shared, interval) = (&*self.0, control.until(Timestamp::now()));
        let Control { wanted: Wanted { on, source, settings }, key, charge, .. } = control;
        if !*on || source.is_err() {
            *key = None;
        }
        *charge = on.then(|| {
            let mut charge = Charge::new(&shared.budget);
            charge.add(settings.octets() + shared.room_for_key);
            charge
        });
        let key = key.as_ref().and_then(|(_, key)| key.as_ref().ok());
        // Who sees that there is one finds it in its place.
        if key.is_none() {
            shared.has_key.store(false, Ordering::Relaxed);
        }
        shared.on.store(*on, Ordering::Relaxed);
        shared.sessions.change(interval, settings, key);
        shared.has_key.store(key.is_some(), Ordering::Relaxed);
        if control.lacks().is_some() && !control.deriving {
            let this = self.clone();
            let thread = thread::Builder::new().name("pseudonym-key".to_owned()).spawn(move || this.derive());
            match thread {
                Ok(_) => control.deriving = true,
                Err(error) => tracing::error!(%error, "no thread for the key of pseudonyms: no session rows are written"),
            }
        }
    }

    /// Until there is the key that is wanted.
    fn derive(&self) {
        loop {
            let mut control = self.control();
            let Some(source) = control.lacks().cloned() else {
                control.deriving = false;
                return;
            };
            drop(control);
            let key = Key::derive(source.secret.reveal(), &source.salt).map_err(|error| error.to_string());
            match &key {
                Ok(_) => tracing::info!("the key of pseudonyms is there: session rows are written"),
                Err(error) => tracing::error!(error, "no session rows are written"),
            }
            let mut control = self.control();
            control.key = Some((source, key));
            self.0.counters.keys_derived.inc();
            self.settle(&mut control);
        }
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.0.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Ends the interval.
    fn until(&mut self, now: Timestamp) -> Interval {
        // The clock may have been set back.
        let start = std::mem::replace(&mut self.begun, now).min(now);
        Interval { start, stop: now }
    }

    /// What a key is to be derived of.
    fn lacks(&self) -> Option<&Source> {
        let source = self.wanted.source.as_ref().ok().filter(|_| self.wanted.on)?;
        let is_there = self.key.as_ref().is_some_and(|(of, _)| of == source);
        (!is_there).then_some(source)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::decode::Message;
    use crate::names::WireName;

    const PATIENCE: Duration = Duration::from_secs(120);

    struct Scene {
        folder: tempfile::TempDir,
        switch: Switch,
        counters: Counters,
        budget: Arc<Budget>,
    }

    impl Scene {
        fn new() -> Self {
            let (folder, counters, budget) = (tempfile::tempdir().unwrap(), Counters::default(), Budget::new(1 << 30));
            let switch = Switch::open(settings(folder.path()), counters.clone(), &budget).unwrap();
            Self { folder, switch, counters, budget }
        }

        fn configure(&self, on: bool, source: Result<&str, &str>) {
            let source = source.map(|salt| Source { secret: Secret::new("key1".to_owned()), salt: salt.to_owned() });
            let settings = settings(self.folder.path());
            self.switch.configure(Wanted { on, source: source.map_err(str::to_owned), settings });
        }

        fn becomes(&self, holds: impl Fn(&Self) -> bool) {
            let begun = Instant::now();
            while !holds(self) {
                assert!(begun.elapsed() < PATIENCE, "{:?}", self.switch.state());
                thread::sleep(Duration::from_millis(1));
            }
        }

        fn offer(&self, rows: usize) {
            self.switch.offer(std::iter::repeat_n(SessionRow { message: Message::default(), name: WireName::ROOT }, rows));
        }

        fn without_key(&self) -> u64 {
            self.counters.rows_dropped.get_or_create(&super::super::ReasonLabels { reason: Reason::NoKey }).get()
        }

        fn derived(&self) -> u64 {
            self.counters.keys_derived.get()
        }
    }

    fn settings(folder: &Path) -> Settings {
        Settings { spare: 0, ..Settings::new(folder) }
    }

    #[test]
    fn a_key_is_derived_while_files_are_wanted_and_once_for_each_secret() {
        let scene = Scene::new();
        scene.configure(false, Ok("of another salt"));
        assert_eq!((scene.switch.state(), scene.budget.used()), (State::default(), 0));
        assert!(!scene.switch.control().deriving, "nobody wants one");
        scene.configure(true, Ok("aabbccddeeffgghh"));
        assert!(scene.switch.is_on() && scene.budget.used() == scene.switch.state().octets && scene.budget.used() > 8 << 20);
        scene.becomes(|scene| scene.switch.state().has_key);
        assert_eq!((scene.switch.state().error, scene.derived()), (None, 1));
        scene.offer(3);
        // Nothing that the key is made of.
        let source = Ok(Source { secret: Secret::new("key1".to_owned()), salt: "aabbccddeeffgghh".to_owned() });
        let mut other = settings(scene.folder.path());
        other.kept.cookies = true;
        scene.switch.configure(Wanted { on: true, source, settings: other });
        assert_eq!((scene.switch.state().has_key, scene.switch.control().deriving), (true, false));
        scene.offer(2);
        scene.configure(true, Ok("another salt"));
        assert!(scene.switch.state().has_key, "the one before is used until the new one is there");
        scene.becomes(|scene| scene.derived() == 2);
        scene.configure(false, Ok("another salt"));
        assert_eq!((scene.switch.state(), scene.budget.used()), (State::default(), 0));
        scene.switch.close(Timestamp::now());
        assert!(scene.switch.is_written(PATIENCE));
        assert_eq!((scene.counters.rows.get(), scene.counters.files.get(), scene.counters.all_dropped()), (5, 2, 0));
    }

    #[test]
    fn without_a_key_rows_are_counted_and_it_is_said_why() {
        let scene = Scene::new();
        scene.configure(true, Err("cryptopan.key is missing"));
        scene.offer(2);
        let state = scene.switch.state();
        assert_eq!((state.on, state.has_key, state.error.as_deref()), (true, false, Some("cryptopan.key is missing")));
        assert_eq!((scene.without_key(), scene.derived()), (2, 0));
        scene.configure(true, Ok("short"));
        scene.becomes(|scene| scene.switch.state().error.is_some_and(|error| error.contains("shorter than 8 octets")));
        scene.offer(1);
        assert_eq!(scene.without_key(), 3);
        scene.configure(true, Ok("long enough"));
        scene.becomes(|scene| scene.switch.state().has_key);
        scene.configure(true, Err("gone"));
        scene.offer(4);
        scene.switch.close(Timestamp::now());
        assert!(scene.switch.is_written(PATIENCE));
        assert_eq!((scene.without_key(), scene.counters.rows.get()), (7, 0));
        assert!(!scene.folder.path().join("parquet").exists());
    }

    /// What was written before is nobody's any more after a day, wanted or not.
    #[test]
    fn old_files_go_while_none_are_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        std::fs::create_dir_all(&settings.folder).unwrap();
        let [old, torn] = ["dns_session_block-a.parquet", "dns_session_block.tmp"].map(|name| settings.folder.join(name));
        std::fs::write(&torn, "half").unwrap();
        std::fs::write(&old, "old").unwrap();
        let file = std::fs::File::options().write(true).open(&old).unwrap();
        let switch = Switch::open(settings, Counters::default(), &Budget::new(1 << 20)).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(25 * 3600)).unwrap();
        switch.rotate(Timestamp::now());
        switch.close(Timestamp::now());
        assert!(switch.is_written(PATIENCE));
        assert!(!old.exists() && !torn.exists());
    }
}
