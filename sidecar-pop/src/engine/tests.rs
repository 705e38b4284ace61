use std::fs::File;
use std::sync::Arc;

use jiff::SignedDuration;
use tapir_runtime::http::Probe;
use tapir_wire::name::Name;
use tapir_wire::observation::{Entry, ListType};

use super::*;
use crate::sources::observations::{Limits, MOST_WEIGHT};

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

fn engine() -> Engine {
    Engine::new(watch::channel(None).0, Telemetry::new(None, None))
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
