//! From Core's message to the published zone and back out of it: the engine with everything but the network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/running.rs"]
#[allow(dead_code)]
mod running;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use running::{PATIENCE, Running, TAGGED, content, entry, has, setup, start};
use tapir_pop::dns::zone::{Since, Zone as _};
use tapir_pop::setup::{NoFiles, Setup};
use tapir_runtime::mqtt::Incoming;
use tapir_table::{KeyBuf, MAX_KEY};
use tapir_wire::jwk::DataKey;
use tapir_wire::node_name::NodeName;
use tokio::time::{Instant, timeout};

#[tokio::test]
async fn an_observation_is_in_the_zone_at_once_and_leaves_on_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    pop.until(|zone| zone.size.records == 0).await;
    // The machine may have other things to do, but not each time.
    let mut quickest = PATIENCE;
    for attempt in 0..5 {
        let (name, sent) = (format!("quick{attempt}.example"), Instant::now());
        pop.send(&[entry(&name, SignedDuration::from_secs(300), 1)]).await;
        pop.until(|zone| has(zone, &name)).await;
        quickest = quickest.min(sent.elapsed());
    }
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
    // In the middle of a second: what ends is over from the next whole one on.
    let mut latest = SignedDuration::MAX;
    for attempt in 0..4 {
        let name = format!("evil{attempt}.example.");
        let end = Timestamp::from_second(Timestamp::now().as_second() + 4).unwrap() + SignedDuration::from_millis(500);
        let until_end = || end.duration_since(Timestamp::now());
        pop.send(&[entry(&name, until_end(), 1), entry("other.example", SignedDuration::from_secs(300), 8)]).await;
        let there = pop.until(|zone| has(zone, &name)).await;
        assert!(!has(&there, "other.example."), "its tag is in no rule");
        let gone = pop.until(|zone| !has(zone, &name)).await;
        let late = -until_end();
        assert!(late >= SignedDuration::ZERO && gone.serial.is_after(there.serial), "{late:?}");
        latest = latest.min(late);
        if latest < SignedDuration::from_secs(1) {
            return;
        }
    }
    panic!("{latest:?} late");
}

#[tokio::test]
async fn a_loop_test_is_seen_and_blocks_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let policy = "sources: [{name: c, list: Doubt, core: {}}]\ndoubt: [{name: any, minTags: 1, action: DROP}]\n";
    let mut pop = start(directory.path(), policy);
    pop.send(&[entry("x.from-edge.looptest.dnstapir.se", SignedDuration::from_secs(300), 1024)]).await;
    pop.send(&[entry("evil.example", SignedDuration::from_secs(300), 2)]).await;
    let zone = pop.until(|zone| has(zone, "evil.example.")).await;
    assert_eq!(zone.size.records, 1);
    let status = pop.telemetry.document().pop.unwrap();
    assert!(status.last_looptest.is_some());
    assert_eq!((status.sources[0].entries, status.records, status.serial), (2, 1, zone.serial.0));
}

#[tokio::test]
async fn what_was_published_is_published_again_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    pop.send(&[
        entry("short.example", SignedDuration::from_secs(4), 1),
        entry("long.example", SignedDuration::from_secs(300), 1),
    ])
    .await;
    let before = pop.until(|zone| has(zone, "short.example.")).await;
    pop.kill().await;

    let mut pop = start(directory.path(), TAGGED);
    let again = pop.until(|_| true).await;
    assert!(has(&again, "long.example."), "no protection is lost, and the first zone has it");
    let same = again.serial == before.serial && content(&again) == content(&before);
    assert!(same || again.serial.is_after(before.serial), "the same zone, or a later serial");
    let later = pop.until(|zone| !has(zone, "short.example.")).await;
    assert!(has(&later, "long.example."));
    pop.kill().await;

    let mut pop = start(directory.path(), TAGGED);
    let again = pop.until(|_| true).await;
    assert_eq!((again.serial, content(&again)), (later.serial, content(&later)), "the same content keeps its serial");
}

#[tokio::test]
async fn a_stream_of_changes_shares_serials_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    let started = Instant::now();
    for index in 0..500 {
        pop.send(&[entry(&format!("name{index}.example"), SignedDuration::from_secs(300), 1)]).await;
    }
    pop.until(|zone| zone.size.records == 500).await;
    let versions = pop.telemetry.metrics.publications.get();
    let most = started.elapsed().as_millis() / 100 + 3;
    assert!(u128::from(versions) <= most, "{versions} versions in {:?}", started.elapsed());
}

/// Nobody sees half of what one message says.
#[tokio::test]
async fn a_message_is_in_force_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    pop.until(|zone| zone.size.records == 0).await;
    let before = pop.telemetry.metrics.publications.get();
    let entries: Vec<_> =
        (0..2000).map(|index| entry(&format!("name{index}.example"), SignedDuration::from_secs(300), 1)).collect();
    pop.send(&entries).await;
    let zone = pop.until(|zone| zone.size.records > 0).await;
    assert_eq!((zone.size.records, pop.telemetry.metrics.publications.get()), (2000, before + 1));
}

#[tokio::test]
async fn messages_that_do_not_count_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    let first = pop.until(|_| true).await;
    let trusted = std::mem::replace(&mut pop.key, DataKey::generate(&NodeName::parse("core.test").unwrap()).unwrap());
    pop.send(&[entry("forged.example", SignedDuration::from_secs(300), 1)]).await;
    pop.key = trusted;
    pop.messages.send(Incoming { topic: "t".to_owned(), payload: "{}".into() }).await.unwrap();
    let unfit = ["*.example", "32.1.2.0.192.rpz-ip", "."].map(|name| entry(name, SignedDuration::from_secs(300), 1));
    pop.send(&unfit).await;
    pop.send(&[entry("over.example", SignedDuration::from_secs(-1), 1)]).await;
    pop.send(&[entry("evil.example", SignedDuration::from_secs(300), 1)]).await;
    let zone = pop.until(|zone| zone.serial != first.serial).await;
    assert_eq!(zone.size.records, 1);
    assert_eq!(pop.telemetry.document().pop.unwrap().sources[0].rejected, 4);
}

#[tokio::test]
async fn a_new_policy_decides_anew_what_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    pop.send(&[entry("evil.example", SignedDuration::from_secs(300), 1)]).await;
    let before = pop.until(|zone| has(zone, "evil.example.")).await;
    let allow = "- {name: allow, list: Allow, match: Subtree, inline: {names: [example]}}";
    pop.setup.send_replace(setup(
        directory.path(),
        &TAGGED.replace("sources: [{", "sources:\n- {").replace("}]\ndoubt", &format!("}}\n{allow}\ndoubt")),
    ));
    let after = pop.until(|zone| zone.size.records == 0).await;
    assert!(after.serial.is_after(before.serial));
    // Without a source for them observations stay known and come back with it.
    pop.setup.send_replace(setup(directory.path(), "sources: []\n"));
    pop.setup.send_replace(setup(directory.path(), TAGGED));
    pop.until(|zone| has(zone, "evil.example.")).await;
}

#[tokio::test]
async fn other_data_or_another_lifetime_is_another_zone() {
    let directory = tempfile::tempdir().unwrap();
    let policy = |rest: &str| {
        format!(
            "format: 2\ndataDir: {}\nsources: [{{name: own, list: Deny, inline: {{names: [evil.example]}}}}]\n{rest}\n",
            directory.path().display()
        )
    };
    let parse = |rest: &str| Some(Arc::new(Setup::parse(&policy(rest), &mut NoFiles).unwrap().0));
    let mut pop = start(directory.path(), "sources: []\n");
    let mut last = pop.until(|_| true).await;
    for rest in [
        "deny: {action: Redirect, redirect: {name: garden.example}}",
        "deny: {action: Redirect, redirect: {name: other.example}}",
        "deny: {action: Redirect, redirect: {addresses: [192.0.2.1]}}",
        "deny: {action: Redirect, redirect: {addresses: [192.0.2.2]}}",
        "deny: {action: Redirect, redirect: {addresses: [192.0.2.2]}}\nrecordTtlSeconds: 300",
        "deny: {action: Redirect, redirect: {addresses: [192.0.2.2]}}\nsoa: {refreshSeconds: 30}",
    ] {
        pop.setup.send_replace(parse(rest));
        let next = pop.until(|zone| zone.serial != last.serial).await;
        assert!(next.serial.is_after(last.serial) && next.size.records == 1, "{rest}");
        last = next;
    }
    assert_eq!(last.apex.timers[0], 30);
    let codes = last.get(&KeyBuf::from_text("evil.example", MAX_KEY).unwrap()).unwrap();
    let records: Vec<_> = last.palette.get(codes.own).unwrap().records().map(|(kind, data)| (kind, data.to_vec())).collect();
    assert_eq!(records, [(1, vec![192, 0, 2, 2])]);
}

/// What the operator reads as "in force" is what resolvers get.
#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_in_force_when_its_zone_is_served_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let pop = start(directory.path(), "revision: first\n");
    let mut times = Vec::new();
    for number in 0..10 {
        let name = format!("name{number}.example.");
        let list = format!("sources: [{{name: deny, list: Deny, inline: {{names: [{name}]}}}}]");
        let before = Timestamp::now();
        pop.setup.send_replace(setup(directory.path(), &format!("revision: r{number}\n{list}\n")));
        let config = timeout(PATIENCE, async {
            loop {
                let config = pop.telemetry.document().config;
                if config.revision == format!("r{number}") {
                    return config;
                }
                tokio::task::yield_now().await;
            }
        });
        let config = config.await.unwrap();
        assert!(has(pop.published.borrow().as_ref().unwrap(), &name), "{name}");
        assert!(config.loaded_at.is_some_and(|loaded_at| loaded_at >= before && loaded_at <= Timestamp::now()));
        times.extend(config.loaded_at);
    }
    assert!(times.is_sorted());
    // A policy that makes the same zone comes into force too.
    let serial = pop.published.borrow().as_ref().unwrap().serial;
    let same = "sources: [{name: deny, list: Deny, inline: {names: [name9.example.]}}]";
    pop.setup.send_replace(setup(directory.path(), &format!("revision: last\n{same}\n")));
    let last = async {
        while pop.telemetry.document().config.revision != "last" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, last).await.unwrap();
    assert_eq!(pop.published.borrow().as_ref().unwrap().serial, serial);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serial_that_could_not_be_written_down_is_written_when_the_disk_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let in_the_way = directory.path().join("serial.new");
    std::fs::create_dir(&in_the_way).unwrap();
    let mut pop = start(directory.path(), TAGGED);
    let zone = pop.until(|_| true).await;
    std::fs::remove_dir(in_the_way).unwrap();
    let written = async {
        while !directory.path().join("serial.json").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, written).await.unwrap();
    pop.kill().await;
    let again = start(directory.path(), TAGGED).until(|_| true).await;
    assert_eq!((again.serial, content(&again)), (zone.serial, content(&zone)), "the same content keeps its serial");
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_is_said_in_the_status_and_holds_up_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("observations.jsonl")).unwrap();
    let mut pop = start(directory.path(), TAGGED);
    pop.send(&[entry("evil.example", SignedDuration::from_secs(300), 1)]).await;
    pop.until(|zone| has(zone, "evil.example.")).await;
    let errors = pop.telemetry.document().pop.unwrap().errors;
    assert!(errors.iter().any(|error| error.contains("observations.broken-")), "{errors:?}");
    pop.kill().await;
    let mut pop = start(directory.path(), TAGGED);
    pop.until(|zone| has(zone, "evil.example.")).await;
    assert!(pop.telemetry.document().pop.unwrap().errors.is_empty());
}

/// A folder that cannot be: a file stands in its place.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_disk_everything_goes_on_and_says_so_until_there_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("data");
    std::fs::write(&folder, "no folder").unwrap();
    let mut pop = start(&folder, TAGGED);
    let first = pop.until(|_| true).await;
    pop.send(&[entry("evil.example", SignedDuration::from_secs(300), 1)]).await;
    let second = pop.until(|zone| has(zone, "evil.example.")).await;
    assert!(matches!(second.since(first.serial), Since::Steps { changes: 1, .. }), "history is in memory");
    let errors = |pop: &Running| pop.telemetry.document().pop.unwrap().errors;
    assert!(errors(&pop)[0].contains("state cannot be kept in"), "{:?}", errors(&pop));

    std::fs::remove_file(&folder).unwrap();
    let healed = async {
        while !errors(&pop).is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, healed).await.unwrap();
    pop.send(&[entry("worse.example", SignedDuration::from_secs(300), 1)]).await;
    let third = pop.until(|zone| has(zone, "worse.example.")).await;
    pop.kill().await;
    let mut pop = start(&folder, TAGGED);
    let again = pop.until(|_| true).await;
    assert_eq!((again.serial, content(&again)), (third.serial, content(&third)));
}

#[tokio::test]
async fn who_has_no_room_gives_up_what_ends_first_and_says_so_once_an_episode() {
    let directory = tempfile::tempdir().unwrap();
    let limited = Setup { observation_octets: 30_000, ..Setup::clone(&setup(directory.path(), TAGGED).unwrap()) };
    let mut pop = start(directory.path(), "sources: []\n");
    pop.setup.send_replace(Some(Arc::new(limited)));
    let in_force = async {
        while pop.telemetry.document().pop.unwrap().sources.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, in_force).await.unwrap();
    for index in 0..3000 {
        pop.send(&[entry(&format!("name-{index}.example"), SignedDuration::from_secs(300 + i64::from(index % 20)), 1)]).await;
    }
    let zone = pop.until(|zone| has(zone, "name-2999.example")).await;
    assert!((500..2900).contains(&zone.size.records), "{}", zone.size.records);
    assert!(!has(&zone, "name-0.example") && has(&zone, "name-2979.example"), "what ends first went first");
    let metrics = tapir_runtime::http::Probe::metrics(&*pop.telemetry);
    let displaced: f64 =
        metrics.lines().find(|line| line.contains("outcome=\"displaced\"")).unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(displaced > 100.0, "{displaced}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_zone_is_a_file_too_that_follows_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rpz/dnstapir.zone");
    let with_file = |path: &Path| {
        let rest = format!("zoneFile: {{path: {}}}\n{TAGGED}", path.display());
        let text = format!("format: 2\ndataDir: {}\n{rest}", directory.path().display());
        Some(Arc::new(Setup::parse(&text, &mut NoFiles).unwrap().0))
    };
    let mut pop = start(directory.path(), TAGGED);
    pop.setup.send_replace(with_file(&file));
    let is = async |wanted: &dyn Fn(&str) -> bool| {
        let there = async {
            while !std::fs::read_to_string(&file).is_ok_and(|text| wanted(&text)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, there).await.unwrap();
    };
    is(&|text| text.contains(" IN SOA ") && !text.contains("CNAME")).await;
    pop.send(&[entry("evil.example", SignedDuration::from_secs(300), 1)]).await;
    let zone = pop.until(|zone| has(zone, "evil.example.")).await;
    is(&|text| text.contains("evil.example.dnstapir. 3600 IN CNAME .\n") && text.contains(&zone.serial.to_string())).await;

    // Where it cannot be, everything else goes on.
    pop.setup.send_replace(with_file(&file.join("below-a-file")));
    pop.send(&[entry("worse.example", SignedDuration::from_secs(300), 1)]).await;
    pop.until(|zone| has(zone, "worse.example.")).await;
    let said = async {
        while !pop.telemetry.document().pop.unwrap().errors.iter().any(|error| error.starts_with("zoneFile: ")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, said).await.unwrap();
}
