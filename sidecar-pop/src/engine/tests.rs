use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use jiff::SignedDuration;
use tapir_runtime::http::Probe;
use tapir_wire::name::Name;
use tapir_wire::observation::{Entry, ListType};

use super::*;
use crate::setup::NoFiles;
use crate::sources::observations::{Limits, MOST_WEIGHT};

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

fn engine() -> Engine {
    Engine::new(watch::channel(None).0, Telemetry::new(None, None))
}

fn setup(directory: &Path) -> Arc<Setup> {
    let core = "sources: [{name: core, list: Doubt, core: {}}]";
    let (setup, _) = Setup::parse(&format!("format: 1\ndataDir: {}\n{core}\n", directory.display()), &mut NoFiles).unwrap();
    Arc::new(setup)
}

/// A pipe opens when its other end does: a disk that takes as long as one likes.
fn slow_disk(directory: &Path) -> PathBuf {
    let pipe = directory.join("serial.new");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    pipe
}

fn message(names: std::ops::Range<u32>, ttl: u32) -> Message {
    let entry = |index| Entry { name: Name::parse(&format!("name{index}")).unwrap(), time_added: NOW, ttl, tag_mask: 1 };
    let (src_name, list_type) = ("dns-tapir".to_owned(), ListType::Doubt);
    Message { src_name, list_type, added: names.map(entry).collect(), removed: Vec::new(), rejected: [].into() }
}

/// What is logged meanwhile.
fn logged(work: impl FnOnce()) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = Arc::new(File::create(file.path()).unwrap());
    tracing::subscriber::with_default(tracing_subscriber::fmt().with_ansi(false).with_writer(log).finish(), work);
    std::fs::read_to_string(file.path()).unwrap()
}

#[test]
fn a_store_without_room_says_so_once_an_episode_and_counts() {
    let mut engine = engine();
    engine.observations = Observations::with_limits(Limits { names: 10, weight: MOST_WEIGHT });
    let errors = |log: &str| log.matches("ERROR").count();
    let first = logged(|| {
        for start in [0, 5, 10, 15, 20] {
            engine.observe(&message(start..start + 5, 60), NOW);
        }
    });
    assert_eq!(errors(&first), 1, "{first}");
    assert!(
        engine.telemetry.metrics().contains("observations_total{outcome=\"displaced\"} 15"),
        "{}",
        engine.telemetry.metrics()
    );

    let later = NOW.checked_add(SignedDuration::from_secs(100)).unwrap();
    engine.observations.expire(later);
    let second = logged(|| {
        engine.observe(&message(30..31, 200), later);
        engine.observe(&message(31..60, 200), later);
    });
    assert_eq!(errors(&second), 1, "there was room in between: {second}");
}

#[test]
fn time_spent_on_the_disk_counts_for_the_pause() {
    const SLOW: Duration = Duration::from_millis(200);
    let directory = tempfile::tempdir().unwrap();
    let pipe = slow_disk(directory.path());
    let mut engine = engine();
    engine.configure(setup(directory.path()), Timestamp::now());
    let started = Instant::now();
    let reader = std::thread::spawn(move || {
        std::thread::sleep(SLOW);
        std::fs::read(pipe).unwrap()
    });
    engine.publish(Timestamp::now());
    let (took, pause) = (started.elapsed(), engine.earliest.saturating_duration_since(Instant::now()));
    assert!(pause > took * 2 && pause > SLOW * 2, "{pause:?} after {took:?}");
    reader.join().unwrap();
}

#[test]
fn a_disk_that_is_waited_for_holds_up_no_other_task() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = slow_disk(directory.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let inputs = Inputs {
        setup: watch::channel(Some(setup(directory.path()))).1,
        keys: watch::channel(None).1,
        incoming: mpsc::channel(1).1,
    };
    let engine = runtime.spawn(engine().run(inputs, Shutdown::manual().1));
    // Behind the engine in the queue of the only thread.
    let (told, tell) = std::sync::mpsc::channel();
    runtime.spawn(async move { told.send(()) });
    let other = tell.recv_timeout(Duration::from_secs(5));
    std::fs::read(pipe).unwrap();
    engine.abort();
    other.unwrap();
}
