//! Names that end together, so many that the zone is made anew for it: how long after their end the last of them is gone.
//!
//! `cargo test --release -p tapir-pop --test ending -- --include-ignored --nocapture` measures it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "common/running.rs"]
#[allow(dead_code)]
mod running;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use running::{TAGGED, entry, start};

/// Names of one message.
const TOGETHER: usize = 2000;

/// `many` names end in one moment, `others` stay. How late the last one went.
async fn ends(many: usize, others: usize, lifetime: i64) -> Duration {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    pop.until(|zone| zone.size.records == 0).await;
    let end = Timestamp::from_second(Timestamp::now().as_second() + lifetime).unwrap();
    let names: Vec<_> = (0..others + many).collect();
    for part in names.chunks(TOGETHER) {
        let name = |index: &usize| {
            let name = format!("name{index}.some-domain-{}.example", index % 1000);
            let mut entry = entry(&name, SignedDuration::from_secs(500), 1);
            if *index >= others {
                // To the moment, which is a whole second.
                let ttl = SignedDuration::from_secs(entry["ttl"].as_i64().unwrap());
                entry["time_added"] = (end - ttl).to_string().into();
            }
            entry
        };
        pop.send(&part.iter().map(name).collect::<Vec<_>>()).await;
    }
    pop.until(|zone| zone.size.records == (others + many) as u64).await;
    assert!(Timestamp::now() < end, "it took too long to tell all names");
    let before = pop.telemetry.metrics.publications.get();
    pop.until(|zone| zone.size.records <= others as u64).await;
    let late = Duration::try_from(Timestamp::now().duration_since(end)).unwrap();
    let versions = pop.telemetry.metrics.publications.get() - before;
    println!("{many} of {} names ended together: gone after {late:?}, in {versions} versions", others + many);
    late
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_that_the_zone_is_made_anew_leave_on_time() {
    let late = ends(10_000, 1000, 12).await;
    // Without optimisation, and other tests run.
    assert!(late < Duration::from_secs(10), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, and needs an optimised build"]
async fn tens_of_thousands_leave_on_time() {
    for (many, others) in [(10_000, 10_000), (50_000, 100_000), (50_000, 1_000_000)] {
        let late = ends(many, others, 30 + i64::try_from(others / 15_000).unwrap()).await;
        assert!(late < Duration::from_secs(2), "{late:?}");
    }
}
