//! Core, as far as events go.

use std::time::Duration;

use serde_json::{Value, json};
use tapir_runtime::mqtt::{self, Incoming, MqttHandle, Qos};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::jwk::{DataKey, TrustedKeys};
use tapir_wire::jws;
use tokio::sync::watch;
use tokio::time::timeout;

use super::broker::{Authority, Broker, settings, soon};
use super::{Files, NODE};

/// Long enough to see that something does not happen.
const MOMENT: Duration = Duration::from_millis(400);

/// A broker, and an eye that sees everything it gets.
pub struct Core {
    pub authority: Authority,
    pub broker: Broker,
    pub key: DataKey,
    pub trusted: TrustedKeys,
    pub eye: MqttHandle,
    settings: Settings,
}

/// The eye looks for as long as somebody holds them.
type Settings = watch::Sender<Option<mqtt::MqttSettings>>;

async fn eye(broker: &Broker, authority: &Authority) -> (MqttHandle, Settings) {
    let mut settings = settings(&broker.url(), authority, authority, "core");
    settings.subscriptions = vec![("#".to_owned(), Qos::AtLeastOnce)];
    let (sender, receiver) = watch::channel(Some(settings));
    let (_, shutdown) = Shutdown::manual();
    let mut eye = mqtt::spawn(receiver, shutdown);
    soon("connection of the eye", eye.state.wait_for(|state| state.connected)).await.unwrap();
    (eye, sender)
}

impl Core {
    pub async fn start() -> Self {
        let authority = Authority::new("node CA");
        let broker = Broker::start(&authority);
        let key = DataKey::generate(&NODE.parse().unwrap()).unwrap();
        let trusted = TrustedKeys::from_value(&json!({ "keys": [key.public_jwk()] })).unwrap();
        let (eye, settings) = eye(&broker, &authority).await;
        Self { authority, broker, key, trusted, eye, settings }
    }

    pub fn identity(&self, files: &Files) {
        files.write_identity(&self.authority, &self.broker.url(), &self.key);
    }

    /// Moves to another broker; the one before goes on, and is given back.
    pub async fn move_on(&mut self) -> Broker {
        let before = std::mem::replace(&mut self.broker, Broker::start(&self.authority));
        (self.eye, self.settings) = eye(&self.broker, &self.authority).await;
        before
    }

    /// The next event, its signature checked; what is told of EDM itself is passed over.
    pub async fn event(&mut self) -> Value {
        let Incoming { topic, payload } = loop {
            let message = soon("event", self.eye.incoming.recv()).await.unwrap();
            if message.topic != format!("status/up/{NODE}/tapir-edm") {
                break message;
            }
        };
        assert_eq!(topic, format!("events/up/{NODE}/new_qname"));
        let event = jws::verify(&payload, &self.trusted).unwrap();
        serde_json::from_slice(&event).unwrap()
    }

    pub async fn name(&mut self) -> String {
        self.event().await["qname"].as_str().unwrap().to_owned()
    }

    pub async fn nothing_more(&mut self) {
        assert!(timeout(MOMENT, self.eye.incoming.recv()).await.is_err(), "one message too many");
    }
}

/// A configuration folder that lacks nothing.
pub fn whole(core: &Core) -> impl FnOnce(&Files) {
    |files| {
        files.write_list(&["example.com."]);
        files.write_config("revision = \"r1\"\nwell-known-domains-file = \"well-known-domains.dawg\"");
        core.identity(files);
    }
}
