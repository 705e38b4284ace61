//! Bytes from Core's topic -> a message that may change the store, or the reason why not.

use tapir_wire::jwk::TrustedKeys;
use tapir_wire::jws::{self, VerifyError};
use tapir_wire::observation::{ListType, Message, ObservationError};

/// The only source that Core's observations come from. A trusted key that signed for another list would otherwise be able to
/// write any list of the same name.
pub const CORE_SOURCE: &str = "dns-tapir";

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
    /// Signed by Core, but for a source that this topic does not carry.
    #[error("message is for another source than {CORE_SOURCE}")]
    WrongSource,
    /// For another class of list.
    #[error("message is for another list than the doubt list")]
    WrongList,
    /// The policy has no source for Core's observations.
    #[error("the policy has no core source")]
    NotWanted,
}

impl Reject {
    /// For metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoKeys => "no_keys",
            Self::Signature(error) => error.into(),
            Self::Payload(error) => error.into(),
            Self::WrongSource => "wrong_source",
            Self::WrongList => "wrong_list",
            Self::NotWanted => "not_wanted",
        }
    }
}

/// Verifies, reads, and holds the message against what its topic may carry.
pub fn take(message: &[u8], keys: Option<&TrustedKeys>) -> Result<Message, Reject> {
    let payload = jws::verify(message, keys.ok_or(Reject::NoKeys)?)?;
    let message = Message::parse(&payload)?;
    if message.src_name != CORE_SOURCE {
        return Err(Reject::WrongSource);
    }
    if message.list_type != ListType::Doubt {
        return Err(Reject::WrongList);
    }
    Ok(message)
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

    fn check(payload: &[u8], expected: &Result<usize, Reject>) {
        let key = DataKey::generate(&NodeName::parse("core.test").unwrap()).unwrap();
        let keys = TrustedKeys::from_value(&json!({"keys": [key.public_jwk()]})).unwrap();
        let signed = jws::sign_flattened(payload, &key);
        assert_eq!(&take(signed.as_bytes(), Some(&keys)).map(|message| message.added.len()), expected);
        let stranger = DataKey::generate(&NodeName::parse("stranger.test").unwrap()).unwrap();
        let signed = jws::sign_flattened(payload, &stranger);
        assert_eq!(take(signed.as_bytes(), Some(&keys)), Err(VerifyError::UnknownKey.into()));
        assert_eq!(take(signed.as_bytes(), None), Err(Reject::NoKeys));
    }

    #[test]
    fn a_trusted_key_may_write_cores_doubt_list_and_nothing_else() {
        check(&payload("dns-tapir", "doubtlist"), &Ok(1));
        check(&payload("own-allow", "doubtlist"), &Err(Reject::WrongSource));
        check(&payload("dns-tapir", "allowlist"), &Err(Reject::WrongList));
        check(&payload("dns-tapir", "denylist"), &Err(Reject::WrongList));
        check(b"[]", &Err(ObservationError::NotJson.into()));
    }
}
