//! Growing pauses between attempts.

use std::time::Duration;

/// Bounds of the pauses between attempts: doubling from `min` to `max`, each shortened at random by up to half, without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// First pause, before jitter.
    pub min: Duration,
    /// Longest pause, before jitter.
    pub max: Duration,
}

impl Default for BackOff {
    /// For Core: 1 s to 30 s. Many edges lose one broker at the same moment and must not come back all at once.
    fn default() -> Self {
        Self { min: Duration::from_secs(1), max: Duration::from_secs(30) }
    }
}

impl BackOff {
    /// For things on this machine (a port that is taken, a folder that is not there yet).
    pub const LOCAL: Self = Self { min: Duration::from_millis(200), max: Duration::from_secs(5) };

    /// A fresh row of pauses.
    #[must_use]
    pub const fn start(self) -> Pauses {
        Pauses { bounds: self, next: self.min }
    }
}

/// A row of pauses.
#[derive(Clone, Debug)]
pub struct Pauses {
    bounds: BackOff,
    next: Duration,
}

impl Pauses {
    /// The next pause, with jitter: between half of what is due and all of it.
    pub fn next_pause(&mut self) -> Duration {
        let due = self.next.min(self.bounds.max);
        self.next = due.saturating_mul(2).min(self.bounds.max);
        due.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// After a success: begin small again.
    pub const fn reset(&mut self) {
        self.next = self.bounds.min;
    }
}

#[cfg(test)]
mod tests {
    use super::BackOff;
    use std::time::Duration;

    #[test]
    fn pauses_double_up_to_the_bound_and_start_again_after_a_success() {
        let mut pauses = BackOff::default().start();
        for due in [1, 2, 4, 8, 16, 30, 30, 30] {
            let pause = pauses.next_pause();
            let due = Duration::from_secs(due);
            assert!(pause >= due / 2 && pause <= due, "{pause:?} of {due:?}");
        }
        pauses.reset();
        assert!(pauses.next_pause() <= Duration::from_secs(1));
    }

    #[test]
    fn two_rows_differ() {
        let row = || {
            let mut pauses = BackOff::default().start();
            (0..6).map(|_| pauses.next_pause()).collect::<Vec<_>>()
        };
        assert_ne!(row(), row());
    }
}
