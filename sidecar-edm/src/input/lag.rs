//! How far the input is behind. A resolver that finds its dnstap socket full loses frames and says nothing, so what leads there is measured.
//!
//! A socket's buffer counts small writes for more than their octets, so nobody can see from this end that it is full. What can be seen: a
//! read that filled all the room there was (more was waiting), what was still waiting after it, how long the socket was left alone
//! between two reads, and how old the frames are by the resolver's own clock.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;

/// A highest value is told for at least so long, and at most for twice as long: longer than metrics are usually asked for.
const SPAN: Duration = Duration::from_secs(60);

/// What was seen of late by all connections.
#[derive(Debug)]
pub struct Lag {
    begun: Instant,
    waiting: Highest,
    pause: Highest,
    age: Highest,
}

/// The highest values of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Octets that waited in one socket after a read that filled its room.
    pub waiting_octets: u64,
    /// For how long one socket was not read while its frames were worked on.
    pub pause: Duration,
    /// How old a frame was when its turn came.
    pub age: Duration,
}

impl Default for Lag {
    fn default() -> Self {
        Self { begun: Instant::now(), waiting: Highest::default(), pause: Highest::default(), age: Highest::default() }
    }
}

impl Lag {
    /// So many octets wait after a read that filled its room.
    pub fn waiting(&self, now: Instant, octets: u64) {
        self.waiting.see(self.span(now), octets);
    }

    /// A socket was left alone for so long.
    pub fn paused(&self, now: Instant, time: Duration) {
        self.pause.see(self.span(now), micros(time));
    }

    /// A frame was so old when it was looked at. For the sink: nobody else reads what is in a frame.
    pub fn aged(&self, now: Instant, time: Duration) {
        self.age.see(self.span(now), micros(time));
    }

    /// The highest values of late.
    #[must_use]
    pub fn behind(&self, now: Instant) -> Behind {
        let span = self.span(now);
        Behind {
            waiting_octets: self.waiting.of_late(span),
            pause: Duration::from_micros(self.pause.of_late(span)),
            age: Duration::from_micros(self.age.of_late(span)),
        }
    }

    fn span(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_secs() / SPAN.as_secs()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The highest value in this span and in the one before.
#[derive(Debug, Default)]
struct Highest(Mutex<Spans>);

#[derive(Clone, Copy, Debug, Default)]
struct Spans {
    span: u64,
    now: u64,
    before: u64,
}

impl Spans {
    fn at(self, span: u64) -> Self {
        match span.saturating_sub(self.span) {
            0 => self,
            1 => Self { span, now: 0, before: self.now },
            _ => Self { span, now: 0, before: 0 },
        }
    }
}

impl Highest {
    fn see(&self, span: u64, value: u64) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *spans = spans.at(span);
        spans.now = spans.now.max(value);
    }

    fn of_late(&self, span: u64) -> u64 {
        let spans = self.0.lock().unwrap_or_else(PoisonError::into_inner).at(span);
        spans.now.max(spans.before)
    }
}

/// Tells a registry.
#[derive(Debug)]
pub(super) struct Telling(pub(super) std::sync::Arc<Lag>);

impl Collector for Telling {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Behind { waiting_octets, pause, age } = self.0.behind(Instant::now());
        let gauges = [
            (
                "input_waiting_octets",
                "Most octets of late that waited in a dnstap socket behind a full read",
                waiting_octets as f64,
            ),
            ("input_pause_seconds", "Longest time of late for which a dnstap socket was not read", pause.as_secs_f64()),
            ("input_lag_seconds", "Highest age of late of a dnstap frame when its turn came", age.as_secs_f64()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_is_told_for_a_while() {
        let lag = Lag::default();
        let at = |seconds: u64| lag.begun + Duration::from_secs(seconds);
        lag.waiting(at(1), 700);
        lag.waiting(at(2), 300);
        lag.paused(at(50), Duration::from_millis(20));
        lag.aged(at(59), Duration::from_secs(3));
        let all = Behind { waiting_octets: 700, pause: Duration::from_millis(20), age: Duration::from_secs(3) };
        assert_eq!(lag.behind(at(59)), all);
        assert_eq!(lag.behind(at(119)), all);
        lag.waiting(at(119), 100);
        assert_eq!(lag.behind(at(120)), Behind { waiting_octets: 100, ..Behind::default() });
        assert_eq!(lag.behind(at(500)), Behind::default());
    }
}
