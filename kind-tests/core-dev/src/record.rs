//! Everything that this Core received, kept for tests of privacy and interoperability. A bounded ring: what fell out is counted
//! and said at the top of the dump, so that nobody takes an incomplete record for a clean one.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::encoding::base64;
use crate::message::Request;
use crate::published::Published;

/// The ring.
#[derive(Debug)]
pub struct Record {
    maximum_bytes: usize,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<String>,
    bytes: usize,
    received: u64,
    dropped: u64,
    dropped_bytes: u64,
}

impl Ring {
    fn summary(&self) -> Value {
        let complete = self.dropped == 0;
        let note = if complete {
            "every message that Core received".to_owned()
        } else {
            format!(
                "INCOMPLETE: the oldest {} messages were dropped for want of room; what is missing proves nothing",
                self.dropped
            )
        };
        json!({
            "kind": "record", "complete": complete, "received": self.received, "kept": self.lines.len(), "dropped": self.dropped,
            "dropped_bytes": self.dropped_bytes, "note": note,
        })
    }
}

impl Record {
    /// An empty record that keeps lines of `maximum_bytes` in all.
    #[must_use]
    pub fn new(maximum_bytes: usize) -> Self {
        Self { maximum_bytes, ring: Mutex::default() }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An HTTP request, with the status of the answer, or none where a fault kept it from being answered.
    pub fn http(
        &self,
        now: Timestamp,
        service: &str,
        client: Option<&str>,
        request: &Request,
        status: Option<u16>,
        fault: Option<&str>,
    ) {
        self.add(&json!({
            "kind": "http", "at": now.to_string(), "service": service, "client": client, "method": request.method, "target": request.target,
            "headers": request.headers, "body": base64(&request.body), "text": std::str::from_utf8(&request.body).ok(), "status": status, "fault": fault,
        }));
    }

    /// An MQTT message; `verdict` is `accepted` or says why it was dropped.
    pub fn mqtt(&self, now: Timestamp, message: &Published, verdict: &str, reason: Option<&str>) {
        let payload = &message.payload;
        self.add(&json!({
            "kind": "mqtt", "at": now.to_string(), "topic": message.topic, "qos": message.qos, "retain": message.retain,
            "properties": message.properties, "payload": base64(payload), "text": std::str::from_utf8(payload).ok(),
            "verdict": verdict, "reason": reason,
        }));
    }

    /// What aggrec tells the rest of Core about an aggregate that it stored.
    pub fn announcement(&self, now: Timestamp, subject: &str, data: &Value) {
        self.add(&json!({"kind": "announcement", "at": now.to_string(), "subject": subject, "data": data}));
    }

    fn add(&self, entry: &Value) {
        let mut ring = self.ring();
        ring.received += 1;
        let mut entry = entry.clone();
        entry["sequence"] = ring.received.into();
        let line = entry.to_string();
        ring.bytes += line.len();
        ring.lines.push_back(line);
        while ring.bytes > self.maximum_bytes {
            let Some(oldest) = ring.lines.pop_front() else { break };
            ring.bytes -= oldest.len();
            if ring.dropped == 0 {
                tracing::warn!(
                    maximum_bytes = self.maximum_bytes,
                    "The record is full; from now on its oldest messages are lost"
                );
            }
            ring.dropped += 1;
            ring.dropped_bytes += oldest.len() as u64;
        }
    }

    /// JSON lines, oldest first. The first line is about the record itself: whether it is complete, and how much is missing.
    #[must_use]
    pub fn dump(&self) -> String {
        let ring = self.ring();
        let mut text = String::with_capacity(ring.bytes + ring.lines.len() + 256);
        text.push_str(&ring.summary().to_string());
        text.push('\n');
        for line in &ring.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(record: &Record) -> Vec<Value> {
        record.dump().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn message(topic: &str) -> Published {
        Published { topic: topic.into(), payload: b"\xff\x00".to_vec(), ..Published::default() }
    }

    #[test]
    fn the_ring_is_bounded_and_its_first_line_says_what_it_dropped() {
        let record = Record::new(1000);
        for number in 0..20 {
            record.mqtt(Timestamp::UNIX_EPOCH, &message(&format!("topic/{number}")), "dropped", None);
        }
        let lines = lines(&record);
        let kept = lines.len() - 1;
        assert!((1..10).contains(&kept), "{kept}");
        assert_eq!((&lines[0]["kind"], &lines[0]["complete"]), (&json!("record"), &json!(false)));
        assert_eq!(
            (&lines[0]["received"], &lines[0]["kept"], &lines[0]["dropped"]),
            (&json!(20), &json!(kept), &json!(20 - kept))
        );
        assert!(lines[0]["note"].as_str().unwrap().starts_with("INCOMPLETE: the oldest "), "{}", lines[0]);
        assert_eq!(lines.last().unwrap()["topic"], "topic/19");
        assert_eq!(lines.last().unwrap()["payload"], "/wA=");
    }

    #[test]
    fn a_whole_record_says_that_it_is_whole() {
        let record = Record::new(1000);
        assert_eq!((&lines(&record)[0]["complete"], &lines(&record)[0]["received"]), (&json!(true), &json!(0)));
        record.mqtt(Timestamp::UNIX_EPOCH, &message("topic"), "accepted", None);
        assert_eq!((&lines(&record)[0]["complete"], &lines(&record)[0]["kept"]), (&json!(true), &json!(1)));
    }
}
