//! One name among peers: `{"name":"evil.example.","list":"core","tags":4,"added":"…","expires":"…"}`; with `"removed":true` one that
//! was taken back, remembered until `expires`.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tapir_table::KeyBuf;
use tapir_wire::name::Name;
use tapir_wire::observation::Entry;

use crate::knowledge::{Guard, Sighting};

/// As it stands on a line. What is not known here is left to later versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) name: Name,
    pub(super) list: String,
    #[serde(default)]
    pub(super) tags: u32,
    pub(super) added: Timestamp,
    pub(super) expires: Timestamp,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) removed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Line {
    pub(super) fn live(list: &str, key: &KeyBuf, sighting: Sighting) -> Option<Self> {
        Self::new(list, key, sighting.added, sighting.expires, sighting.tags, false)
    }

    pub(super) fn removed(list: &str, key: &KeyBuf, guard: Guard) -> Option<Self> {
        Self::new(list, key, guard.added, guard.until, 0, true)
    }

    fn new(list: &str, key: &KeyBuf, added: u64, expires: u32, tags: u32, removed: bool) -> Option<Self> {
        let name = Name::parse(&key.to_string()).ok()?;
        let added = Timestamp::from_millisecond(i64::try_from(added).ok()?).ok()?;
        Some(Self { name, list: list.to_owned(), tags, added, expires: Timestamp::from_second(expires.into()).ok()?, removed })
    }

    /// As Core would have said it: the lifetime whose end is next to this one. Half a second goes down here, since it goes up there.
    pub(super) fn into_entry(self) -> Option<Entry> {
        let lifetime = self.expires.duration_since(self.added) + SignedDuration::from_millis(499);
        let ttl = u32::try_from(lifetime.as_secs()).ok()?;
        Some(Entry { name: self.name, time_added: self.added, ttl, tag_mask: self.tags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::observations::{LONGEST_TTL, Observations};

    #[test]
    fn a_name_is_the_same_at_the_other_side() {
        let key = KeyBuf::from_text("Evil.example", 200).unwrap();
        for millisecond in [0, 1, 499, 500, 501, 999] {
            let now = Timestamp::from_second(1_795_219_200).unwrap();
            let time_added = now - SignedDuration::from_millis(5000 + millisecond);
            let entry = Entry { name: Name::parse("evil.example").unwrap(), time_added, ttl: 60, tag_mask: 5 };
            let mut one = Observations::new(1 << 20);
            let sighting = one.add(&key, &entry, LONGEST_TTL, now).unwrap();
            let text = serde_json::to_string(&Line::live("core", &key, sighting).unwrap()).unwrap();
            let line: Line = serde_json::from_str(&text).unwrap();
            let mut other = Observations::new(1 << 20);
            let there = other.add(&key, &line.clone().into_entry().unwrap(), LONGEST_TTL, now).unwrap();
            assert_eq!(there, sighting, "{text}");
            assert!(!line.removed && !text.contains("removed"));
        }
    }
}
