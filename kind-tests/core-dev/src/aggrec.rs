//! Aggrec: signed aggregates over HTTPS. What is in them is of no interest here, only whether the real service would take them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

mod aggregate;

use crate::clock::Clock;
use crate::httpsig::{self, SignatureError, Verified};
use crate::interval::{self, Interval};
use crate::jwk::PublicJwk;
use crate::keys::PublicKey;
use crate::message::{Answer, Request, method_not_allowed, missing_header};
use crate::nodeman::Nodeman;
use crate::nodes::object_id;
use crate::record::Record;
use aggregate::Aggregate;

const TYPES: [&str; 3] = ["histogram", "vector", "test"];
const CONTENT_TYPES: [&str; 2] = ["application/vnd.apache.parquet", "application/binary"];
/// In the order in which the framework complains about them.
const REQUIRED_HEADERS: [&str; 6] =
    ["content-type", "content-length", "content-digest", "aggregate-interval", "signature-input", "signature"];
/// A node's key is looked up again after this.
const KEY_LIFETIME: SignedDuration = SignedDuration::from_secs(300);
const KEY_CACHE: usize = 1000;
/// Aggregates remembered for duplicates and reading back; the oldest go first and are said to.
const KEPT_AGGREGATES: usize = 10_000;
const KEPT_BYTES: usize = 64 * 1024 * 1024;
/// Where the rest of Core hears of new aggregates.
const SUBJECT: &str = "aggregates";

/// The service.
#[derive(Clone, Debug)]
pub struct Aggrec {
    nodeman: Nodeman,
    clock: Clock,
    base_url: String,
    state: Arc<Mutex<State>>,
    record: Option<Arc<Record>>,
}

#[derive(Debug, Default)]
struct State {
    aggregates: VecDeque<Aggregate>,
    bytes: usize,
    keys: HashMap<String, (PublicKey, Timestamp)>,
}

impl Aggrec {
    /// A service that takes the keys of `nodeman`'s nodes; `base_url` stands in the locations of metadata.
    #[must_use]
    pub fn new(nodeman: Nodeman, base_url: &str, clock: Clock) -> Self {
        Self { nodeman, clock, base_url: base_url.trim_end_matches('/').to_owned(), state: Arc::default(), record: None }
    }

    /// The same, announcing new aggregates in `record`; there is no NATS here on which anybody would listen.
    #[must_use]
    pub fn announcing(self, record: Arc<Record>) -> Self {
        Self { record: Some(record), ..self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Answer {
        let Some(rest) = request.path().strip_prefix("/api/v1/") else { return Answer::detail(404, "Not Found") };
        let parts: Vec<&str> = rest.split('/').collect();
        let allowed = if parts.first() == Some(&"aggregate") { "POST" } else { "GET" };
        match &parts[..] {
            ["aggregate", _]
            | ["aggregates", _]
            | ["aggregates", _, "payload"]
            | ["healthcheck"]
            | ["stats", "creators" | "aggregates"]
                if request.method != allowed =>
            {
                method_not_allowed(allowed)
            }
            ["aggregate", kind] => self.receive(kind, request).unwrap_or_else(|refusal| refusal),
            ["aggregates", id] => self.find(id).map_or_else(
                || Answer::detail(404, "Not Found"),
                |aggregate| Answer::json(200, &aggregate.metadata(&self.base_url)),
            ),
            ["aggregates", id, "payload"] => self.find(id).map_or_else(
                || Answer::detail(404, "Not Found"),
                |aggregate| {
                    Answer::content(200, &aggregate.content_type, aggregate.body.to_vec())
                        .with("link", format!("</api/v1/aggregates/{id}>; rel=\"about\""))
                },
            ),
            ["healthcheck"] => self.nodeman.settings.refuse_stranger(request).unwrap_or_else(|| {
                Answer::json(200, &json!({"status": "OK", "aggregates_count": self.state().aggregates.len()}))
            }),
            // What an allowed client sees there is not published and no edge asks for it: only the refusal of strangers is played.
            ["stats", "creators" | "aggregates"] => {
                self.nodeman.settings.refuse_stranger(request).unwrap_or_else(|| Answer::detail(404, "Not Found"))
            }
            _ => Answer::detail(404, "Not Found"),
        }
    }

    fn receive(&self, kind: &str, request: &Request) -> Result<Answer, Answer> {
        check_framework(kind, request)?;
        let now = self.clock.now();
        let verified = httpsig::verify(request, now, |name| self.key(name, now)).map_err(refusal)?;
        let length = request.header("content-length").and_then(|length| length.parse::<usize>().ok());
        if length != Some(request.body.len()) {
            return Err(Answer::detail(400, "Content-Length header does not match the length of the body"));
        }
        let interval_header = request.header("aggregate-interval").unwrap_or_default();
        let interval = interval::parse(&interval_header)
            .map_err(|_| Answer::detail(422, &format!("Invalid Aggregate-Interval: {interval_header}")))?;
        let id = self.store(kind, request, &verified, interval, now);
        Ok(Answer::empty(201).with("location", format!("/api/v1/aggregates/{id}")))
    }

    /// Stores and gives the id; equal digests, whosever they are, are one aggregate, the first.
    fn store(&self, kind: &str, request: &Request, verified: &Verified, interval: Option<Interval>, now: Timestamp) -> String {
        let digest = request.header("content-digest").unwrap_or_default();
        let mut state = self.state();
        if let Some(first) = state.aggregates.iter().find(|aggregate| aggregate.digest == digest) {
            return first.id.clone();
        }
        let aggregate = Aggregate {
            id: object_id(now),
            kind: kind.to_owned(),
            created: now,
            creator: verified.key_id.clone(),
            content_type: request.header("content-type").unwrap_or_default(),
            headers: aggregate::kept_headers(request, &verified.covered),
            interval,
            body: Arc::new(request.body.clone()),
            digest,
        };
        if let Some(record) = &self.record {
            record.announcement(now, SUBJECT, &aggregate.announcement(&self.base_url, now));
        }
        let id = aggregate.id.clone();
        state.bytes += aggregate.body.len();
        state.aggregates.push_back(aggregate);
        while state.aggregates.len() > 1 && (state.aggregates.len() > KEPT_AGGREGATES || state.bytes > KEPT_BYTES) {
            if let Some(oldest) = state.aggregates.pop_front() {
                state.bytes -= oldest.body.len();
                tracing::warn!(aggregate = oldest.id, "Oldest aggregate forgotten; a repetition of it would be stored again");
            }
        }
        id
    }

    /// As fetched from nodeman in PEM form, kept for 300 s: a deleted node is refused only after that.
    fn key(&self, name: &str, now: Timestamp) -> Option<PublicKey> {
        let mut state = self.state();
        if let Some((key, fetched)) = state.keys.get(name)
            && now.duration_since(*fetched) < KEY_LIFETIME
        {
            return Some(key.clone());
        }
        let key = self.nodeman.nodes().get(name).and_then(|node| node.public_key.as_ref().and_then(PublicJwk::key));
        match &key {
            Some(key) => {
                if state.keys.len() >= KEY_CACHE {
                    state.keys.retain(|_, (_, fetched)| now.duration_since(*fetched) < KEY_LIFETIME);
                }
                if state.keys.len() < KEY_CACHE {
                    state.keys.insert(name.to_owned(), (key.clone(), now));
                }
            }
            None => {
                state.keys.remove(name);
            }
        }
        key
    }

    fn find(&self, id: &str) -> Option<Aggregate> {
        self.state().aggregates.iter().find(|aggregate| aggregate.id == id).cloned()
    }
}

/// What the framework checks before the service sees the request.
fn check_framework(kind: &str, request: &Request) -> Result<(), Answer> {
    let mut complaints = Vec::new();
    if !TYPES.contains(&kind) {
        complaints.push(not_one_of(&["path", "aggregate_type"], kind, &TYPES));
    }
    for name in REQUIRED_HEADERS {
        match request.header(name) {
            None => complaints.push(missing_header(name)),
            Some(value) if name == "content-type" && !CONTENT_TYPES.contains(&value.as_str()) => {
                complaints.push(not_one_of(&["header", name], &value, &CONTENT_TYPES))
            }
            Some(_) => {}
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(Answer::unprocessable(&complaints)) }
}

fn not_one_of(location: &[&str], input: &str, allowed: &[&str]) -> Value {
    let quoted: Vec<String> = allowed.iter().map(|value| format!("'{value}'")).collect();
    let expected = match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    };
    json!({"type": "enum", "loc": location, "msg": format!("Input should be {expected}"), "input": input, "ctx": {"expected": expected}})
}

fn refusal(error: SignatureError) -> Answer {
    match error {
        SignatureError::Malformed => Answer::detail(400, "Unable to verify HTTP signature"),
        SignatureError::UnknownKey => Answer::detail(401, "Unknown HTTP signature key"),
        SignatureError::Invalid => Answer::detail(401, "Invalid HTTP signature"),
        SignatureError::Algorithm => Answer::failure(),
        SignatureError::DigestDiffers => Answer::detail(401, "Content-Digest verification failed"),
        SignatureError::DigestUnusable => Answer::detail(401, "Unable to verify Content-Digest"),
    }
}
