//! What Core is told of EDM: the real program, and a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/process.rs"]
mod process;
#[path = "support/receiver.rs"]
mod receiver;
mod support;

use process::Process;
use receiver::{Act, Receiver};
use serde_json::Value;
use support::broker::{Authority, soon};
use support::core::Core;
use support::{Files, NODE};
use tapir_runtime::mqtt::Incoming;
use tapir_wire::jws;

const LIST: &str = "well-known-domains-file = \"well-known-domains.dawg\"\nenable-manual-parquet-rotation = true\n";
const ON: &str = "telemetry = true\n";

fn whole(core: &Core, more: &str) -> impl FnOnce(&Files) {
    move |files| {
        files.write_list(&["known.example."]);
        files.write_config(&format!("{LIST}{more}"));
        core.identity(files);
    }
}

/// The next thing that Core is told of EDM itself, its signature checked.
async fn told(core: &mut Core) -> Value {
    loop {
        let Incoming { topic, payload } = soon("telemetry", core.eye.incoming.recv()).await.unwrap();
        if topic == format!("events/up/{NODE}/new_qname") {
            continue;
        }
        assert_eq!(topic, format!("status/up/{NODE}/tapir-edm"));
        return serde_json::from_slice(&jws::verify(&payload, &core.trusted).unwrap()).unwrap();
    }
}

/// The event of a part, as Core is told of it.
async fn event(core: &mut Core, component: &str) -> Value {
    loop {
        let told = told(core).await;
        let events = told["Events"].as_array().unwrap().clone();
        if let Some(event) = events.into_iter().rfind(|event| event["Component"] == component) {
            return event;
        }
    }
}

/// Has this event, under one identifier, once in the log, in the status, and in the metrics.
async fn is_the_same_everywhere(edm: &Process, event: &Value) {
    let (id, component, message) = (event["Id"].as_str().unwrap(), &event["Component"], event["Msg"].as_str().unwrap());
    edm.logged(id).await;
    let log = edm.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(id)).collect();
    assert!(lines.len() == 1 && lines[0].contains(message), "{lines:?}");
    let status = edm.status().await["edm"]["incidents"].clone();
    let same = |known: &&Value| known["id"] == id && known["component"] == *component && known["message"] == message;
    assert_eq!(status.as_array().unwrap().iter().filter(same).count(), 1, "{status}");
    let line = format!("tapir_edm_exceptional_events_total{{component={component}}}");
    edm.metric_becomes(&line, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_is_told_nothing_of_edm_unless_that_is_asked_for() {
    let mut core = Core::start().await;
    let edm = Process::start(whole(&core, ""));
    edm.status_becomes("/core/connected", true).await;
    let mut resolver = edm.connect().await;
    // Something that would be told.
    edm.files().write("well-known-domains.dawg", b"nonsense");
    edm.is_wrong("well-known-domains.dawg").await;
    edm.metric_becomes("tapir_edm_exceptional_events_total{component=\"edm-lists\"}", 1).await;
    resolver.answered("a.example.", "198.51.100.77").await;
    let message = soon("the event", core.eye.incoming.recv()).await.unwrap();
    assert_eq!(message.topic, format!("events/up/{NODE}/new_qname"), "and nothing before it");
    core.nothing_more().await;

    // Switched on while it runs, it is told at once.
    edm.files().write_config(&format!("{LIST}{ON}"));
    let told = told(&mut core).await;
    assert_eq!(told["ComponentStatus"]["edm-lists"]["Status"], 1);
    // And nothing more comes after it was switched off, whatever happens.
    edm.files().write_config(&format!("{LIST}revision = \"off\"\n"));
    edm.status_becomes("/config/revision", "off").await;
    while core.eye.incoming.try_recv().is_ok() {}
    edm.files().write("edm.toml", b"format = 2\nnonsense = 1");
    edm.metric_becomes("tapir_edm_exceptional_events_total{component=\"edm-config\"}", 1).await;
    core.nothing_more().await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_in_upstreams_form_with_figures_and_without_names() {
    let mut core = Core::start().await;
    let edm = Process::start(whole(&core, ON));
    let first = told(&mut core).await;
    let members: Vec<_> = first.as_object().unwrap().keys().collect();
    assert_eq!(members, ["Function", "FunctionID", "ComponentStatus", "NumFailures", "LastFailure", "Events", "Counters"]);
    assert_eq!(first["Function"], "tapir-edm");
    let drawn = std::fs::read_to_string(edm.files().data().join("instance")).unwrap();
    assert_eq!(first["FunctionID"], format!("{NODE}-{}", &drawn[..8]), "nothing of the machine");
    let parts: Vec<_> = first["ComponentStatus"].as_object().unwrap().keys().map(String::as_str).collect();
    let known =
        ["cert-status", "edm-aggregates", "edm-config", "edm-events", "edm-input", "edm-lists", "main-boot", "mqtt-event"];
    assert_eq!(parts, known);
    for part in first["ComponentStatus"].as_object().unwrap().values() {
        assert_eq!(part["Status"], 2, "{part}");
    }
    let mut resolver = edm.connect().await;
    for name in ["known.example.", "alice.example.", "known.example."] {
        resolver.answered(name, "198.51.100.77").await;
    }
    edm.status_becomes("/edm/eventsSent", 1).await;
    // An event brings the next one, with the figures of this moment.
    edm.files().write("well-known-domains.dawg", b"nonsense");
    let second = told(&mut core).await;
    let figures = second["Counters"].as_object().unwrap();
    assert_eq!(figures["frames_total{outcome=well_known}"], 2);
    assert_eq!(figures["events_sent_total"], 1);
    assert!(figures.values().all(Value::is_i64) && !figures.keys().any(|name| name.contains("build_info")), "{figures:?}");
    let text = second.to_string();
    for secret in ["198.51", "alice", "known.example", "dawg", "/config", "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_has_one_identifier_in_log_status_and_telemetry() {
    let mut core = Core::start().await;
    let refusing = Receiver::start(&[Act::Status(400)]).await;
    let authority = Authority::new("another CA");
    let edm = Process::start(|files| {
        whole(&core, ON)(files);
        files.write("core.crt", authority.pem().as_bytes());
        let told = format!(r#""mqttBroker":"{}","aggrecUrl":"{}""#, core.broker.url(), refusing.url());
        files.write_identity_for(&core.authority, &told, &core.key);
        files.write_config(&format!("{LIST}{ON}http-ca-file = \"core.crt\"\n"));
    });
    edm.status_becomes("/edm/wellKnownDomains", 1).await;
    // An aggregate that Core refuses for good, and that is kept apart.
    let mut resolver = edm.connect().await;
    resolver.answered("known.example.", "198.51.100.77").await;
    edm.metric_becomes("tapir_edm_frames_total{outcome=\"well_known\"}", 1).await;
    support::ask(edm.port(), "POST", "/debug/rotate-parquet").await;
    let refused = event(&mut core, "edm-aggregates").await;
    assert!(refused["Msg"].as_str().unwrap().starts_with("Core refuses aggregates for good"), "{refused}");
    is_the_same_everywhere(&edm, &refused).await;
    // A list that is none.
    edm.files().write("well-known-domains.dawg", b"nonsense");
    is_the_same_everywhere(&edm, &event(&mut core, "edm-lists").await).await;
    // A configuration that is refused.
    edm.files().write("edm.toml", b"format = 2\nnonsense = 1");
    is_the_same_everywhere(&edm, &event(&mut core, "edm-config").await).await;
    edm.files().write_list(&["known.example."]);
    edm.files().write_config(&format!("{LIST}{ON}"));
    edm.status_becomes("/config/error", Value::Null).await;
    resolver.answered("b.example.", "198.51.100.77").await;
    edm.status_becomes("/edm/eventsSent", 1).await;
    // A store of names that is damaged.
    let edm = edm
        .again(|files| {
            for entry in std::fs::read_dir(files.data().join("seen")).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|ending| ending == "log") {
                    std::fs::write(path, b"no log at all, and longer than any header is").unwrap();
                }
            }
        })
        .await;
    let damaged = event(&mut core, "edm-events").await;
    assert!(damaged["Msg"].as_str().unwrap().contains("are damaged"), "{damaged}");
    is_the_same_everywhere(&edm, &damaged).await;
    edm.stop().await;
}
