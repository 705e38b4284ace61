//! A disk that does not answer holds up no version: what is known is published, and goes on in memory.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use rustix::fs::{Mode, OFlags};
use tapir_table::KeyBuf;
use tapir_wire::name::Name;
use tapir_wire::observation::{Entry, ListType, Message};

use super::*;
use crate::setup::NoFiles;
use crate::state::failpoint;

/// What a disk that hangs may cost, once.
const PATIENCE: Duration = Duration::from_millis(200);
/// And what a busy machine may cost.
const BUSY: Duration = Duration::from_secs(20);

/// A pipe opens when its other end does: a disk that takes as long as one likes.
struct Pipe(PathBuf);

impl Pipe {
    fn new(path: PathBuf) -> Self {
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self(path)
    }

    /// Who waits for it goes on.
    fn open(&self) -> Option<OwnedFd> {
        rustix::fs::open(&self.0, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).ok()
    }
}

impl Drop for Pipe {
    /// Whoever waits goes on, and nobody waits for it any more.
    fn drop(&mut self) {
        let _reader = self.open();
        _ = std::fs::remove_file(&self.0);
        std::thread::sleep(Duration::from_millis(100));
    }
}

struct Pop {
    engine: Engine,
    published: watch::Receiver<Option<Arc<Snapshot>>>,
}

impl Pop {
    fn new(folder: &Path) -> Self {
        let (publish, published) = watch::channel(None);
        let mut engine = Engine::new(publish, Telemetry::new(None, None)).unwrap();
        engine.scribe = Scribe::with_patience(PATIENCE).unwrap();
        let text = format!(
            "format: 2\ndataDir: {}\nsources: [{{name: core, list: Doubt, core: {{}}}}]\n\
             doubt: [{{name: any, anyTags: [globally_new], action: DROP}}]\n",
            folder.display()
        );
        engine.configure(Arc::new(Setup::parse(&text, &mut NoFiles).unwrap().0), Timestamp::now());
        Self { engine, published }
    }

    /// What the engine's thread does in a turn, until nothing is under way but what hangs.
    fn settle(&mut self) {
        loop {
            self.engine.earliest = Instant::now();
            self.engine.turn(Timestamp::now());
            if self.engine.running.is_none() && self.engine.touched.is_empty() {
                return;
            }
            while self.engine.running.is_some() {
                let outcome = self.engine.outcomes.as_mut().unwrap().blocking_recv().unwrap();
                self.engine.outcome(outcome, Timestamp::now());
            }
        }
    }

    fn see(&mut self, name: &str) {
        self.observe(name);
        self.settle();
        self.is_published(name);
    }

    fn is_published(&self, name: &str) {
        let zone = self.published.borrow().clone().unwrap();
        assert!(!zone.get(&KeyBuf::from_text(name, 254).unwrap()).unwrap().own.is_silent(), "{name}");
    }

    fn observe(&mut self, name: &str) {
        let entry = Entry { name: Name::parse(name).unwrap(), time_added: Timestamp::now(), ttl: 600, tag_mask: 1 };
        let (src_name, list_type) = ("core".to_owned(), ListType::Doubt);
        let message =
            Message { src_name, list_type, timestamp: None, added: vec![entry], removed: Vec::new(), rejected: [].into() };
        self.engine.observe(&Observed { source: Arc::from("core"), message }, Timestamp::now());
        self.engine.write_down();
    }

    fn errors(&self) -> String {
        self.engine.telemetry.document().pop.unwrap().errors.join("; ")
    }
}

/// Runs it, and ends it when it hangs.
fn in_time(pipe: &Pipe, test: impl FnOnce() -> Pop + Send + 'static) -> Pop {
    let (tell, told) = sync_channel(1);
    let thread: JoinHandle<()> = std::thread::spawn(move || _ = tell.send(test()));
    let done = told.recv_timeout(BUSY);
    if done.is_err() {
        while !thread.is_finished() {
            drop(pipe.open());
        }
    }
    done.expect("the engine waits for a disk that hangs")
}

/// Answers again, and everything is where it belongs.
fn recovers(pop: &mut Pop, folder: &Path, pipe: Pipe) {
    drop(pipe);
    let end = std::time::Instant::now() + BUSY;
    while !pop.errors().is_empty() {
        assert!(std::time::Instant::now() < end, "{}", pop.errors());
        pop.engine.keeping.look_now();
        pop.engine.wanted.look_now();
        while let Ok(outcome) = pop.engine.outcomes.as_mut().unwrap().try_recv() {
            pop.engine.outcome(outcome, Timestamp::now());
        }
        pop.settle();
        std::thread::sleep(Duration::from_millis(5));
    }
    pop.see("last.example");
    let before = pop.published.borrow().clone().unwrap();
    let again = Pop::new(folder);
    // A lock is held by one only.
    assert!(again.errors().contains("another process"), "{}", again.errors());
    let former = std::mem::replace(pop, again);
    drop(former);
    *pop = Pop::new(folder);
    let zone = pop.published.borrow().clone().unwrap();
    assert_eq!((zone.serial, zone.size), (before.serial, before.size), "kept");
}

#[test]
fn a_reservation_that_hangs_holds_up_no_version() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().to_owned();
    let pipe = Pipe::new(folder.join("serial.new"));
    let mut pop = in_time(&pipe, move || {
        let mut pop = Pop::new(&folder);
        pop.settle();
        for name in ["one.example", "two.example", "three.example"] {
            pop.see(name);
        }
        pop
    });
    assert!(pop.errors().contains("does not answer"), "{}", pop.errors());
    recovers(&mut pop, directory.path(), pipe);
}

#[test]
fn a_manifest_that_hangs_holds_up_no_version() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().to_owned();
    std::fs::create_dir(folder.join("zone")).unwrap();
    let pipe = Pipe::new(folder.join("zone/manifest.new"));
    let mut pop = in_time(&pipe, move || {
        let mut pop = Pop::new(&folder);
        pop.settle();
        for name in ["one.example", "two.example", "three.example"] {
            pop.see(name);
        }
        pop
    });
    assert!(pop.errors().contains("does not answer"), "{}", pop.errors());
    recovers(&mut pop, directory.path(), pipe);
}

#[test]
fn a_log_of_observations_that_hangs_holds_up_no_version() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().to_owned();
    std::fs::create_dir_all(folder.join("obs/core")).unwrap();
    let pipe_at = folder.join("obs/core/log-0000000002.log");
    let mut pop = Pop::new(&folder);
    pop.settle();
    pop.see("one.example");
    let pipe = Pipe::new(pipe_at);
    let mut pop = in_time(&pipe, move || {
        pop.engine.cores.values_mut().for_each(|core| core.log.iter_mut().for_each(ObservationLog::lengthen));
        pop.settle();
        for name in ["two.example", "three.example"] {
            pop.see(name);
        }
        pop
    });
    assert!(pop.errors().contains("does not answer"), "{}", pop.errors());
    recovers(&mut pop, directory.path(), pipe);
}

#[test]
fn a_builder_that_hangs_holds_up_no_version() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = Pop::new(directory.path());
    pop.settle();
    pop.see("one.example");
    for wanted in ["rebuild", "merge"] {
        let held = failpoint::hold(&directory.path().join("zone/base-"));
        (pop.engine.wanted.rebuild, pop.engine.wanted.merge) = (wanted == "rebuild", wanted == "merge");
        for number in 0..3 {
            let name = format!("{wanted}-{number}.example");
            pop.observe(&name);
            pop.engine.earliest = Instant::now();
            pop.engine.turn(Timestamp::now());
            pop.is_published(&name);
            assert!(pop.engine.running.is_some(), "the builder is at it all the time");
        }
        drop(held);
        pop.settle();
        let before = pop.published.borrow().clone().unwrap();
        drop(pop);
        pop = Pop::new(directory.path());
        let zone = pop.published.borrow().clone().unwrap();
        assert_eq!((zone.serial, zone.size), (before.serial, before.size), "kept");
        pop.settle();
    }
    (0..3).for_each(|number| pop.is_published(&format!("merge-{number}.example")));
}

/// A volume that is mounted after the start, with what was kept before it.
#[test]
fn what_a_disk_holds_that_comes_late_counts_too_and_new_things_go_there() {
    let directory = tempfile::tempdir().unwrap();
    let (folder, late) = (directory.path().join("state"), directory.path().join("late"));
    let mut pop = Pop::new(&folder);
    pop.settle();
    pop.see("kept.example");
    drop(pop);
    std::fs::rename(&folder, &late).unwrap();
    // Numbers that were used before, ahead of the clock.
    let serial = late.join("serial.json");
    let mut reserved: serde_json::Value = serde_json::from_slice(&std::fs::read(&serial).unwrap()).unwrap();
    let far = u32::try_from(reserved["reservedThrough"].as_u64().unwrap()).unwrap().wrapping_add(1_000_000);
    reserved["reservedThrough"] = far.into();
    std::fs::write(&serial, reserved.to_string()).unwrap();

    std::fs::write(&folder, "in the way").unwrap();
    let mut pop = Pop::new(&folder);
    pop.settle();
    pop.see("new.example");
    assert!(pop.errors().contains("state cannot be kept"), "{}", pop.errors());
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&late, &folder).unwrap();
    let end = std::time::Instant::now() + BUSY;
    while !pop.errors().is_empty() {
        assert!(std::time::Instant::now() < end, "{}", pop.errors());
        pop.engine.keeping.look_now();
        pop.engine.wanted.look_now();
        while let Ok(outcome) = pop.engine.outcomes.as_mut().unwrap().try_recv() {
            pop.engine.outcome(outcome, Timestamp::now());
        }
        pop.settle();
        std::thread::sleep(Duration::from_millis(5));
    }
    pop.see("last.example");
    let serial = pop.published.borrow().as_ref().unwrap().serial;
    assert!(serial.is_after(crate::zone::Serial(far)), "{serial} after {far}");
    for name in ["kept.example", "new.example"] {
        pop.is_published(name);
    }
    drop(pop);
    let mut pop = Pop::new(&folder);
    assert_eq!(pop.published.borrow().as_ref().unwrap().serial, serial);
    pop.settle();
    for name in ["kept.example", "new.example", "last.example"] {
        pop.is_published(name);
    }
}
