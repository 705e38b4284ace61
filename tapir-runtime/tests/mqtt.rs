//! The broker connection against a real mosquitto: MQTT 5, mutual TLS, rights by common name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "mqtt/certificates.rs"]
mod certificates;
#[path = "mqtt/messages.rs"]
mod messages;
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
async fn a_subscription_that_there_need_not_be_is_told_when_it_is_refused_and_the_connection_goes_on() {
    let mut settings = MqttSettings::new(format!("mqtt://127.0.0.1:{}", refusing_broker(Some(0x87))), "id", None, 0);
    settings.optional_subscriptions = vec![("config/down/tapir-pop".to_owned(), Qos::AtMostOnce)];
    let mut client = Client::start(settings, 1);
    client.connected().await;
    assert_eq!(client.handle.state.borrow().refused, ["config/down/tapir-pop"]);
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
    let mut settings = settings(&url, &authority, &authority, "node-a.test");
    settings.connect_timeout = Duration::from_secs(60);
    let client = Client::start(settings, 1);
    let (_stream, _) = tokio::task::spawn_blocking(move || listener.accept().unwrap()).await.unwrap();
    client.shutdown.trigger();
    timeout(Duration::from_secs(20), client.handle.task).await.expect("the task ends at once").unwrap();
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
