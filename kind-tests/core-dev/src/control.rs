//! The control interface of tests: what came in, what shall go wrong, observations by hand. Plain HTTP, not part of any Core.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::bridge::Handle;
use crate::clock::Clock;
use crate::faults::{Fault, Faults};
use crate::message::{Answer, Request, method_not_allowed};
use crate::observations::{Observed, message};
use crate::record::Record;
use crate::schema::Schemas;

/// The interface.
#[derive(Debug)]
pub struct Control {
    /// What `/dump` shows.
    pub record: Arc<Record>,
    /// What `/faults` sets.
    pub faults: Faults,
    /// Where `/observe` goes.
    pub bridge: Handle,
    /// Checks messages by hand.
    pub schemas: Schemas,
    /// The time.
    pub clock: Clock,
}

impl Control {
    /// Answers a request.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Answer {
        match (request.path(), request.method.as_str()) {
            ("/healthz", "GET") => Answer::json(
                200,
                &json!({"status": "OK", "fault": self.faults.current().name(), "bridge_subscribed": self.bridge.is_subscribed()}),
            ),
            ("/dump", "GET") => Answer::content(200, "application/jsonl", self.record.dump()),
            ("/faults", "GET") => Answer::json(200, &json!({"fault": self.faults.current().name()})),
            ("/faults", "POST") => self.set_fault(&request.body),
            ("/observe", "POST") => self.observe(&request.body),
            ("/healthz" | "/dump", _) => method_not_allowed("GET"),
            ("/faults", _) => method_not_allowed("GET, POST"),
            ("/observe", _) => method_not_allowed("POST"),
            _ => Answer::detail(404, "Not Found"),
        }
    }

    /// The body is the fault's name, bare or as `{"fault": name}`.
    fn set_fault(&self, body: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(body);
        let member = serde_json::from_slice::<Value>(body)
            .ok()
            .and_then(|value| value.get("fault").and_then(Value::as_str).map(str::to_owned));
        let Some(fault) = Fault::named(member.as_deref().unwrap_or(text.trim())) else {
            return Answer::detail(400, "No such fault");
        };
        self.faults.set(fault);
        tracing::info!(fault = fault.name(), "Fault set");
        Answer::json(200, &json!({"fault": fault.name()}))
    }

    /// `{"name", "ttl", "tag_mask"}` for one name as the encoder would send it, or a whole observation message.
    fn observe(&self, body: &[u8]) -> Answer {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return Answer::detail(400, "The body is no JSON") };
        let payload = match serde_json::from_value::<Observed>(value.clone()) {
            Ok(observed) => message(&observed, self.clock.now()),
            Err(_) => match self.schemas.check_observation(&value) {
                Ok(()) => value.to_string(),
                Err(reason) => return Answer::detail(400, &format!("The message {reason}")),
            },
        };
        if self.bridge.publish(payload) {
            Answer::json(202, &json!({"status": "OK"}))
        } else {
            Answer::detail(503, "The bridge is not connected to the broker")
        }
    }
}
