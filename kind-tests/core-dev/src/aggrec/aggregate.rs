//! A stored aggregate, and what aggrec says about it: metadata to whoever asks, an announcement to the rest of Core.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::clock::seconds;
use crate::interval::Interval;
use crate::message::Request;

/// `$schema` of an announcement.
const NEW_AGGREGATE: &str = "https://schema.dnstapir.se/v1/new_aggregate";
const BUCKET: &str = "aggregates";

#[derive(Clone, Debug)]
pub(super) struct Aggregate {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) created: Timestamp,
    pub(super) creator: String,
    pub(super) digest: String,
    pub(super) content_type: String,
    pub(super) headers: Map<String, Value>,
    pub(super) interval: Option<Interval>,
    pub(super) body: Arc<Vec<u8>>,
}

impl Aggregate {
    pub(super) fn metadata(&self, base_url: &str) -> Value {
        json!({
            "aggregate_id": self.id, "aggregate_type": self.kind, "created": seconds(self.created), "creator": self.creator,
            "headers": self.headers, "content_type": self.content_type, "content_length": self.body.len(),
            "content_location": self.content_location(base_url), "s3_bucket": BUCKET, "s3_object_key": self.object_key(),
            "aggregate_interval_start": self.interval.map(|interval| seconds(interval.start)),
            "aggregate_interval_duration": self.interval.map(seconds_of),
        })
    }

    /// The message about a new aggregate; without an interval its two members are missing.
    pub(super) fn announcement(&self, base_url: &str, now: Timestamp) -> Value {
        let mut message = json!({
            "$schema": NEW_AGGREGATE, "version": 1, "message_id": uuid::Uuid::new_v4().to_string(), "timestamp": seconds(now),
            "type": "new_aggregate", "aggregate_id": self.id, "aggregate_type": self.kind, "created": seconds(self.created),
            "creator": self.creator, "metadata_location": self.location(base_url),
            "content_location": self.content_location(base_url), "s3_bucket": BUCKET, "s3_object_key": self.object_key(),
        });
        if let Some(interval) = self.interval {
            message["aggregate_interval_start"] = seconds(interval.start).into();
            message["aggregate_interval_duration"] = seconds_of(interval);
        }
        message
    }

    fn location(&self, base_url: &str) -> String {
        format!("{base_url}/api/v1/aggregates/{}", self.id)
    }

    fn content_location(&self, base_url: &str) -> String {
        self.location(base_url) + "/payload"
    }

    fn object_key(&self) -> String {
        let created = self.created.strftime("year=%Y/month=%m/day=%d/hour=%H/minute=%M/second=%S");
        format!("type={}/{created}/creator={}/id={}", self.kind, self.creator, self.id)
    }
}

/// A whole number where it is one.
fn seconds_of(interval: Interval) -> Value {
    if interval.duration.subsec_nanos() == 0 {
        interval.duration.as_secs().into()
    } else {
        interval.duration.as_secs_f64().into()
    }
}

/// The headers that the metadata keep: some always, and whatever the signature covers.
pub(super) fn kept_headers(request: &Request, covered: &[String]) -> Map<String, Value> {
    let always =
        ["user-agent", "content-length", "content-type", "content-digest", "content-encoding", "signature", "signature-input"];
    let names = always.into_iter().chain(covered.iter().map(String::as_str));
    names.filter_map(|name| Some((name.to_owned(), request.header(name)?.into()))).collect()
}
