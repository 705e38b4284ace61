//! Growing pauses between attempts.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Bounds of the pauses between attempts: doubling from `min` to `max`, with jitter, without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// First pause.
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
    pub fn start(self) -> Pauses {
        Pauses { bounds: self, inner: self.builder().build() }
    }

    fn builder(self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_min_delay(self.min)
            .with_max_delay(self.max)
            .with_jitter()
            .without_max_times()
    }
}

/// A row of pauses.
#[derive(Debug)]
pub struct Pauses {
    bounds: BackOff,
    inner: ExponentialBackoff,
}

impl Pauses {
    /// The next pause: at least `min`, less than twice `max`.
    pub fn next_pause(&mut self) -> Duration {
        self.inner.next().unwrap_or(self.bounds.max)
    }

    /// After a success: begin small again.
    pub fn reset(&mut self) {
        self.inner = self.bounds.builder().build();
    }
}
