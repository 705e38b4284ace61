//! What stands behind an observed name: some twenty octets.

use jiff::Timestamp;
use tapir_table::{Value, Written};

/// Marks the time of a sighting that is followed by an end of its guard; milliseconds need no more than 47 bits before the year 6429.
const GUARDED: u64 = 1 << 47;

/// A live observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// Time of the newest observation, in milliseconds since 1970.
    pub added: u64,
    /// When it ends, in seconds since 1970.
    pub expires: u32,
    /// Its tags as bits.
    pub tags: u32,
    /// Until when an older message could have an effect; never before `expires`.
    pub guard: u32,
}

/// An observation that has ended or was taken back, remembered against replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Time of the newest message about it, in milliseconds since 1970.
    pub added: u64,
    /// Until when an older message could have an effect, in seconds since 1970.
    pub until: u32,
}

impl Sighting {
    /// A time as it stands in [`Sighting::added`].
    #[must_use]
    pub fn milliseconds(time: Timestamp) -> u64 {
        milliseconds(time)
    }

    /// A time as it stands in [`Sighting::expires`].
    #[must_use]
    pub fn second_near(time: Timestamp) -> u32 {
        second_near(time)
    }

    /// When it was seen, and when it ends.
    #[must_use]
    pub fn times(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let added = i64::try_from(self.added).ok().and_then(|added| Timestamp::from_millisecond(added).ok());
        (added, Timestamp::from_second(self.expires.into()).ok())
    }
}

impl Value for Sighting {
    const KIND: u8 = 16;
    const ALWAYS_INLINE: bool = true;

    fn write(&self, to: &mut Written) {
        let guarded = self.guard > self.expires;
        push_time(to, self.added | if guarded { GUARDED } else { 0 });
        to.push(&self.expires.to_be_bytes());
        to.push(&self.tags.to_be_bytes());
        if guarded {
            to.push(&self.guard.to_be_bytes());
        }
    }

    fn read(from: &[u8], at: &mut usize) -> Option<Self> {
        let time = read_time(from, at)?;
        let (expires, tags) = (read_number(from, at)?, read_number(from, at)?);
        let guard = if time & GUARDED == 0 { expires } else { read_number(from, at)? };
        Some(Self { added: time & !GUARDED, expires, tags, guard })
    }

    #[inline]
    fn due(&self) -> u32 {
        self.expires
    }
}

impl Value for Guard {
    const KIND: u8 = 17;
    const ALWAYS_INLINE: bool = true;

    fn write(&self, to: &mut Written) {
        push_time(to, self.added);
        to.push(&self.until.to_be_bytes());
    }

    fn read(from: &[u8], at: &mut usize) -> Option<Self> {
        Some(Self { added: read_time(from, at)?, until: read_number(from, at)? })
    }

    #[inline]
    fn due(&self) -> u32 {
        self.until
    }
}

/// Whole milliseconds, at most what fits beside the mark.
pub(super) fn milliseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0).min(GUARDED - 1)
}

/// The whole second next to `time`: what ends then is gone within a second of its end, with room for the version that says so.
pub(super) fn second_near(time: Timestamp) -> u32 {
    let seconds = time.as_second().saturating_add(i64::from(time.subsec_nanosecond() >= 500_000_000));
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX - 1).min(u32::MAX - 1)
}

/// The second that `time` lies in.
pub(super) fn second_of(time: Timestamp) -> u32 {
    u32::try_from(time.as_second().max(0)).unwrap_or(u32::MAX - 1).min(u32::MAX - 1)
}

fn push_time(to: &mut Written, time: u64) {
    if let Some(octets) = time.to_be_bytes().get(2..) {
        to.push(octets);
    }
}

fn read_time(from: &[u8], at: &mut usize) -> Option<u64> {
    let octets: &[u8; 6] = from.get(*at..)?.first_chunk()?;
    *at += octets.len();
    Some(octets.iter().fold(0, |time, octet| (time << 8) | u64::from(*octet)))
}

fn read_number(from: &[u8], at: &mut usize) -> Option<u32> {
    let octets: &[u8; 4] = from.get(*at..)?.first_chunk()?;
    *at += octets.len();
    Some(u32::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn same<V: Value>(value: V) -> bool {
        let written = Written::of(&value);
        let mut at = 0;
        let read = V::read(written.as_bytes(), &mut at);
        read == Some(value) && at == written.as_bytes().len() && V::read(&written.as_bytes()[..at - 1], &mut 0) != Some(value)
    }

    proptest! {
        #[test]
        fn values_are_read_as_they_were_written(added in 0..GUARDED, expires: u32, tags: u32, longer: u32) {
            let guard = expires.saturating_add(longer);
            let guarded = Sighting { added, expires, tags, guard };
            let [long, short] = [guarded, Sighting { guard: expires, ..guarded }].map(same);
            prop_assert!(long && short && same(Guard { added, until: expires }), "{guarded:?}");
        }
    }

    #[test]
    fn ends_are_half_a_second_off_at_most() {
        let of = |nanoseconds| Timestamp::new(10, nanoseconds).unwrap();
        assert_eq!([0, 499_999_999, 500_000_000].map(|part| second_near(of(part))), [10, 10, 11]);
        assert_eq!(second_of(of(999_999_999)), 10);
        assert_eq!((second_near(Timestamp::MAX), second_of(Timestamp::MIN)), (u32::MAX - 1, 0));
    }
}
