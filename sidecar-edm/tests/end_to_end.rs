//! dnstap in at one end, signed events out at a real broker with mutual TLS at the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::broker::soon;
use support::core::{Core, whole};
use support::{Edm, NODE, until};
use tapir_runtime::mqtt::Incoming;
use tapir_wire::jws;

const CLIENT: &str = "198.51.100.77";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_name_is_reported_once_and_exactly() {
    let mut core = Core::start().await;
    let edm = Edm::start(whole(&core)).await;
    let mut resolver = edm.connect().await;
    resolver.answered("www.New-Name.example.", CLIENT).await;
    let Incoming { payload, .. } = soon("event", core.eye.incoming.recv()).await.unwrap();
    let event = jws::verify(&payload, &core.trusted).unwrap();
    assert_eq!(
        String::from_utf8(event).unwrap(),
        r#"{"flags":33152,"qclass":1,"qname":"www.New-Name.example.","qtype":1,"timestamp":"2026-05-28T12:13:00Z","type":"new_qname","version":0}"#
    );
    let protected = serde_json::from_slice::<Value>(&payload).unwrap()["protected"].clone();
    assert!(protected.is_string());

    // Seen, well known, private, not a response to a client: none of these.
    resolver.answered("WWW.new-name.EXAMPLE.", "198.51.100.78").await;
    resolver.answered("example.com.", CLIENT).await;
    resolver.answered("77.100.51.198.in-addr.arpa.", CLIENT).await;
    resolver.answered("dyn-198-51-100-77.example.", CLIENT).await;
    // Nor when somebody else asks for it afterwards.
    resolver.answered("dyn-198-51-100-77.Example.", "198.51.100.78").await;
    resolver.send(b"not protobuf").await;
    resolver.answered("another.example.", CLIENT).await;
    assert_eq!(core.name().await, "another.example.");
    core.nothing_more().await;
    core.broker.logged(&format!("as {NODE}-edm-x1 (p5, c0, k30")).await;

    resolver.stop().await;
    edm.status_becomes("/edm/eventsSent", 2).await;
    let status = edm.status().await;
    assert_eq!(status["component"], "edm");
    assert_eq!(status["config"]["revision"], "r1");
    assert_eq!(status["identity"]["node"], NODE);
    assert_eq!(status["core"]["connected"], true);
    assert_eq!(status["edm"]["frames"], 8);
    assert_eq!(status["edm"]["eventsQueued"], 0);
    assert_eq!(status["edm"]["wellKnownDomains"], 1);
    let last: Timestamp = status["edm"]["events"]["lastSent"].as_str().unwrap().parse().unwrap();
    assert!(Timestamp::now().duration_since(last).as_secs() < 300, "{last}");
    assert_eq!(edm.metric("event_last_sent_seconds").await, Some(u64::try_from(last.as_second()).unwrap()));
    assert!(status["edm"]["memory"]["seenTable"].as_u64().unwrap() >= 12 * 100_000, "{status}");
    assert_eq!(status["edm"]["storage"]["bound"], 2048_u64 << 20);
    // Written within a second; two marks and two of names that are not to be told.
    until("size of the folders", async || {
        let storage = edm.status().await["edm"]["storage"].clone();
        let folder = edm.files().data();
        let octets = |name: &str| {
            std::fs::read_dir(folder.join(name)).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>()
        };
        storage["folder"] == folder.display().to_string()
            && ["seen", "waiting"].iter().all(|name| storage["folders"][name] == octets(name))
    })
    .await;
    for (outcome, count) in [("queued", 2), ("seen", 2), ("special_use", 1), ("client_address", 1)] {
        edm.metric_becomes(&format!("event_candidates_total{{outcome=\"{outcome}\"}}"), count).await;
    }
    for (outcome, count) in [("other_name", 6), ("well_known", 1), ("undecodable", 1)] {
        edm.metric_becomes(&format!("frames_total{{outcome=\"{outcome}\"}}"), count).await;
    }

    // What is served says nothing about anybody.
    let served = [edm.get("/status").await, edm.get("/metrics").await].concat();
    for secret in ["198.51", "198-51", "c633644d", "new-name", "another"] {
        assert!(!served.to_lowercase().contains(secret), "{secret} in status or metrics");
    }
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken_up_and_nothing_queued_is_lost() {
    let mut core = Core::start().await;
    let edm = Edm::start(whole(&core)).await;
    edm.status_becomes("/core/connected", true).await;
    let first = edm.status().await["identity"]["certificateSerial"].clone();
    let mut resolver = edm.connect().await;
    resolver.answered("one.example.", CLIENT).await;
    assert_eq!(core.name().await, "one.example.");

    // A certificate whose key does not belong to it: refused, the old one goes on.
    let (other, _) = core.authority.issue(NODE, &[NODE]);
    edm.files().write("tls.crt", other.as_bytes());
    until("refusal", async || edm.status().await["identityError"].as_str().is_some_and(|error| error.contains("tls.key"))).await;
    resolver.answered("two.example.", CLIENT).await;
    assert_eq!(core.name().await, "two.example.");
    assert_eq!(edm.status().await["identity"]["certificateSerial"], first);

    core.identity(&edm.files());
    until("new certificate", async || {
        let status = edm.status().await;
        status["identity"]["certificateSerial"] != first
            && status["identityError"].is_null()
            && status["core"]["connected"] == true
    })
    .await;
    resolver.answered("three.example.", CLIENT).await;
    assert_eq!(core.name().await, "three.example.");
    core.nothing_more().await;
    let connects = edm.metric("mqtt_connects_total").await.unwrap();
    assert!((2..=3).contains(&connects), "{connects} connections");
    edm.stop().await;
}

/// Serials of the certificate that lies there and of the one that the connection was made with.
async fn serials(edm: &Edm) -> (Value, Value) {
    let status = edm.status().await;
    (status["identity"]["certificateSerial"].clone(), status["core"]["certificateSerial"].clone())
}

/// Waits until a certificate other than `old` lies there and is in use.
async fn renewed(edm: &Edm, old: &Value) -> Value {
    until("the new certificate in use", async || {
        let (there, in_use) = serials(edm).await;
        there == in_use && in_use.is_string() && in_use != *old
    })
    .await;
    serials(edm).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_stream_while_certificates_change_arrive_once_each() {
    const EVENTS: usize = 900;
    let mut core = Core::start().await;
    let edm = Edm::start(whole(&core)).await;
    edm.status_becomes("/core/connected", true).await;
    let mut resolver = edm.connect().await;
    let streaming = async {
        for index in 0..EVENTS {
            resolver.answered(&format!("n{index}.example."), CLIENT).await;
            // Some are on their way at any moment of the changes, and the queue never has to drop one.
            if index % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let changing = async {
        let mut in_use = serials(&edm).await.1;
        for _ in 0..5 {
            core.identity(&edm.files());
            in_use = renewed(&edm, &in_use).await;
        }
    };
    tokio::join!(streaming, changing);
    edm.status_becomes("/edm/eventsSent", EVENTS as u64).await;
    let mut names = std::collections::BTreeMap::new();
    for _ in 0..EVENTS {
        *names.entry(core.name().await).or_insert(0) += 1;
    }
    // An orderly change waits for the broker's word, so not even the copies that QoS 1 allows are made.
    assert_eq!((names.len(), names.values().max()), (EVENTS, Some(&1)));
    core.nothing_more().await;
    edm.status_becomes("/edm/eventsQueued", 0).await;
    edm.status_becomes("/edm/eventsDropped", 0).await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_fills_while_the_certificate_changes_at_a_silent_broker_is_sent_whole() {
    const EVENTS: usize = 300;
    /// On their way at once: these the broker may have, without EDM knowing.
    const WINDOW: usize = 32;
    let mut core = Core::start().await;
    let edm = Edm::start(whole(&core)).await;
    edm.status_becomes("/core/connected", true).await;
    let old = serials(&edm).await.1;
    core.broker.signal(Signal::SIGSTOP);
    let mut resolver = edm.connect().await;
    for index in 0..EVENTS {
        resolver.answered(&format!("n{index}.example."), CLIENT).await;
    }
    edm.status_becomes("/edm/eventsQueued", EVENTS as u64).await;
    core.identity(&edm.files());
    until("the new certificate", async || serials(&edm).await.0 != old).await;
    edm.status_becomes("/core/connected", false).await;
    assert!(serials(&edm).await.1.is_null(), "no connection, no certificate in use");
    assert_eq!(edm.status().await["edm"]["eventsQueued"], EVENTS, "and nothing given up");
    core.broker.signal(Signal::SIGCONT);
    renewed(&edm, &old).await;
    edm.status_becomes("/edm/eventsSent", EVENTS as u64).await;
    edm.status_becomes("/edm/eventsQueued", 0).await;
    let (mut names, mut copies) = (std::collections::BTreeSet::new(), 0);
    while names.len() < EVENTS {
        copies += usize::from(!names.insert(core.name().await));
    }
    assert!(copies <= WINDOW, "{copies} copies");
    edm.status_becomes("/edm/eventsDropped", 0).await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_the_broker_and_come_in_order() {
    let mut core = Core::start().await;
    let edm = Edm::start(whole(&core)).await;
    edm.status_becomes("/core/connected", true).await;
    core.broker.kill();
    edm.status_becomes("/core/connected", false).await;
    let mut resolver = edm.connect().await;
    let names = ["a.example.", "b.example.", "c.example.", "d.example.", "e.example."];
    for name in names {
        resolver.answered(name, CLIENT).await;
    }
    edm.status_becomes("/edm/eventsQueued", names.len() as u64).await;
    core.broker.start_again();
    soon("return of the eye", core.eye.state.wait_for(|state| state.connected)).await.unwrap();
    for name in names {
        assert_eq!(core.name().await, name);
    }
    edm.status_becomes("/edm/eventsQueued", 0).await;
    resolver.answered("a.example.", CLIENT).await;
    core.nothing_more().await;
    edm.status_becomes("/edm/eventsDropped", 0).await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_is_silent_within_a_second_and_forgets_what_waits() {
    let mut core = Core::start().await;
    let edm = Edm::start(whole(&core)).await;
    edm.status_becomes("/core/connected", true).await;
    let mut resolver = edm.connect().await;
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let switched = Instant::now();
        edm.files().write_config("disabled = true\nrevision = \"off\"");
        edm.status_becomes("/config/disabled", true).await;
        edm.status_becomes("/core/connected", false).await;
        quickest = quickest.min(switched.elapsed());
        // A second is promised; a test machine that compiles beside this gets some more, and may be late now and then.
        if quickest < Duration::from_secs(3) {
            break;
        }
        edm.files().write_config("revision = \"on\"\nwell-known-domains-file = \"well-known-domains.dawg\"");
        edm.status_becomes("/core/connected", true).await;
    }
    assert!(quickest < Duration::from_secs(3), "{quickest:?}");
    resolver.answered("hidden.example.", CLIENT).await;
    edm.metric_becomes("frames_total{outcome=\"not_sending\"}", 1).await;
    core.nothing_more().await;

    edm.files().write_config("revision = \"on\"\nwell-known-domains-file = \"well-known-domains.dawg\"");
    edm.status_becomes("/core/connected", true).await;
    core.nothing_more().await;
    resolver.answered("shown.example.", CLIENT).await;
    assert_eq!(core.name().await, "shown.example.");
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_an_absent_broker_is_forgotten_when_disabled() {
    let core = Core::start().await;
    let edm = Edm::start(|files| {
        whole(&core)(files);
        files.write_identity(&core.authority, "mqtts://localhost:1", &core.key);
    })
    .await;
    let mut resolver = edm.connect().await;
    resolver.answered("waiting.example.", CLIENT).await;
    edm.status_becomes("/edm/eventsQueued", 1).await;
    edm.files().write_config("disabled = true");
    edm.status_becomes("/edm/eventsQueued", 0).await;
    edm.metric_becomes("events_disabled_total", 1).await;

    // Core was not told, so the name is new still.
    edm.files().write_config("revision = \"on\"\nwell-known-domains-file = \"well-known-domains.dawg\"");
    edm.status_becomes("/config/revision", "on").await;
    resolver.answered("waiting.example.", CLIENT).await;
    edm.status_becomes("/edm/eventsQueued", 1).await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_with_nothing_and_takes_up_each_part_as_it_comes() {
    let mut core = Core::start().await;
    let edm = Edm::start(|_| ()).await;
    let files = edm.files();
    let mut resolver = edm.connect().await;
    resolver.answered("x.from-edge.looptest.dnstapir.se.", CLIENT).await;
    edm.metric_becomes("frames_total{outcome=\"not_sending\"}", 1).await;
    assert!(edm.status().await["config"]["error"].as_str().unwrap().contains("edm.toml is missing"));
    assert_eq!(edm.get("/readyz").await.trim(), "no configuration");

    files.write_config("revision = \"1\"");
    edm.status_becomes("/config/revision", "1").await;
    assert!(edm.status().await["identityError"].as_str().unwrap().contains("missing"));
    resolver.answered("x.from-edge.looptest.dnstapir.se.", CLIENT).await;
    resolver.answered("www.example.", CLIENT).await;
    edm.status_becomes("/edm/eventsQueued", 1).await;
    edm.metric_becomes("event_candidates_total{outcome=\"no_list\"}", 1).await;

    core.identity(&files);
    assert_eq!(core.name().await, "x.from-edge.looptest.dnstapir.se.");

    // A configuration that is refused leaves the last one in force, and says which line is wrong.
    files.write_config("revision = \"2\"\nmqtt-keepalives = 30");
    until("refusal", async || {
        edm.status().await["config"]["error"]
            .as_str()
            .is_some_and(|error| error.contains("mqtt-keepalives") && error.contains('6'))
    })
    .await;
    assert_eq!(edm.status().await["config"]["revision"], "1");

    // So does a broken list.
    files.write("well-known-domains.dawg", b"nonsense");
    files.write_config("revision = \"3\"\nwell-known-domains-file = \"well-known-domains.dawg\"");
    until("refusal", async || {
        edm.status().await["config"]["error"].as_str().is_some_and(|error| error.contains("well-known-domains.dawg"))
    })
    .await;
    assert_eq!(edm.status().await["config"]["revision"], "3");
    files.write_list(&["known.example."]);
    edm.status_becomes("/edm/wellKnownDomains", 1).await;
    edm.status_becomes("/config/error", Value::Null).await;
    resolver.answered("known.example.", CLIENT).await;
    resolver.answered("unknown.example.", CLIENT).await;
    assert_eq!(core.name().await, "unknown.example.");

    // What is in force stays when the whole folder is emptied.
    for entry in std::fs::read_dir(files.config()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    until("refusal", async || {
        edm.status().await["config"]["error"].as_str().is_some_and(|error| error.contains("edm.toml is missing"))
    })
    .await;
    resolver.answered("last.example.", CLIENT).await;
    assert_eq!(core.name().await, "last.example.");
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_is_sent_before_the_end() {
    let mut core = Core::start().await;
    let edm = Edm::start(whole(&core)).await;
    edm.status_becomes("/core/connected", true).await;
    let mut resolver = edm.connect().await;
    // More than are on their way at once, and no more than a slow machine sends in the time that there is for it.
    const EVENTS: usize = 60;
    for index in 0..EVENTS {
        resolver.answered(&format!("n{index}.example."), CLIENT).await;
    }
    resolver.stop().await;
    edm.stop().await;
    for _ in 0..EVENTS {
        core.event().await;
    }
    core.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn places_that_cannot_be_had_leave_the_old_ones_in_service_and_are_told() {
    let edm = Edm::start(|files| files.write_config("revision = \"old\"")).await;
    edm.status_becomes("/config/revision", "old").await;
    let files = edm.files();
    let occupant = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (http, socket) = (occupant.local_addr().unwrap(), files.config().join("occupied"));
    files.write("occupied", b"precious");
    let text = format!("format = 1\nrevision = \"new\"\ninput-unix = \"{}\"\nhttp-listen = \"{http}\"\n", socket.display());
    files.write("edm.toml", text.as_bytes());
    edm.status_becomes("/config/revision", "new").await;
    until("both reasons", async || {
        let status = edm.status().await;
        let error = status["config"]["error"].as_str().unwrap_or_default();
        error.contains("dnstap input: ") && error.contains(&format!("http-listen: {http}: "))
    })
    .await;
    assert_eq!(edm.get("/readyz").await.trim(), "ok");
    edm.connect().await.stop().await;

    files.write_config("revision = \"old again\"");
    edm.status_becomes("/config/revision", "old again").await;
    edm.status_becomes("/config/error", Value::Null).await;
    edm.connect().await.stop().await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_in_the_clear_is_refused_and_the_connection_stays() {
    let mut core = Core::start().await;
    let edm = Edm::start(whole(&core)).await;
    edm.status_becomes("/core/connected", true).await;
    let plain = core.broker.url().replace("mqtts", "mqtt");
    let document = format!(r#"{{"format":1,"name":"{NODE}","mqttBroker":"{plain}","mqttTopics":{{}}}}"#);
    edm.files().write("node.json", document.as_bytes());
    until("refusal", async || {
        let status = edm.status().await;
        status["identityError"].as_str().is_some_and(|error| error.contains("mqttBroker") && error.contains(&plain))
    })
    .await;
    let mut resolver = edm.connect().await;
    resolver.answered("encrypted.example.", CLIENT).await;
    assert_eq!(core.name().await, "encrypted.example.");
    edm.metric_becomes("mqtt_connects_total", 1).await;
    edm.metric_becomes("mqtt_failures_total", 0).await;
    edm.stop().await;
}
