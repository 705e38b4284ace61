//! What sessions take of memory does not depend on how fast rows come. Alone in its process, which is what is measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/dnstap.rs"]
mod dnstap;

use std::time::Duration;

use dnstap::{Response, answer};
use tapir_edm::decode::{CountedTypes, Room, counted};
use tapir_edm::histogram_file::Interval;
use tapir_edm::pseudonym::Key;
use tapir_edm::sessions::{Counters, Reason, ReasonLabels, SessionRow, Sessions, Settings};

/// The most that was ever resident, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_does_not_depend_on_the_rate() {
    const THREADS: u32 = 8;
    const EACH: u32 = 50_000;
    let folder = tempfile::tempdir().unwrap();
    let counters = Counters::default();
    let before = peak();
    let key = Key::of_octets([1; 32]);
    let settings = Settings { spare: 0, ..Settings::new(folder.path()) };
    let sessions = Sessions::start(settings, Some(&key), counters.clone()).unwrap();
    // As fast as they can: most find the thread that writes behind.
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let sessions = &sessions;
            scope.spawn(move || {
                let message = answer(&[b"www.".as_slice(), &[b'a'; 60], b".", &[b'b'; 60], b".example"].concat());
                for number in 0..EACH {
                    let client = std::net::Ipv4Addr::from(thread * EACH + number);
                    let (frame, mut room) = (Response::to(client.into(), message.clone()).frame(), Room::default());
                    let counted = counted(&frame, CountedTypes::default(), &mut room).unwrap();
                    sessions.offer([SessionRow { message: counted.message, name: counted.question.name }]);
                }
            });
        }
    });
    let epoch = jiff::Timestamp::UNIX_EPOCH;
    sessions.close(Interval { start: epoch, stop: epoch });
    assert!(sessions.is_written(Duration::from_secs(300)));
    let grown = peak() - before;
    let lost = counters.rows_dropped.get_or_create(&ReasonLabels { reason: Reason::Busy }).get();
    assert_eq!(counters.rows.get() + lost, u64::from(THREADS * EACH));
    assert!(grown < 32 * 1024, "{grown} KiB more");
}
