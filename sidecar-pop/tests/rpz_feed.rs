//! A feed whose primary is wrong in every way: what is held stays, the reason is told, and it recovers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/feed.rs"]
mod feed;
#[path = "common/primary.rs"]
mod primary;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use feed::{Listener, NoDisk, kept};
use primary::{Primary, Script};
use tapir_pop::dns::records::{WireName, kind};
use tapir_pop::feeds::channel;
use tapir_pop::feeds::lists::Fit;
use tapir_pop::feeds::rpz::{Notified, RpzFeed};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::config::pop::RpzSource;
use tapir_wire::name::Name;
use tokio::time::timeout;

struct Running {
    listener: Listener,
    notified: Notified,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

fn source(primaries: &[SocketAddr]) -> RpzSource {
    let primaries = primaries.to_vec();
    RpzSource { primaries, zone: primary::ZONE.to_owned(), refresh_seconds: Some(1), ..RpzSource::default() }
}

impl Running {
    fn start(source: &RpzSource, data: &Path) -> Self {
        Self::with_limit(source, data, 1 << 20)
    }

    fn with_limit(source: &RpzSource, data: &Path, most: u64) -> Self {
        let notified = Notified::default();
        let fit = Fit::new(&Name::parse("dnstapir").unwrap());
        let feed = RpzFeed::new("f", source, None, fit, data, most, &notified).unwrap();
        let (to, news) = channel();
        let (_, shutdown) = Shutdown::manual();
        Self { listener: Listener::new(news), notified, task: tokio::spawn(feed.run(to, shutdown.clone())), shutdown }
    }

    async fn stop(self) {
        self.shutdown.trigger();
        timeout(Duration::from_secs(5), self.task).await.expect("the end takes no longer").unwrap();
    }
}

fn records(list: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    list.iter().map(|(owner, target)| ((*owner).to_owned(), (*target).to_owned())).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    records(list).into_iter().collect()
}

fn good(serial: u32) -> Script {
    let records = records(&[("a.example", "."), ("*.a.example", "."), ("b.example", "rpz-drop.")]);
    Script { serial, refresh: 3600, expire: 3600, records, ..Script::default() }
}

/// `names` in the order of their text.
fn names(listener: &Listener) -> Vec<String> {
    listener.content().into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_stays_whatever_the_primary_does() {
    let data = tempfile::tempdir().unwrap();
    let primary = Primary::new(good(10));
    let mut feed = Running::start(&source(&[primary.address]), data.path());
    assert_eq!(feed.listener.until_serial(10).await, "whole");
    feed.listener.until("good").await;
    let held = feed.listener.content();

    type Spoil = fn(&mut Script);
    let spoils: [(&str, Spoil); 8] = [
        ("code 5", |script| script.refuse = Some(5)),
        ("cut off", |script| script.cut = Some(100)),
        ("cut off", |script| script.cut = Some(1)),
        ("fit together", |script| script.torn = true),
        ("cut off", |script| script.closed = true),
        ("not newer", |script| script.serial = 9),
        ("not newer", |script| script.serial = 10_u32.wrapping_add(1 << 31)),
        ("cut off", |script| script.rubbish = Some(vec![0xff; 600])),
    ];
    for (error, spoil) in spoils {
        {
            let mut script = primary.script();
            script.serial = 11;
            script.records = records(&[("c.example", ".")]);
            spoil(&mut script);
        }
        feed.listener.until("bad").await;
        assert!(feed.listener.error().contains(error), "{error}: {}", feed.listener.error());
        assert_eq!(feed.listener.content(), held, "{error}");
        assert!(!feed.listener.heard.contains(&"expired"));
        *primary.script() = good(10);
        feed.listener.until("good").await;
    }
    assert!(!feed.listener.heard[2..].iter().any(|what| matches!(*what, "whole" | "changes")), "{:?}", feed.listener.heard);

    // And it goes on.
    *primary.script() = Script { records: records(&[("c.example", ".")]), ..good(11) };
    feed.listener.until_serial(11).await;
    assert_eq!(names(&feed.listener), ["c.example."]);
    feed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_must_fit_exactly_or_the_whole_is_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let primary = Primary::new(good(u32::MAX));
    let mut feed = Running::start(&source(&[primary.address]), data.path());
    assert_eq!(feed.listener.until_serial(u32::MAX).await, "whole");
    primary.asked();
    let next = |serial, from: u32, gone: &[(&str, &str)], come: &[(&str, &str)], all: &[(&str, &str)]| {
        let steps = vec![(from, serial, pairs(gone), pairs(come))];
        *primary.script() = Script { records: records(all), steps, ..good(serial) };
    };

    // Round the end of the numbers.
    let all = [("a.example", "."), ("*.a.example", "*."), ("c.example", ".")];
    next(0, u32::MAX, &[("*.a.example", "."), ("b.example", "rpz-drop.")], &[("*.a.example", "*."), ("c.example", ".")], &all);
    assert_eq!(feed.listener.until_serial(0).await, "changes");
    assert_eq!(names(&feed.listener), ["a.example.", "c.example."]);
    assert_eq!(feed.listener.of("a.example."), "4 3");
    assert_eq!(primary.asked().iter().filter(|asked| asked.0).map(|asked| asked.1).collect::<Vec<_>>(), [kind::IXFR]);

    // Takes away what is not there, what has another action; adds what is there.
    type Change<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)]);
    let wrong: [Change<'_>; 3] = [(&[("x.example", ".")], &[]), (&[("c.example", "*.")], &[]), (&[], &[("c.example", ".")])];
    for (serial, (gone, come)) in (1..).zip(wrong) {
        next(serial, serial - 1, gone, come, &all);
        assert_eq!(feed.listener.until_serial(serial).await, "whole", "{gone:?} {come:?}");
        let asked: Vec<_> = primary.asked().into_iter().filter(|asked| asked.0).map(|asked| asked.1).collect();
        assert_eq!(asked, [kind::IXFR, kind::AXFR]);
    }
    // Changes of which the second half is missing count for nothing.
    {
        let steps = vec![(3, 4, pairs(&[("a.example", ".")]), Vec::new()), (4, 5, Vec::new(), pairs(&[("d.example", ".")]))];
        *primary.script() = Script { records: records(&all), steps, cut: Some(150), ..good(5) };
    }
    feed.listener.until("bad").await;
    assert_eq!(names(&feed.listener), ["a.example.", "c.example."]);
    primary.script().cut = None;
    assert_eq!(feed.listener.until_serial(5).await, "changes");
    assert_eq!(names(&feed.listener), ["a.example.", "c.example.", "d.example."]);
    assert_eq!(feed.listener.of("a.example."), "0 3");

    // After a restart all of it is there, without the primary.
    feed.stop().await;
    primary.script().closed = true;
    let mut feed = Running::start(&source(&[primary.address]), data.path());
    assert_eq!(feed.listener.next().await, "whole");
    assert_eq!((feed.listener.meta.serial, names(&feed.listener).len()), (Some(5), 3));
    assert_eq!(feed.listener.of("a.example."), "0 3");
    feed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_counts_until_its_expiry_and_no_longer() {
    let data = tempfile::tempdir().unwrap();
    let primary = Primary::new(good(10));
    let source = RpzSource { keep_seconds: Some(5), ..source(&[primary.address]) };
    let mut feed = Running::start(&source, data.path());
    feed.listener.until_serial(10).await;
    let first = feed.listener.meta.expires_at.unwrap();
    // Each confirmation begins the time anew.
    let confirmed = loop {
        feed.listener.until("good").await;
        let end = feed.listener.health.as_ref().unwrap().expires_at.unwrap();
        if end > first {
            break end;
        }
    };
    // An older version confirms nothing.
    primary.script().serial = 9;
    feed.listener.until("bad").await;
    assert!(feed.listener.error().contains("not newer"), "{}", feed.listener.error());
    // Nothing else is to be had before the end.
    primary.script().refuse = Some(5);
    feed.listener.until("expired").await;
    assert!(jiff::Timestamp::now() >= confirmed);
    assert!(feed.listener.content().is_empty());
    // What it has now is taken, however old: there is nothing that it could be older than.
    primary.script().refuse = None;
    feed.listener.until_serial(9).await;
    assert_eq!(names(&feed.listener).len(), 2);
    feed.stop().await;

    // Expired while POP was away: it does not come back.
    primary.script().closed = true;
    tokio::time::sleep(Duration::from_millis(5200)).await;
    let mut feed = Running::start(&source, data.path());
    assert_eq!(feed.listener.next().await, "bad");
    assert!(feed.listener.content().is_empty());
    feed.stop().await;
}

/// A primary may be silent for longer than the copy counts, and then confirm it, or have changes of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_ends_on_time_while_a_primary_is_waited_for_and_is_told_anew_when_it_was_good() {
    for changes in [false, true] {
        let data = tempfile::tempdir().unwrap();
        let primary = Primary::new(good(10));
        let source = RpzSource { keep_seconds: Some(3), ..source(&[primary.address]) };
        let mut feed = Running::start(&source, data.path());
        feed.listener.until_serial(10).await;
        primary.script().silent = true;
        while feed.listener.next().await == "good" {}
        // Before it is known what the primary says.
        assert_eq!(feed.listener.heard.last(), Some(&"expired"), "{:?}", feed.listener.heard);
        assert!(feed.listener.content().is_empty());
        *primary.script() = if changes {
            let steps = vec![(10, 11, pairs(&[("b.example", "rpz-drop.")]), Vec::new())];
            Script { steps, records: records(&[("a.example", "."), ("*.a.example", ".")]), ..good(11) }
        } else {
            good(10)
        };
        let (serial, names_then) = if changes { (11, 1) } else { (10, 2) };
        assert_eq!(feed.listener.until_serial(serial).await, "whole");
        assert_eq!(names(&feed.listener).len(), names_then);
        feed.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_primary_is_asked_when_the_first_is_of_no_use() {
    let data = tempfile::tempdir().unwrap();
    let (first, second) = (Primary::new(Script { refuse: Some(5), ..good(10) }), Primary::new(good(12)));
    let mut feed = Running::start(&source(&[first.address, second.address]), data.path());
    feed.listener.until_serial(12).await;
    // One that lags behind is of no use either.
    first.script().refuse = None;
    second.script().serial = 13;
    feed.listener.until_serial(13).await;
    // Where datagrams do not come through, TCP does.
    for (serial, change) in [(14, (|script| script.deaf = true) as fn(&mut Script)), (15, |script| script.truncate = true)] {
        *first.script() = good(10);
        *second.script() = good(serial);
        change(&mut second.script());
        feed.listener.until_serial(serial).await;
        assert!(second.asked().contains(&(true, kind::SOA)));
    }
    feed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notify_asks_at_once_and_a_flood_once_a_second() {
    let data = tempfile::tempdir().unwrap();
    let primary = Primary::new(good(10));
    let source = RpzSource { refresh_seconds: Some(3600), ..source(&[primary.address]) };
    let mut feed = Running::start(&source, data.path());
    feed.listener.until("good").await;
    let zone = WireName::from(&Name::parse(primary::ZONE).unwrap());
    *primary.script() = good(11);
    assert!(!feed.notified.ring(&zone, "192.0.2.1".parse().unwrap(), None));
    assert!(feed.notified.ring(&zone, primary.address.ip(), None));
    feed.listener.until_serial(11).await;
    primary.asked();
    let begun = std::time::Instant::now();
    let asked = loop {
        for _ in 0..100 {
            assert!(feed.notified.ring(&zone, primary.address.ip(), None));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let asked = primary.script().asked.len();
        if asked > 0 && begun.elapsed() > Duration::from_millis(2500) {
            break asked;
        }
    };
    let most = begun.elapsed().as_secs() as usize + 2;
    assert!(asked <= most, "{asked} questions in {:?}", begun.elapsed());
    feed.stop().await;
}

/// RFC 1034 section 4.3.5: after a failure the retry of the zone counts, and not its refresh; a NOTIFY is quicker than both.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_failure_the_primary_is_asked_after_the_zones_retry_or_at_a_notify() {
    let data = tempfile::tempdir().unwrap();
    let timed = |serial, retry| Script { refresh: 36_000, retry, expire: 360_000, ..good(serial) };
    let primary = Primary::new(timed(10, 8));
    let mut feed = Running::start(&RpzSource { refresh_seconds: None, ..source(&[primary.address]) }, data.path());
    feed.listener.until_serial(10).await;
    let zone = WireName::from(&Name::parse(primary::ZONE).unwrap());
    let ring = |feed: &Running| assert!(feed.notified.ring(&zone, primary.address.ip(), None));
    primary.script().refuse = Some(2);
    let begun = std::time::Instant::now();
    ring(&feed);
    feed.listener.until("bad").await;
    primary.asked();
    *primary.script() = timed(11, 3600);
    feed.listener.until_serial(11).await;
    // Half of it is left to chance.
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());

    primary.script().refuse = Some(2);
    ring(&feed);
    feed.listener.until("bad").await;
    *primary.script() = timed(12, 3600);
    ring(&feed);
    feed.listener.until_serial(12).await;
    feed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_beyond_the_limit_is_refused_and_the_end_is_quick() {
    let data = tempfile::tempdir().unwrap();
    let primary = Primary::new(good(10));
    {
        let mut script = primary.script();
        script.records = (0..2000).map(|number| (format!("n{number}.example"), ".".to_owned())).collect();
    }
    let mut feed = Running::with_limit(&source(&[primary.address]), data.path(), 20_000);
    assert_eq!(feed.listener.next().await, "bad");
    assert!(feed.listener.error().contains("larger than the limit"), "{}", feed.listener.error());
    feed.stop().await;

    // A server that takes the connection and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let feed = Running::start(&source(&[listener.local_addr().unwrap()]), data.path());
    let (_open, _) = listener.accept().unwrap();
    feed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_feeds_of_one_zone_name_know_nothing_of_each_other() {
    let data = tempfile::tempdir().unwrap();
    let (one, other) = (Primary::new(good(10)), Primary::new(Script { records: records(&[("x.example", "*.")]), ..good(20) }));
    let fit = Fit::new(&Name::parse("dnstapir").unwrap());
    let notified = Notified::default();
    let (to, mut news) = channel();
    let (_, shutdown) = Shutdown::manual();
    for (name, primary) in [("one", &one), ("other", &other)] {
        let feed = RpzFeed::new(name, &source(&[primary.address]), None, fit, data.path(), 1 << 20, &notified).unwrap();
        tokio::spawn(feed.run(to.clone(), shutdown.clone()));
    }
    let mut serials = std::collections::BTreeMap::new();
    while serials.len() < 2 {
        let told = timeout(Duration::from_secs(20), news.recv()).await.unwrap().unwrap();
        if let tapir_pop::feeds::SourceNews::Whole { meta, .. } = told.news {
            serials.insert(told.source.to_string(), (meta.serial.unwrap(), meta.entries));
        }
    }
    assert_eq!(serials.into_iter().collect::<Vec<_>>(), [("one".to_owned(), (10, 2)), ("other".to_owned(), (20, 1))]);
    shutdown.trigger();
}

/// So many changes that they become a table, in one transfer and in many.
#[tokio::test(flavor = "multi_thread")]
async fn many_changes_become_a_table_and_outlive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let primary = Primary::new(good(1));
    let mut feed = Running::with_limit(&source(&[primary.address]), data.path(), 64 << 20);
    feed.listener.until_serial(1).await;
    let many: std::collections::BTreeMap<String, String> =
        (0..66_000).map(|number| (format!("n{number}.example"), ".".to_owned())).collect();
    {
        let mut all = many.clone();
        all.extend(good(1).records);
        let steps = vec![(1, 2, Vec::new(), many.into_iter().collect())];
        *primary.script() = Script { records: all, steps, ..good(2) };
    }
    primary.asked();
    assert_eq!(feed.listener.until_serial(2).await, "whole");
    assert_eq!(names(&feed.listener).len(), 66_002);
    let asked: Vec<_> = primary.asked().into_iter().filter(|asked| asked.0).map(|asked| asked.1).collect();
    assert_eq!(asked, [kind::IXFR], "it was put together here");
    // And on from there.
    {
        let mut script = primary.script();
        script.records.remove("n7.example");
        script.steps.push((2, 3, pairs(&[("n7.example", ".")]), Vec::new()));
        script.serial = 3;
    }
    assert_eq!(feed.listener.until_serial(3).await, "changes");
    feed.stop().await;
    primary.script().closed = true;
    let mut feed = Running::start(&source(&[primary.address]), data.path());
    assert_eq!(feed.listener.next().await, "whole");
    assert_eq!((feed.listener.meta.serial, names(&feed.listener).len()), (Some(3), 66_001));
    feed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_does_not_take_is_in_force_and_written_down_when_it_does() {
    let data = tempfile::tempdir().unwrap();
    let primary = Primary::new(good(10));
    let mut feed = Running::start(&source(&[primary.address]), data.path());
    assert_eq!(feed.listener.until_serial(10).await, "whole");
    feed.listener.until("good").await;
    let disk = NoDisk::of(data.path(), "f");
    let all = [("a.example", "."), ("c.example", "rpz-drop.")];
    *primary.script() = Script { records: records(&all), ..good(11) };
    assert_eq!(feed.listener.until_serial(11).await, "whole");
    assert_eq!(names(&feed.listener), ["a.example.", "c.example."]);
    // And what changes there.
    let steps = vec![(11, 12, pairs(&[("a.example", ".")]), pairs(&[("d.example", ".")]))];
    *primary.script() = Script { records: records(&[("c.example", "rpz-drop."), ("d.example", ".")]), steps, ..good(12) };
    assert_eq!(feed.listener.until_serial(12).await, "changes");
    assert!(!feed.listener.heard.contains(&"bad"), "{:?} {}", feed.listener.heard, feed.listener.error());
    drop(disk);
    kept(data.path(), "f", "\"serial\":12").await;
    feed.stop().await;

    primary.script().closed = true;
    let mut feed = Running::start(&source(&[primary.address]), data.path());
    assert_eq!(feed.listener.until_serial(12).await, "whole");
    assert_eq!(names(&feed.listener), ["c.example.", "d.example."]);
    assert_eq!(std::fs::read_dir(data.path().join("sources/f")).unwrap().count(), 2);
    feed.stop().await;
}

/// A volume that comes after the start, long before the zone is to be asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_made_at_the_start_is_made_when_it_can() {
    let data = tempfile::tempdir().unwrap();
    let sources = data.path().join("sources");
    std::fs::write(&sources, "in the way").unwrap();
    let primary = Primary::new(good(10));
    let mut feed = Running::start(&RpzSource { refresh_seconds: Some(36_000), ..source(&[primary.address]) }, data.path());
    feed.listener.until_serial(10).await;
    feed.listener.until("good").await;
    std::fs::remove_file(&sources).unwrap();
    kept(data.path(), "f", "\"serial\":10").await;
    feed.stop().await;
    primary.script().closed = true;
    let mut feed = Running::start(&source(&[primary.address]), data.path());
    assert_eq!(feed.listener.until_serial(10).await, "whole");
    feed.stop().await;
}
