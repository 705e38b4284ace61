//! What becomes of frames, in numbers.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use strum::{EnumCount, EnumIter, IntoEnumIterator as _, IntoStaticStr};

use crate::decode::Dropped;

/// What became of a frame. Label of the metric `tapir_edm_frames_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumCount, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Fate {
    /// Not dnstap.
    Undecodable,
    /// dnstap without a message.
    NoMessage,
    /// Not a client's response.
    TypeNotCounted,
    /// The DNS message ends inside something.
    DnsTruncated,
    /// The DNS message has a name that is none.
    DnsName,
    /// The DNS message has RDATA that does not fit its type.
    DnsRecordData,
    /// The DNS message asks nothing.
    NoQuestion,
    /// The client is on the list of those that are left out.
    ClientIgnored,
    /// There is such a list, and nobody can tell whether the client is on it.
    ClientUnknown,
    /// A name that was asked for is on the list of those that are left out.
    NameIgnored,
    /// Told a second time.
    Duplicate,
    /// Sending is switched off, or no configuration is there yet.
    NotSending,
    /// Counted for a well-known domain.
    WellKnown,
    /// Offered to the events.
    OtherName,
}

impl From<Dropped> for Fate {
    fn from(dropped: Dropped) -> Self {
        match dropped {
            Dropped::Undecodable => Self::Undecodable,
            Dropped::NoMessage => Self::NoMessage,
            Dropped::TypeNotCounted => Self::TypeNotCounted,
            Dropped::DnsTruncated => Self::DnsTruncated,
            Dropped::DnsName => Self::DnsName,
            Dropped::DnsRecordData => Self::DnsRecordData,
            Dropped::NoQuestion => Self::NoQuestion,
        }
    }
}

impl EncodeLabelValue for Fate {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        <&str>::from(*self).encode(encoder)
    }
}

/// Label of frames.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FateLabels {
    /// What became of them.
    pub outcome: Fate,
}

/// Frames by what became of them. Cloning shares the counters.
#[derive(Clone, Debug)]
pub struct FrameCounts {
    family: Family<FateLabels, Counter>,
    each: [Counter; Fate::COUNT],
}

impl Default for FrameCounts {
    fn default() -> Self {
        let family = Family::<FateLabels, Counter>::default();
        let mut each: [Counter; Fate::COUNT] = std::array::from_fn(|_| Counter::default());
        // All are there from the start, so that an alert on a rate sees the first one.
        for (counter, outcome) in each.iter_mut().zip(Fate::iter()) {
            *counter = family.get_or_create_owned(&FateLabels { outcome });
        }
        Self { family, each }
    }
}

impl FrameCounts {
    /// How many met this fate.
    #[must_use]
    pub fn of(&self, fate: Fate) -> u64 {
        self.each.get(fate as usize).map_or(0, Counter::get)
    }

    /// All that were looked at.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.each.iter().map(Counter::get).sum()
    }

    /// Registers everything. The prefix is the registry's.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("frames", "dnstap frames looked at, by what became of them", self.family.clone());
    }
}

/// Counts for some frames, before anybody else learns of it: one access to shared memory for many frames.
#[derive(Debug, Default)]
pub(super) struct Tally([u32; Fate::COUNT]);

impl Tally {
    pub(super) fn add(&mut self, fate: Fate) {
        if let Some(count) = self.0.get_mut(fate as usize) {
            *count += 1;
        }
    }

    pub(super) fn tell(&mut self, counts: &FrameCounts) {
        for (count, counter) in self.0.iter_mut().zip(&counts.each) {
            if *count > 0 {
                counter.inc_by(u64::from(std::mem::take(count)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_was_counted_under_its_own_name() {
        let (counts, mut tally) = (FrameCounts::default(), Tally::default());
        let mut registry = tapir_runtime::metrics::registry("tapir_edm");
        counts.register(&mut registry);
        for (times, fate) in Fate::iter().enumerate() {
            (0..times).for_each(|_| tally.add(fate));
        }
        assert_eq!(counts.all(), 0);
        tally.tell(&counts);
        tally.tell(&counts);
        let text = tapir_runtime::metrics::render(&registry);
        for (times, fate) in Fate::iter().enumerate() {
            assert_eq!(counts.of(fate), times as u64);
            let line = format!("tapir_edm_frames_total{{outcome=\"{}\"}} {times}", <&str>::from(fate));
            assert!(text.lines().any(|have| have == line), "{line} not in\n{text}");
        }
        assert_eq!(counts.all(), (0..Fate::COUNT as u64).sum::<u64>());
    }
}
