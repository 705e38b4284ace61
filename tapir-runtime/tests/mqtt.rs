//! The broker connection against a real mosquitto: MQTT 5, mutual TLS, rights by common name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use support::{Authority, Broker, PATIENCE, settings, soon};
use tapir_runtime::mqtt::{self, Incoming, MqttHandle, MqttSettings, PublishError, Qos};
use tapir_runtime::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::timeout;

const EVENTS: &str = "events/up/node-a.test/new_qname";
const OBSERVATIONS: &str = "observations/down/tapir-pop";

/// Long enough to see that something does not happen.
const MOMENT: Duration = Duration::from_millis(400);

struct Client {
    handle: MqttHandle,
    settings: watch::Sender<Option<MqttSettings>>,
    shutdown: Shutdown,
}

impl Client {
    fn start(settings: MqttSettings, capacity: usize) -> Self {
        let (sender, receiver) = watch::channel(Some(settings));
        let (_, shutdown) = Shutdown::manual();
        Self { handle: mqtt::spawn_with_capacity(receiver, shutdown.clone(), capacity), settings: sender, shutdown }
    }

    async fn connected(&mut self) {
        soon("connection", self.handle.state.wait_for(|state| state.connected)).await.unwrap();
    }

    async fn disconnected(&mut self) {
        soon("disconnection", self.handle.state.wait_for(|state| !state.connected)).await.unwrap();
    }

    async fn next(&mut self) -> Incoming {
        soon("message", self.handle.incoming.recv()).await.unwrap()
    }
}

struct Scene {
    authority: Authority,
    broker: Broker,
}

impl Scene {
    fn new() -> Self {
        let authority = Authority::new("node CA");
        let broker = Broker::start(&authority);
        Self { authority, broker }
    }

    fn settings(&self, name: &str) -> MqttSettings {
        settings(&self.broker.url(), &self.authority, &self.authority, name)
    }

    fn subscriber(&self) -> MqttSettings {
        let mut settings = self.settings("node-a.test");
        settings.subscriptions = vec![(OBSERVATIONS.to_owned(), Qos::AtLeastOnce)];
        settings
    }

    async fn connect(&self, settings: MqttSettings) -> Client {
        let mut client = Client::start(settings, mqtt::INCOMING_CAPACITY);
        client.connected().await;
        client
    }
}

#[tokio::test]
async fn a_qos_1_publish_resolves_at_puback_and_not_before() {
    let scene = Scene::new();
    let client = scene.connect(scene.settings("node-a.test")).await;
    soon("publish", client.handle.publisher.publish(EVENTS, "one", Qos::AtLeastOnce)).await.unwrap();

    scene.broker.signal(Signal::SIGSTOP);
    let publisher = client.handle.publisher.clone();
    let mut publishing = tokio::spawn(async move { publisher.publish(EVENTS, "two", Qos::AtLeastOnce).await });
    assert!(timeout(MOMENT, &mut publishing).await.is_err(), "resolved while the broker slept");
    scene.broker.signal(Signal::SIGCONT);
    assert_eq!(soon("publish", publishing).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_publish_on_a_connection_that_breaks_fails_and_nothing_is_sent_twice() {
    let mut scene = Scene::new();
    let mut client = scene.connect(scene.settings("node-a.test")).await;
    scene.broker.signal(Signal::SIGSTOP);
    let publishing: Vec<_> = (0..100)
        .map(|_| {
            let publisher = client.handle.publisher.clone();
            tokio::spawn(async move { publisher.publish(EVENTS, "lost", Qos::AtLeastOnce).await })
        })
        .collect();
    tokio::time::sleep(MOMENT).await;
    scene.broker.kill();
    for publish in publishing {
        assert_eq!(soon("failure", publish).await.unwrap(), Err(PublishError::ConnectionLost));
    }
    client.disconnected().await;
    assert_eq!(client.handle.publisher.publish(EVENTS, "x", Qos::AtLeastOnce).await, Err(PublishError::NotConnected));

    scene.broker.start_again();
    client.connected().await;
    soon("publish", client.handle.publisher.publish(EVENTS, "new", Qos::AtLeastOnce)).await.unwrap();
    // Once: the 100 lost ones belong to their publishers.
    assert_eq!(scene.broker.log().matches("Received PUBLISH from node-a.test-test").count(), 1);
}

#[tokio::test]
async fn what_the_broker_refuses_or_cannot_take_is_told() {
    let scene = Scene::new();
    let client = scene.connect(scene.settings("node-a.test")).await;
    let publish = |topic: &'static str, length: usize| {
        let publisher = client.handle.publisher.clone();
        async move { soon("answer", publisher.publish(topic, vec![b'x'; length], Qos::AtLeastOnce)).await }
    };
    assert_eq!(publish("events/up/node-b.test/new_qname", 1).await, Err(PublishError::Refused("NotAuthorized".to_owned())));
    assert!(matches!(publish("events/#", 1).await, Err(PublishError::Invalid(_))));
    assert!(matches!(publish(EVENTS, 100_001).await, Err(PublishError::Invalid(_))));
    // None of this cost the connection.
    assert_eq!(publish(EVENTS, 90_000).await, Ok(()));
    assert_eq!(client.handle.metrics.connects.get(), 1);
    assert_eq!(client.handle.metrics.failures.get(), 0);
}

#[tokio::test]
async fn qos_0_works_too() {
    let scene = Scene::new();
    let client = scene.connect(scene.settings("node-a.test")).await;
    soon("publish", client.handle.publisher.publish(EVENTS, "zero", Qos::AtMostOnce)).await.unwrap();
    scene.broker.logged("Received PUBLISH from node-a.test-test (d0, q0").await;
}

#[tokio::test]
async fn after_a_restart_of_the_broker_it_reconnects_and_subscribes_again() {
    let mut scene = Scene::new();
    let mut client = scene.connect(scene.subscriber()).await;
    let mut core = scene.connect(scene.settings("core")).await;
    for round in 0..3 {
        let text = format!("observation {round}");
        soon("publish", core.handle.publisher.publish(OBSERVATIONS, text.clone(), Qos::AtMostOnce)).await.unwrap();
        assert_eq!(client.next().await, Incoming { topic: OBSERVATIONS.to_owned(), payload: text.into() });
        scene.broker.kill();
        client.disconnected().await;
        core.disconnected().await;
        assert!(client.handle.state.borrow().error.is_some(), "the reason is told");
        scene.broker.start_again();
        client.connected().await;
        core.connected().await;
        assert_eq!(client.handle.state.borrow().error, None);
    }
    assert_eq!(client.handle.metrics.connects.get(), 4);
}

#[tokio::test]
async fn it_waits_for_a_broker_that_comes_late() {
    let mut scene = Scene::new();
    scene.broker.kill();
    let mut client = Client::start(scene.subscriber(), 1);
    soon("failures", async {
        while client.handle.metrics.failures.get() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let error = client.handle.state.borrow().error.clone().unwrap();
    assert!(error.contains("refused"), "{error}");
    scene.broker.start_again();
    client.connected().await;
}

#[tokio::test]
async fn a_new_certificate_means_an_orderly_reconnect_on_the_same_channel() {
    let scene = Scene::new();
    let core = scene.connect(scene.settings("core")).await;
    let mut client = scene.connect(scene.subscriber()).await;

    // The same settings again: a reload that changed nothing leaves the connection alone.
    let same = client.settings.borrow().clone();
    client.settings.send_replace(same);
    assert!(timeout(MOMENT, client.handle.state.changed()).await.is_err());

    // A message that waits unread must survive, too.
    soon("publish", core.handle.publisher.publish(OBSERVATIONS, "before", Qos::AtLeastOnce)).await.unwrap();
    soon("arrival", async {
        while client.handle.metrics.received.get() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let in_use = client.handle.state.borrow().certificate_serial.clone();
    assert!(in_use.is_some());
    client.settings.send_replace(Some(scene.subscriber()));
    soon("second connection", async {
        while client.handle.metrics.connects.get() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let wanted = client.settings.borrow().as_ref().unwrap().certificate_serial.clone();
    assert_ne!(wanted, in_use);
    assert_eq!(client.handle.state.borrow().certificate_serial, wanted, "the certificate in use is told");
    soon("publish", core.handle.publisher.publish(OBSERVATIONS, "after", Qos::AtLeastOnce)).await.unwrap();
    assert_eq!(client.next().await.payload, "before");
    assert_eq!(client.next().await.payload, "after");
    assert_eq!(client.handle.metrics.failures.get(), 0);
    let log = scene.broker.log();
    assert!(log.contains("Received DISCONNECT from node-a.test-test"), "{log}");
    assert!(!log.contains("already connected"), "{log}");
}

/// As POP subscribes: what comes while the certificate changes waits at the broker.
#[tokio::test]
async fn what_streams_in_while_the_certificate_changes_again_and_again_all_arrives() {
    const CHANGES: u64 = 5;
    let scene = Scene::new();
    let core = scene.connect(scene.settings("core")).await;
    let settings = || MqttSettings { clean_start: false, session_expiry: Some(60), ..scene.subscriber() };
    let mut client = scene.connect(settings()).await;
    let (connects, dropped, failures) = {
        let metrics = &client.handle.metrics;
        (metrics.connects.clone(), metrics.dropped.clone(), metrics.failures.clone())
    };
    let changing = async {
        for change in 1..=CHANGES {
            tokio::time::sleep(Duration::from_millis(50)).await;
            client.settings.send_replace(Some(settings()));
            while connects.get() <= change {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let publishing = async {
        let mut changing = std::pin::pin!(changing);
        let mut published = 0_u32;
        loop {
            tokio::select! {
                () = &mut changing => return published,
                sent = core.handle.publisher.publish(OBSERVATIONS, published.to_string(), Qos::AtLeastOnce) => sent.unwrap(),
            }
            published += 1;
        }
    };
    let mut arrived = std::collections::BTreeSet::new();
    let published = {
        let mut publishing = std::pin::pin!(publishing);
        soon("changes", async {
            loop {
                tokio::select! {
                    published = &mut publishing => return published,
                    Some(message) = client.handle.incoming.recv() => { arrived.insert(message.payload); }
                }
            }
        })
        .await
    };
    let missing = |arrived: &std::collections::BTreeSet<bytes::Bytes>| {
        (0..published).filter(|number| !arrived.contains(number.to_string().as_bytes())).collect::<Vec<_>>()
    };
    while !missing(&arrived).is_empty() {
        let more = timeout(PATIENCE, client.handle.incoming.recv()).await;
        let Ok(Some(message)) = more else { panic!("of {published} never came {:?}", missing(&arrived)) };
        arrived.insert(message.payload);
    }
    assert!(published > 100, "{published} messages are no stream");
    assert_eq!((dropped.get(), failures.get()), (0, 0));
}

#[tokio::test]
async fn messages_on_their_way_are_acknowledged_before_an_orderly_reconnect() {
    let scene = Scene::new();
    let mut client = scene.connect(scene.settings("node-a.test")).await;
    let publishing: Vec<_> = (0..200)
        .map(|_| {
            let publisher = client.handle.publisher.clone();
            tokio::spawn(async move { publisher.publish(EVENTS, "event", Qos::AtLeastOnce).await })
        })
        .collect();
    client.settings.send_replace(Some(scene.settings("node-a.test")));
    let mut acknowledged = 0;
    for publish in publishing {
        acknowledged += usize::from(soon("answer", publish).await.unwrap().is_ok());
    }
    soon("second connection", async {
        while client.handle.metrics.connects.get() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    client.connected().await;
    // What the broker got and what the publishers were told agree: no duplicates when they send the rest again.
    assert_eq!(scene.broker.log().matches("Received PUBLISH from node-a.test-test").count(), acknowledged);
}

#[tokio::test]
async fn a_broker_of_another_authority_is_never_connected_and_the_reason_is_told() {
    let scene = Scene::new();
    let other = Authority::new("another CA");
    let client = Client::start(settings(&scene.broker.url(), &scene.authority, &other, "node-a.test"), 1);
    soon("failures", async {
        while client.handle.metrics.failures.get() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let error = client.handle.state.borrow().error.clone().unwrap();
    assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");
    assert_eq!(client.handle.metrics.connects.get(), 0);
    assert!(!scene.broker.log().contains("node-a.test-test"));
}

#[tokio::test]
async fn a_broker_of_another_name_is_never_connected() {
    let scene = Scene::new();
    let mut settings = scene.settings("node-a.test");
    // mosquitto listens there too, but its certificate names only `localhost` and 127.0.0.1.
    settings.url = format!("mqtts://[::ffff:127.0.0.1]:{}", scene.broker.port);
    let client = Client::start(settings, 1);
    soon("failure", async {
        while client.handle.metrics.failures.get() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let error = client.handle.state.borrow().error.clone().unwrap();
    assert!(error.contains("not valid for name"), "{error}");
    assert_eq!(client.handle.metrics.connects.get(), 0);
}

#[tokio::test]
async fn a_certificate_that_the_broker_refuses_heals_when_it_is_replaced() {
    let scene = Scene::new();
    let other = Authority::new("another CA");
    let mut client = Client::start(settings(&scene.broker.url(), &other, &scene.authority, "node-a.test"), 1);
    soon("failure", async {
        while client.handle.metrics.failures.get() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let error = client.handle.state.borrow().error.clone().unwrap();
    assert!(error.contains("UnknownCA") || error.contains("unknown"), "{error}");
    client.settings.send_replace(Some(scene.settings("node-a.test")));
    client.connected().await;
}

#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let scene = Scene::new();
    let mut client = Client::start(scene.subscriber(), 4);
    client.connected().await;
    let core = scene.connect(scene.settings("core")).await;
    for number in 0..20 {
        soon("publish", core.handle.publisher.publish(OBSERVATIONS, number.to_string(), Qos::AtLeastOnce)).await.unwrap();
    }
    soon("arrival", async {
        while client.handle.metrics.received.get() < 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(client.handle.metrics.dropped.get(), 16);
    for number in 0..4 {
        assert_eq!(client.next().await.payload, number.to_string());
    }
    assert!(client.handle.incoming.try_recv().is_err());
    // And it goes on.
    soon("publish", core.handle.publisher.publish(OBSERVATIONS, "20", Qos::AtLeastOnce)).await.unwrap();
    assert_eq!(client.next().await.payload, "20");
}

async fn publish_and_arrive(core: &Client, client: &Client, count: u64, length: usize) {
    let before = client.handle.metrics.received.get();
    for _ in 0..count {
        let payload = vec![b'x'; length];
        soon("publish", core.handle.publisher.publish(OBSERVATIONS, payload, Qos::AtLeastOnce)).await.unwrap();
    }
    soon("arrival", async {
        while client.handle.metrics.received.get() < before + count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn large_messages_are_bounded_by_their_octets_long_before_their_count() {
    const LENGTH: usize = 90_000;
    let scene = Scene::new();
    let mut client = scene.connect(scene.subscriber()).await;
    let core = scene.connect(scene.settings("core")).await;
    let fitting = mqtt::INCOMING_OCTETS / LENGTH;
    publish_and_arrive(&core, &client, 60, LENGTH).await;
    assert_eq!(client.handle.metrics.dropped.get(), 60 - fitting as u64);
    // What the program has dropped leaves room; what it still holds does not.
    let held = client.next().await;
    assert_eq!(held.payload.len(), LENGTH);
    publish_and_arrive(&core, &client, 1, LENGTH).await;
    assert_eq!(client.handle.metrics.dropped.get(), 61 - fitting as u64);
    drop(held);
    publish_and_arrive(&core, &client, 1, LENGTH).await;
    assert_eq!(client.handle.metrics.dropped.get(), 61 - fitting as u64);
}

#[tokio::test]
async fn what_nobody_listens_to_is_discarded_at_once() {
    let scene = Scene::new();
    let mut client = scene.connect(scene.subscriber()).await;
    let core = scene.connect(scene.settings("core")).await;
    client.handle.incoming.close();
    publish_and_arrive(&core, &client, 3, 10).await;
    assert_eq!(client.handle.metrics.dropped.get(), 3);
    assert!(client.handle.state.borrow().connected, "and the connection goes on");
    assert!(client.handle.incoming.try_recv().is_err());
}

/// mosquitto's access file cannot refuse a SUBSCRIBE, other brokers can: one that accepts CONNECT and says `reason` to the rest.
fn refusing_broker(reason: Option<u8>) -> u16 {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut packet = [0; 512];
            let _connect = stream.read(&mut packet).unwrap();
            stream.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
            let subscribe = stream.read(&mut packet).unwrap();
            assert!(subscribe > 4 && packet[0] == 0x82, "a SUBSCRIBE");
            if let Some(reason) = reason {
                stream.write_all(&[0x90, 4, packet[2], packet[3], 0, reason]).unwrap();
            }
            while stream.read(&mut packet).is_ok_and(|length| length > 0) {}
        }
    });
    port
}

#[tokio::test]
async fn a_subscription_that_is_refused_or_not_answered_is_no_connection() {
    // MQTT 5.0 section 3.9.3: 0x87 is "Not authorized".
    for (reason, text) in [(Some(0x87), "NotAuthorized"), (None, "in time")] {
        let mut settings = MqttSettings::new(format!("mqtt://127.0.0.1:{}", refusing_broker(reason)), "id", None, 0);
        settings.subscriptions = vec![(OBSERVATIONS.to_owned(), Qos::AtMostOnce)];
        settings.connect_timeout = Duration::from_millis(500);
        let mut client = Client::start(settings, 1);
        let state = soon("failure", client.handle.state.wait_for(|state| state.error.is_some())).await.unwrap().clone();
        assert!(state.error.as_ref().is_some_and(|error| error.contains(text)), "{state:?}");
        assert_eq!(client.handle.metrics.connects.get(), 0);
    }
}

#[tokio::test]
async fn a_kept_session_delivers_what_came_meanwhile() {
    let scene = Scene::new();
    let core = scene.connect(scene.settings("core")).await;
    let mut settings = scene.subscriber();
    settings.clean_start = false;
    settings.session_expiry = Some(60);
    let mut client = scene.connect(settings.clone()).await;
    client.settings.send_replace(None);
    client.disconnected().await;
    assert_eq!(client.handle.state.borrow().error, None, "not wanted is no failure");
    soon("publish", core.handle.publisher.publish(OBSERVATIONS, "meanwhile", Qos::AtLeastOnce)).await.unwrap();
    client.settings.send_replace(Some(settings));
    assert_eq!(client.next().await.payload, "meanwhile");
    client.connected().await;
    // A session that goes on takes publishes as any other.
    assert_eq!(soon("publish", client.handle.publisher.publish(EVENTS, "x", Qos::AtLeastOnce)).await, Ok(()));
}

#[tokio::test]
async fn shutdown_says_goodbye_and_ends_the_task() {
    let scene = Scene::new();
    let client = scene.connect(scene.subscriber()).await;
    client.shutdown.trigger();
    soon("end of the task", client.handle.task).await.unwrap();
    scene.broker.logged("Received DISCONNECT from node-a.test-test").await;
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_broker_that_is_silent() {
    // Accepts TCP, says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = Authority::new("node CA");
    let url = format!("mqtts://localhost:{}", listener.local_addr().unwrap().port());
    let client = Client::start(settings(&url, &authority, &authority, "node-a.test"), 1);
    let (_stream, _) = tokio::task::spawn_blocking(move || listener.accept().unwrap()).await.unwrap();
    client.shutdown.trigger();
    timeout(Duration::from_secs(2), client.handle.task).await.expect("the task ends at once").unwrap();
}

#[tokio::test]
async fn a_silent_broker_is_given_up_after_the_time_limit() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = Authority::new("node CA");
    let url = format!("mqtts://localhost:{}", listener.local_addr().unwrap().port());
    let mut settings = settings(&url, &authority, &authority, "node-a.test");
    settings.connect_timeout = Duration::from_millis(300);
    let client = Client::start(settings, 1);
    soon("failure", async {
        while client.handle.metrics.failures.get() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(client.handle.state.borrow().error.is_some());
}

#[tokio::test]
async fn nonsense_settings_are_a_state_and_not_the_end() {
    let scene = Scene::new();
    let mut bad = scene.settings("node-a.test");
    bad.url = "gopher://broker".to_owned();
    let mut client = Client::start(bad, 1);
    let state = soon("error", client.handle.state.wait_for(|state| state.error.is_some())).await.unwrap().clone();
    assert!(state.error.unwrap().contains("gopher"));
    let mut without = scene.settings("node-a.test");
    without.tls = None;
    client.settings.send_replace(Some(without));
    soon("error", client.handle.state.wait_for(|state| state.error.as_ref().is_some_and(|error| error.contains("TLS"))))
        .await
        .unwrap();
    client.settings.send_replace(Some(scene.settings("node-a.test")));
    client.connected().await;
}

#[tokio::test]
async fn with_a_certificate_nothing_is_ever_sent_in_the_clear() {
    let scene = Scene::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plain = scene.settings("node-a.test");
    plain.url = format!("mqtt://{}", listener.local_addr().unwrap());
    let client = Client::start(plain, 1);
    soon("failures", async {
        while client.handle.metrics.failures.get() < 2 {
            tokio::select! {
                _ = listener.accept() => panic!("somebody connects in the clear"),
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
    })
    .await;
    let error = client.handle.state.borrow().error.clone().unwrap();
    assert!(error.contains("not encrypted") && error.contains("mqtts://"), "{error}");
}
