//! Everything that this Core received, kept for tests of privacy and interoperability. A bounded ring: what fell out is counted
//! and said at the top of the dump, so that nobody takes an incomplete record for a clean one.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::encoding::base64;
use crate::message::Request;

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
    pub fn mqtt(&self, now: Timestamp, topic: &str, payload: &[u8], verdict: &str, reason: Option<&str>) {
        self.add(&json!({
            "kind": "mqtt", "at": now.to_string(), "topic": topic, "payload": base64(payload), "text": std::str::from_utf8(payload).ok(),
            "verdict": verdict, "reason": reason,
        }));
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
            ring.dropped += 1;
            ring.dropped_bytes += oldest.len() as u64;
        }
    }

    /// JSON lines, oldest first; the first line tells what is missing, if anything is.
    #[must_use]
    pub fn dump(&self) -> String {
        let ring = self.ring();
        let mut text = String::with_capacity(ring.bytes + ring.lines.len() + 128);
        if ring.dropped > 0 {
            text.push_str(&json!({"kind": "dropped", "messages": ring.dropped, "bytes": ring.dropped_bytes}).to_string());
            text.push('\n');
        }
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

    #[test]
    fn the_ring_is_bounded_and_says_what_it_dropped() {
        let record = Record::new(1000);
        for number in 0..20 {
            record.mqtt(Timestamp::UNIX_EPOCH, &format!("topic/{number}"), b"\xff\x00", "dropped", None);
        }
        let dump = record.dump();
        assert!(dump.len() < 1200, "{}", dump.len());
        let lines: Vec<Value> = dump.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let dropped = lines[0]["messages"].as_u64().unwrap();
        assert_eq!(lines[0]["kind"], "dropped");
        assert_eq!(dropped + lines.len() as u64 - 1, 20);
        assert_eq!(lines.last().unwrap()["topic"], "topic/19");
        assert_eq!(lines.last().unwrap()["payload"], "/wA=");
    }
}
