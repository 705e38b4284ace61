use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use tapir_wire::jwk::TrustedKeys;
use tapir_wire::node_name::NodeName;

use super::super::gate::tests::{events, offer, open_settings, until};
use super::super::{Outcome, Settings};
use super::*;
use crate::vectors;

fn key() -> Arc<DataKey> {
    Arc::new(DataKey::generate(&NodeName::parse("node1.example.com").unwrap()).unwrap())
}

fn put(events: &Events, names: &[&str]) {
    let before = events.held().events;
    names.iter().for_each(|name| assert_eq!(offer(events, name), Outcome::Queued));
    until("they are written", || events.held().events == before + names.len() as u64);
}

fn name(message: &str, key: &DataKey) -> String {
    let keys = TrustedKeys::from_value(&serde_json::json!({ "keys": [key.public_jwk()] })).unwrap();
    let payload = jws::verify(message.as_bytes(), &keys).unwrap();
    let event: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    event["qname"].as_str().unwrap().to_owned()
}

/// A broker that takes what it is sent, and answers thus to `bad` names. When nothing is left for it the connection is lost.
async fn one_round(events: &Events, refusals: &mut Refusals, error: &PublishError) -> (Vec<String>, PublishError) {
    let (key, taken) = (key(), Mutex::new(Vec::new()));
    let publish = |topic: Arc<str>, message: String, qos| {
        let (name, taken) = (name(&message, &key), &taken);
        assert_eq!((&*topic, qos), ("events/up/node1.example.com/new_qname", Qos::AtLeastOnce));
        let is_bad = name.contains("bad");
        let steps = name.len();
        if !is_bad {
            taken.lock().unwrap().push(name);
        }
        async move {
            for _ in 0..steps {
                tokio::task::yield_now().await;
            }
            if is_bad { Err(error.clone()) } else { Ok(()) }
        }
    };
    let for_round = Arc::clone(&key);
    let keys = move || Some(Arc::clone(&for_round));
    let over = async {
        while !events.is_empty() {
            sleep(LOOK).await;
        }
    };
    let error = tokio::select! {
        error = round(events, &keys, refusals, publish) => error,
        () = over => PublishError::NotConnected,
    };
    (taken.into_inner().unwrap(), error)
}

#[tokio::test]
async fn what_is_sent_is_signed_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(folder.path());
    let names: Vec<String> = (0..3000).map(|number| format!("n{number:05}.example.com.")).collect();
    put(&events, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let (taken, _) = one_round(&events, &mut Refusals::default(), &PublishError::NotConnected).await;
    assert!(taken == names);
    assert_eq!((events.held().events, events.counters().sent.get()), (0, 3000));
}

#[tokio::test]
async fn only_what_failed_is_tried_again() {
    for error in [PublishError::Refused("x".to_owned()), PublishError::ConnectionLost, PublishError::NotConnected] {
        let folder = tempfile::tempdir().unwrap();
        let events = events(folder.path());
        put(&events, &["one-that-takes-long.example.", "bad.example.", "another-that-takes-long.example."]);
        let (taken, told) = one_round(&events, &mut Refusals::default(), &error).await;
        assert_eq!((taken.len(), &told), (2, &error));
        assert_eq!((events.held().events, events.counters().sent.get()), (1, 2), "{error}");
        assert!(!events.queue().read().is_empty(), "it waits again");
    }
}

#[tokio::test]
async fn what_is_refused_while_others_are_taken_is_given_up_at_last() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(folder.path());
    let (refused, mut refusals) = (PublishError::Refused("x".to_owned()), Refusals::default());
    put(&events, &["bad.example."]);
    for _ in 0..10 {
        one_round(&events, &mut refusals, &refused).await;
    }
    assert_eq!(events.held().events, 1, "all are refused, so the reason is another one");
    for number in 1..=REFUSALS {
        assert_eq!(events.counters().unsendable.get(), 0, "round {number}");
        put(&events, &[&format!("good{number}.example.")]);
        one_round(&events, &mut refusals, &refused).await;
    }
    assert_eq!((events.held().events, events.counters().unsendable.get()), (0, 1));
}

/// Each event is acknowledged when the next one is on its way: there is always one.
#[tokio::test]
async fn what_is_refused_is_tried_again_however_many_others_come() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(folder.path());
    put(&events, &["bad.example.", "n0.example."]);
    let (key, published) = (key(), AtomicUsize::new(0));
    let publish = |_: Arc<str>, message: String, _| {
        let is_bad = name(&message, &key).contains("bad");
        let (published, events) = (&published, &events);
        let number = published.fetch_add(usize::from(!is_bad), Relaxed) + 1;
        async move {
            if is_bad {
                return Err(PublishError::Refused("x".to_owned()));
            }
            offer(events, &format!("n{number}.example."));
            let next = async {
                while published.load(Relaxed) <= number {
                    sleep(LOOK).await;
                }
            };
            // When the round is over no other one comes.
            let _ = timeout(Duration::from_secs(2), next).await;
            Ok(())
        }
    };
    let for_round = Arc::clone(&key);
    let (keys, mut refusals) = (move || Some(Arc::clone(&for_round)), Refusals::default());
    let error = timeout(Duration::from_secs(60), round(&events, &keys, &mut refusals, publish)).await;
    assert_eq!(error, Ok(PublishError::Refused("x".to_owned())));
    assert!(events.counters().sent.get() > 10, "{:?}", events.counters().sent);
    let again = Mutex::new(Vec::new());
    let note = |_: Arc<str>, message: String, _| {
        again.lock().unwrap().push(name(&message, &key));
        std::future::ready(Err(PublishError::NotConnected))
    };
    round(&events, &keys, &mut refusals, note).await;
    assert_eq!(again.lock().unwrap()[0], "bad.example.");
}

#[test]
fn pauses_begin_small_again_when_something_went_well() {
    let refused = PublishError::Refused("x".to_owned());
    let (short, long) = (Duration::from_secs(9), Duration::from_secs(90));
    assert!(went_well(&PublishError::NotConnected, true, short) && went_well(&refused, true, long));
    assert!(!went_well(&PublishError::NotConnected, false, short) && !went_well(&refused, true, short));
    assert!(!went_well(&refused, false, long), "it took none");
}

#[tokio::test]
async fn a_key_that_is_missing_is_looked_for_now_and_then() {
    let folder = tempfile::tempdir().unwrap();
    for sent_a_second in [0, 2000] {
        let events = events(&folder.path().join(sent_a_second.to_string()));
        events.configure(Settings { sent_a_second, ..open_settings() });
        put(&events, &["www.example.com."]);
        let (looks, key, begun) = (Arc::new(AtomicUsize::new(0)), key(), Instant::now());
        let (theirs, there) = (Arc::clone(&looks), Arc::clone(&key));
        let keys = move || (theirs.fetch_add(1, Relaxed) >= 10).then(|| Arc::clone(&there));
        let publish = |_: Arc<str>, _, _| std::future::ready(Err(PublishError::NotConnected));
        let error = round(&events, &keys, &mut Refusals::default(), publish).await;
        let looks = looks.load(Relaxed);
        assert!(error == PublishError::NotConnected && (11..20).contains(&looks), "{error} {looks}");
        assert!(begun.elapsed() >= 10 * LOOK, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn names_are_sent_in_lower_case_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(folder.path());
    events.configure(Settings { lower_case: true, ..open_settings() });
    put(&events, &["WWW.Example.com."]);
    let (taken, _) = one_round(&events, &mut Refusals::default(), &PublishError::NotConnected).await;
    assert_eq!(taken, ["www.example.com."]);
}

#[tokio::test]
async fn it_goes_no_faster_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(folder.path());
    events.configure(Settings { sent_a_second: 200, ..open_settings() });
    let names: Vec<String> = (0..100).map(|number| format!("n{number}.example.com.")).collect();
    put(&events, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let begun = Instant::now();
    let (taken, _) = one_round(&events, &mut Refusals::default(), &PublishError::NotConnected).await;
    assert_eq!(taken.len(), 100);
    // Half a second, but for the first ones that go at once.
    assert!(begun.elapsed() > Duration::from_millis(350), "{:?}", begun.elapsed());
}

#[test]
fn recorded_signatures() {
    let vector = vectors::load("jws.json");
    let key = DataKey::from_jwk(&vectors::load("http_signature.json")["jwk_private"].to_string()).unwrap();
    for entry in vector["vectors"].as_array().unwrap() {
        let message = jws::sign_flattened(entry["payload_utf8"].as_str().unwrap().as_bytes(), &key);
        assert_eq!(message, entry["jws_json"].as_str().unwrap(), "{}", entry["desc"]);
    }
    assert_eq!(event::topic(key.kid()), vectors::load("mqtt.json")["publish_topic"].as_str().unwrap());
}
