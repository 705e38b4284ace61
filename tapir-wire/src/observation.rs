//! Observations: what Core tells every edge about names.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::name::{Name, NameError};
pub use crate::tags;

/// The list that a message changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr, strum::Display)]
pub enum ListType {
    /// Never blocked.
    #[strum(serialize = "allowlist")]
    Allow,
    /// Decided by tags; what Core sends.
    #[strum(serialize = "doubtlist")]
    Doubt,
    /// Always blocked.
    #[strum(serialize = "denylist")]
    Deny,
}

/// One name in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, canonical whatever the sender's spelling.
    pub name: Name,
    /// When the sender saw it.
    pub time_added: Timestamp,
    /// Seconds from `time_added` until it expires. Values outside 32 bits are brought to the nearest end.
    pub ttl: u32,
    /// Tags as bits, see [`tags`].
    pub tag_mask: u32,
}

impl Entry {
    /// End of its effect.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        let seconds = jiff::SignedDuration::from_secs(i64::from(self.ttl));
        self.time_added.checked_add(seconds).unwrap_or(Timestamp::MAX)
    }
}

/// One message, checked; not yet held against any configured source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Name of the source at Core.
    pub src_name: String,
    /// The list that it changes.
    pub list_type: ListType,
    /// When the sender made it, if it says so.
    pub timestamp: Option<Timestamp>,
    /// Names to put in, replacing former entries of the same name.
    pub added: Vec<Entry>,
    /// Names to take out.
    pub removed: Vec<Entry>,
    /// Entries that were left out, by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
}

/// Why an entry was left out of an otherwise good message. Variant names serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr, strum::VariantNames, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum RejectReason {
    /// No name, or an empty one, or the root: that would be everything.
    NoName,
    /// A name that DNS cannot carry.
    BadName,
    /// No time, so that its effect would have no end.
    NoTime,
}

/// Why a whole message was refused. Variant names serve as metric labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum ObservationError {
    /// Not JSON.
    #[error("observation is not a JSON object")]
    NotJson,
    /// Another kind of message.
    #[error("message type is {0:?}, not an observation")]
    WrongType(String),
    /// A list that does not exist.
    #[error("list type {0:?} is unknown")]
    UnknownList(String),
    /// A member of the wrong type or out of range.
    #[error("observation member {0:?} is missing, of the wrong type, or out of range")]
    BadMember(&'static str),
}

impl Message {
    /// Reads a payload whose signature has been verified. Member names match in any case, as they do upstream.
    pub fn parse(payload: &[u8]) -> Result<Self, ObservationError> {
        let Ok(Value::Object(members)) = serde_json::from_slice(payload) else {
            return Err(ObservationError::NotJson);
        };
        let members = lower_keys(members);
        let kind = text(&members, "msg_type")?;
        // An older name of the same message.
        if !matches!(kind, "observation" | "intel-update") {
            return Err(ObservationError::WrongType(clip(kind)));
        }
        let list = text(&members, "list_type")?;
        let list_type = list.parse().map_err(|_| ObservationError::UnknownList(clip(list)))?;
        let src_name = text(&members, "src_name")?.to_owned();
        let timestamp = time(&members, "timestamp")?;
        let mut rejected = BTreeMap::new();
        let added = entries(&members, "added", &mut rejected)?;
        let removed = entries(&members, "removed", &mut rejected)?;
        Ok(Self { src_name, list_type, timestamp, added, removed, rejected })
    }
}

type Members = Map<String, Value>;

fn entries(
    members: &Members,
    member: &'static str,
    rejected: &mut BTreeMap<RejectReason, u64>,
) -> Result<Vec<Entry>, ObservationError> {
    let list = match members.get(member) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(ObservationError::BadMember(member)),
    };
    let mut entries = Vec::with_capacity(list.len());
    for element in list {
        let Value::Object(element) = element else {
            return Err(ObservationError::BadMember(member));
        };
        match entry(&lower_keys(element.clone()))? {
            Ok(entry) => entries.push(entry),
            Err(reason) => *rejected.entry(reason).or_default() += 1,
        }
    }
    Ok(entries)
}

/// A wrong type spoils the whole message (as upstream), an unusable name or time only the entry.
fn entry(members: &Members) -> Result<Result<Entry, RejectReason>, ObservationError> {
    let name = match members.get("name") {
        None | Some(Value::Null) => "",
        Some(Value::String(name)) => name,
        Some(_) => return Err(ObservationError::BadMember("name")),
    };
    let time_added = time(members, "time_added")?;
    let ttl = match members.get("ttl") {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_i64().ok_or(ObservationError::BadMember("ttl"))?,
    };
    let tag_mask = match members.get("tag_mask") {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_u64().and_then(|mask| u32::try_from(mask).ok()).ok_or(ObservationError::BadMember("tag_mask"))?,
    };
    let name = match Name::parse(name) {
        Ok(name) if name.is_root() => return Ok(Err(RejectReason::NoName)),
        Ok(name) => name,
        Err(NameError::Empty) => return Ok(Err(RejectReason::NoName)),
        Err(_) => return Ok(Err(RejectReason::BadName)),
    };
    let Some(time_added) = time_added else {
        return Ok(Err(RejectReason::NoTime));
    };
    let ttl = u32::try_from(ttl.max(0)).unwrap_or(u32::MAX);
    Ok(Ok(Entry { name, time_added, ttl, tag_mask }))
}

fn text<'a>(members: &'a Members, member: &'static str) -> Result<&'a str, ObservationError> {
    members.get(member).and_then(Value::as_str).ok_or(ObservationError::BadMember(member))
}

/// RFC 3339 with zone. jiff also reads a space in the middle, which RFC 3339 leaves to agreement and Core does not write.
fn time(members: &Members, member: &'static str) -> Result<Option<Timestamp>, ObservationError> {
    match members.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if matches!(text.as_bytes().get(10), Some(b'T' | b't')) => {
            text.parse().map(Some).map_err(|_| ObservationError::BadMember(member))
        }
        Some(_) => Err(ObservationError::BadMember(member)),
    }
}

fn lower_keys(members: Members) -> Members {
    members.into_iter().map(|(key, value)| (key.to_ascii_lowercase(), value)).collect()
}

/// Enough of a foreign text for a log line.
fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(added: &Value) -> Result<Message, ObservationError> {
        let message = json!({"src_name": "dns-tapir", "msg_type": "observation", "list_type": "doubtlist", "added": added});
        Message::parse(message.to_string().as_bytes())
    }

    #[test]
    fn names_come_in_any_spelling() {
        let entry = |name: &str| json!({"Name": name, "Time_Added": "2026-11-21T01:00:00+01:00", "TTL": 60, "tag_mask": 5});
        let message = parse(&json!([entry("WWW.example.com"), entry("www.example.com.")])).unwrap();
        assert_eq!(message.added[0], message.added[1]);
        let entry = &message.added[0];
        assert_eq!((entry.name.as_str(), entry.tag_mask), ("www.example.com.", 5));
        assert_eq!(entry.expires().to_string(), "2026-11-21T00:01:00Z");
    }

    #[test]
    fn unusable_entries_are_counted_and_the_others_kept() {
        let time = "2026-11-21T00:00:00Z";
        let message = parse(&json!([
            {"name": "good.example", "time_added": time, "ttl": 1},
            {"name": "a..b", "time_added": time},
            {"name": ".", "time_added": time},
            {"time_added": time},
            {"name": "late.example"},
        ]))
        .unwrap();
        assert_eq!(message.added.len(), 1);
        let expected = [(RejectReason::NoName, 2), (RejectReason::BadName, 1), (RejectReason::NoTime, 1)];
        assert_eq!(message.rejected, BTreeMap::from(expected));
    }

    #[test]
    fn lifetimes_out_of_range_end_at_the_border() {
        let time = "2026-11-21T00:00:00Z";
        let message = parse(&json!([
            {"name": "a.example", "time_added": time, "ttl": -1},
            {"name": "b.example", "time_added": "9999-12-30T00:00:00Z", "ttl": i64::MAX},
        ]))
        .unwrap();
        assert_eq!((message.added[0].ttl, message.added[1].ttl), (0, u32::MAX));
        assert_eq!(message.added[1].expires(), Timestamp::MAX);
    }

    #[test]
    fn wrong_types_spoil_the_message() {
        let time = "2026-11-21T00:00:00Z";
        for entry in [
            json!("a.example"),
            json!({"name": 7, "time_added": time}),
            json!({"name": "a", "time_added": 7}),
            json!({"name": "a", "time_added": "2026-11-21T00:00:00"}),
            json!({"name": "a", "time_added": "2026-11-21 00:00:00Z"}),
            json!({"name": "a", "time_added": time, "ttl": "1"}),
            json!({"name": "a", "time_added": time, "ttl": 1.5}),
            json!({"name": "a", "time_added": time, "tag_mask": -1}),
            json!({"name": "a", "time_added": time, "tag_mask": 4_294_967_296u64}),
        ] {
            assert!(matches!(parse(&json!([entry])), Err(ObservationError::BadMember(_))), "{entry}");
        }
        assert_eq!(parse(&json!({})), Err(ObservationError::BadMember("added")));
    }
}
