//! How far this machine's clock is off from Core's, by the `Date` of its answers. Requests carry local time all the same: only people can
//! tell which of the two clocks is wrong.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// nodeman refuses requests that are older.
pub(super) const TOLERATED: SignedDuration = SignedDuration::from_mins(5);
/// Less than this is the time that an answer takes, and nobody's business.
const WORTH_SAYING: i64 = 60;

/// Seconds by which Core's clock is ahead of ours; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Skew(Arc<Mutex<Option<i64>>>);

impl Skew {
    /// From an answer's date, and when the request was sent and the answer there.
    pub(super) fn measure(&self, date: Option<Timestamp>, sent: Timestamp, there: Timestamp) {
        let Some(date) = date else { return };
        // The answer was sent at some time in between. A clock that was set meanwhile measures nothing.
        let ahead = if date < sent {
            date.as_second() - sent.as_second()
        } else if date > there {
            date.as_second() - there.as_second()
        } else {
            0
        };
        if sent <= there {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
        }
    }

    /// Seconds by which Core's clock is ahead of ours; none before its first answer.
    #[must_use]
    pub fn seconds(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In words, if it is worth saying.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let ahead = self.seconds().filter(|ahead| ahead.abs() >= WORTH_SAYING)?;
        let way = if ahead > 0 { "behind" } else { "ahead of" };
        Some(format!("this cluster's clock is {} s {way} Core's", ahead.abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn words(date: i64, sent: i64, there: i64) -> Option<String> {
        let skew = Skew::default();
        skew.measure(Some(at(date)), at(sent), at(there));
        skew.words()
    }

    #[test]
    fn what_an_answer_takes_is_no_skew() {
        assert_eq!(words(1000, 1000, 1010), None);
        assert_eq!(words(1059, 1000, 1000), None);
        assert_eq!(words(4600, 1000, 1000).as_deref(), Some("this cluster's clock is 3600 s behind Core's"));
        assert_eq!(words(1000, 4600, 4605).as_deref(), Some("this cluster's clock is 3600 s ahead of Core's"));
        assert_eq!(Skew::default().words(), None);
    }
}
