//! The control interface of tests: what came in, what shall go wrong, observations by hand. Plain HTTP, not part of any Core.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::authority::Lifetimes;
use crate::bridge::Handle;
use crate::clock::Clock;
use crate::faults::{Fault, Faults, NAMES};
use crate::message::{Answer, Request, method_not_allowed};
use crate::nodeman::Nodeman;
use crate::observations::{CurrentKey, KeyKind, Observed, SigningKey, message, public_half};
use crate::record::Record;
use crate::schema::Schemas;

/// The interface.
#[derive(Debug)]
pub struct Control {
    /// What `/dump` shows.
    pub record: Arc<Record>,
    /// What `/faults` sets.
    pub faults: Faults,
    /// Whose trusted keys and lifetimes change.
    pub nodeman: Nodeman,
    /// What observations are signed with.
    pub signing_key: CurrentKey,
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
            ("/faults", "GET") => self.show_faults(),
            ("/faults", "POST") => self.set_fault(&request.body),
            ("/keys", "GET") => self.show_keys(),
            ("/keys", "POST") => self.rotate(&request.body),
            ("/certificate-lifetime", "GET") => self.show_lifetimes(),
            ("/certificate-lifetime", "PUT") => self.set_lifetimes(&request.body),
            ("/observe", "POST") => self.observe(&request.body),
            ("/healthz" | "/dump", _) => method_not_allowed("GET"),
            (path, "DELETE") if path.starts_with("/keys/") => self.withdraw(path.trim_start_matches("/keys/")),
            ("/faults" | "/keys", _) => method_not_allowed("GET, POST"),
            ("/certificate-lifetime", _) => method_not_allowed("GET, PUT"),
            (path, _) if path.starts_with("/keys/") => method_not_allowed("DELETE"),
            ("/observe", _) => method_not_allowed("POST"),
            _ => Answer::detail(404, "Not Found"),
        }
    }

    fn show_faults(&self) -> Answer {
        let nodes: Map<String, Value> =
            self.faults.nodes().into_iter().map(|(node, fault)| (node, fault.name().into())).collect();
        Answer::json(200, &json!({"fault": self.faults.current().name(), "nodes": nodes}))
    }

    /// The body is the fault's name, bare or as `{"fault": name}`; with `"node"` it is that node's own, and `{"node": name}` alone lets it
    /// go with all again.
    fn set_fault(&self, body: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(body);
        let value = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let (name, node) = (value["fault"].as_str(), value["node"].as_str());
        let fault = match (name, node) {
            (None, Some(_)) => None,
            (name, _) => match Fault::named(name.unwrap_or(text.trim())) {
                None => return Answer::detail(400, &format!("No such fault: there are {NAMES}")),
                fault => fault,
            },
        };
        match (node, fault) {
            (Some(node), fault) => {
                if let Err(error) = self.faults.set_for(node, fault) {
                    return Answer::detail(400, &error.to_string());
                }
            }
            (None, fault) => self.faults.set(fault.unwrap_or_default()),
        }
        tracing::info!(fault = fault.map(Fault::name), node, "Fault set");
        Answer::json(200, &json!({"fault": fault.map(Fault::name), "node": node}))
    }

    fn show_keys(&self) -> Answer {
        let trusted: Vec<String> = self.nodeman.trusted_kids();
        Answer::json(200, &json!({"signing": self.signing_key.kid(), "trusted": trusted}))
    }

    /// `{"kid": name}`: a new Ed25519 key of that name is trusted, and signs from now on. Older ones stay trusted until they are withdrawn.
    fn rotate(&self, body: &[u8]) -> Answer {
        let value = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let Some(kid) = value["kid"].as_str().filter(|kid| is_kid(kid)) else {
            return Answer::detail(400, "kid has 1 to 100 letters, digits, dots, hyphens and underscores");
        };
        let made = SigningKey::generate_jwk(kid, KeyKind::Ed25519).and_then(|jwk| Ok((SigningKey::from_jwk(&jwk)?, jwk)));
        let Ok((key, jwk)) = made else { return Answer::failure() };
        if !self.nodeman.trust(public_half(&jwk)) {
            return Answer::detail(409, "A key of that name is trusted, or too many are");
        }
        self.signing_key.replace(key);
        tracing::info!(kid, "Key rotated");
        self.show_keys()
    }

    /// The key is no longer listed. Core goes on signing with what it signs with: so a test can show that nobody believes it.
    fn withdraw(&self, kid: &str) -> Answer {
        if !self.nodeman.distrust(kid) {
            return Answer::detail(404, "No such key is trusted");
        }
        tracing::info!(kid, "Key withdrawn");
        self.show_keys()
    }

    fn show_lifetimes(&self) -> Answer {
        let Lifetimes { default, minimum, maximum } = self.nodeman.authority().lifetimes();
        Answer::json(200, &json!({"default": default, "minimum": minimum, "maximum": maximum}))
    }

    /// `{"default": seconds, "minimum", "maximum"}`, of certificates that are issued from now on. Without limits only the default may be
    /// asked for, as when an operator configures none.
    fn set_lifetimes(&self, body: &[u8]) -> Answer {
        let value = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let [minimum, maximum] = ["minimum", "maximum"].map(|name| value[name].as_u64());
        let lifetimes = value["default"].as_u64().map(|default| Lifetimes::new(default, minimum, maximum));
        match lifetimes.filter(|lifetimes| lifetimes.default > 0 && lifetimes.minimum <= lifetimes.maximum) {
            None => Answer::detail(400, "default is the number of seconds; minimum is not above maximum"),
            Some(lifetimes) => {
                self.nodeman.authority().set_lifetimes(lifetimes);
                tracing::info!(default = lifetimes.default, "Lifetime set");
                self.show_lifetimes()
            }
        }
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

fn is_kid(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}
