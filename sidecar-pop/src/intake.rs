//! Bytes from Core's topics -> messages that may change what is known, or the reason why not.
//!
//! Verifying a signature takes longer than everything that follows from it, so it is done on threads of their own ([`spawn`]).

mod verifiers;

use std::sync::Arc;

use jiff::Timestamp;
use tapir_runtime::mqtt::Incoming;
use tapir_wire::jwk::TrustedKeys;
use tapir_wire::jws::{self, VerifyError};
use tapir_wire::observation::{ListType, Message, ObservationError};

use crate::knowledge::observations::CLOCK_TOLERANCE;
use crate::sources::CoreSource;
pub use verifiers::{Settings, ToldSettings, spawn};

/// A message that counts, for one source.
#[derive(Debug)]
pub struct Observed {
    /// Name of the source.
    pub source: Arc<str>,
    /// What it says.
    pub message: Message,
}

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// No trusted keys were loaded yet.
    #[error("no trusted keys to verify with")]
    NoKeys,
    /// Its signature does not count.
    #[error("{0}")]
    Signature(#[from] VerifyError),
    /// Its content is not an observation.
    #[error("{0}")]
    Payload(#[from] ObservationError),
    /// Signed by Core, but for a list that nobody takes from this topic.
    #[error("message is for a list that no source of this topic takes")]
    WrongSource,
    /// For another class of list.
    #[error("message is for another list than the doubt list")]
    WrongList,
    /// Made longer ago than any of its sources takes.
    #[error("message is older than its source takes")]
    TooOld,
    /// The policy has no source for this topic.
    #[error("the policy has no core source for this topic")]
    NotWanted,
}

impl Reject {
    /// Labels of what is found here.
    pub(crate) const OWN_LABELS: [&str; 5] = ["no_keys", "wrong_source", "wrong_list", "too_old", "not_wanted"];

    /// For metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoKeys => "no_keys",
            Self::Signature(error) => error.into(),
            Self::Payload(error) => error.into(),
            Self::WrongSource => "wrong_source",
            Self::WrongList => "wrong_list",
            Self::TooOld => "too_old",
            Self::NotWanted => "not_wanted",
        }
    }
}

/// Verifies, reads, and holds the message against what its topic may carry: names of the sources that it is for. A trusted key that
/// signed for another list would otherwise be able to write any list.
pub fn take<'a>(
    incoming: &Incoming,
    keys: Option<&TrustedKeys>,
    sources: &'a [CoreSource],
    now: Timestamp,
) -> Result<(Message, Vec<&'a str>), Reject> {
    let names = |source: &CoreSource| source.topics.iter().any(|topic| matches(topic, &incoming.topic));
    // Sources that name no topic have that of the node material, which no other names.
    let named = sources.iter().any(names);
    let carried = |source: &&CoreSource| if named { names(source) } else { source.topics.is_empty() };
    if !sources.iter().any(|source| carried(&source)) {
        return Err(Reject::NotWanted);
    }
    let payload = jws::verify(&incoming.payload, keys.ok_or(Reject::NoKeys)?)?;
    let message = Message::parse(&payload)?;
    let named: Vec<_> = sources.iter().filter(carried).filter(|source| source.list_name == message.src_name).collect();
    if named.is_empty() {
        return Err(Reject::WrongSource);
    }
    if message.list_type != ListType::Doubt {
        return Err(Reject::WrongList);
    }
    let fresh: Vec<_> =
        named.into_iter().filter(|source| is_fresh(source, &message, now)).map(|source| source.name.as_str()).collect();
    if fresh.is_empty() { Err(Reject::TooOld) } else { Ok((message, fresh)) }
}

/// Who does not say when it was made cannot prove that it is fresh.
fn is_fresh(source: &CoreSource, message: &Message, now: Timestamp) -> bool {
    let Some(max_age) = source.max_age else { return true };
    message.timestamp.is_some_and(|made| now.duration_since(made) <= max_age.saturating_add(CLOCK_TOLERANCE))
}

/// Whether a filter means a topic (MQTT 5 section 4.7).
fn matches(filter: &str, topic: &str) -> bool {
    let (mut wanted, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (wanted.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tapir_wire::jwk::DataKey;
    use tapir_wire::node_name::NodeName;

    fn payload(src_name: &str, list_type: &str) -> Vec<u8> {
        let entry =
            json!({"name": "Evil.example", "time_added": "2026-11-21T00:00:00Z", "ttl": 60, "tag_mask": 1, "extended_tags": []});
        json!({
            "src_name": src_name, "creator": "c", "msg_type": "observation", "list_type": list_type,
            "added": [entry], "removed": [], "msg": "", "timestamp": "2026-11-21T00:00:00Z", "time_str": "",
        })
        .to_string()
        .into_bytes()
    }

    fn taken(signed: &str, keys: Option<&TrustedKeys>, sources: &[CoreSource]) -> Result<usize, Reject> {
        let incoming = Incoming { topic: "observations/down/tapir-pop".to_owned(), payload: signed.to_owned().into() };
        let now = "2026-11-21T00:10:00Z".parse().unwrap();
        take(&incoming, keys, sources, now).map(|(message, sources)| message.added.len() * sources.len())
    }

    fn check(payload: &[u8], expected: &Result<usize, Reject>) {
        let key = DataKey::generate(&NodeName::parse("core.test").unwrap()).unwrap();
        let keys = TrustedKeys::from_value(&json!({"keys": [key.public_jwk()]})).unwrap();
        let signed = jws::sign_flattened(payload, &key);
        let sources = [CoreSource::new("core")];
        assert_eq!(&taken(&signed, Some(&keys), &sources), expected);
        let stranger = DataKey::generate(&NodeName::parse("stranger.test").unwrap()).unwrap();
        let signed = jws::sign_flattened(payload, &stranger);
        assert_eq!(taken(&signed, Some(&keys), &sources), Err(VerifyError::UnknownKey.into()));
        assert_eq!(taken(&signed, None, &sources), Err(Reject::NoKeys));
    }

    #[test]
    fn a_trusted_key_may_write_cores_doubt_list_and_nothing_else() {
        check(&payload("dns-tapir", "doubtlist"), &Ok(1));
        check(&payload("own-allow", "doubtlist"), &Err(Reject::WrongSource));
        check(&payload("dns-tapir", "allowlist"), &Err(Reject::WrongList));
        check(&payload("dns-tapir", "denylist"), &Err(Reject::WrongList));
        check(b"[]", &Err(ObservationError::NotJson.into()));
    }

    #[test]
    fn a_message_goes_to_the_sources_of_its_topic_that_take_its_list() {
        let key = DataKey::generate(&NodeName::parse("core.test").unwrap()).unwrap();
        let keys = TrustedKeys::from_value(&json!({"keys": [key.public_jwk()]})).unwrap();
        let signed = jws::sign_flattened(&payload("dns-tapir", "doubtlist"), &key);
        let of = |topics: &[&str]| CoreSource {
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            ..CoreSource::new("s")
        };
        let taken = |sources: &[CoreSource]| taken(&signed, Some(&keys), sources);
        assert_eq!(taken(&[of(&[]), of(&["observations/+/tapir-pop"]), of(&["observations/#"])]), Ok(2));
        assert_eq!(taken(&[of(&[]), of(&["other"])]), Ok(1));
        assert_eq!(taken(&[of(&["observations/down"]), of(&["other/#"])]), Err(Reject::NotWanted));
        assert_eq!(taken(&[]), Err(Reject::NotWanted));
        assert_eq!(taken(&[CoreSource { list_name: "other".to_owned(), ..of(&[]) }]), Err(Reject::WrongSource));
        // Ten minutes old, and clocks may differ by five.
        let within = |minutes| CoreSource { max_age: Some(jiff::SignedDuration::from_mins(minutes)), ..of(&[]) };
        assert_eq!((taken(&[within(5)]), taken(&[within(4)])), (Ok(1), Err(Reject::TooOld)));
    }
}
