//! EDM with lists of a million names and of a hundred thousand: the release binary as a process, a real broker with mutual TLS, a resolver whose
//! frames are in memory before they are sent.

mod bare;
mod events;
mod faults;
mod frame;
mod load;
mod memory;
mod rates;
mod recording;
mod resolver;
mod server;
mod sessions;
mod stage;
mod start;
mod subscriber;
mod traffic;

use anyhow::Result;
use clap::{Args, ValueEnum};

use faults::Lasting;
use stage::{Size, Stage};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// One part of so many of all names and frames; figures carry it as a suffix, since they stand for nothing but that it works
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    scale: u32,
    /// Only these
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// So often each rate is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    #[command(flatten)]
    lasting: Lasting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// From nothing to ready, with a list of a million names
    Start,
    /// Frames a second and what they cost, names that were seen before; a reader that only splits frames beside it
    Rates,
    /// The same without a broker: histograms alone
    NoBroker,
    /// What a real unbound says, again and again
    Recorded,
    /// One name of a hundred is new, and its event is delivered
    Events,
    /// Session files, and what they take
    Sessions,
    /// Memory with a million names
    #[value(name = "memory-1m")]
    MemoryOfMany,
    /// Memory with a hundred thousand names
    #[value(name = "memory-100k")]
    MemoryOfFew,
    /// 50 000 random names a second with one honest name in a hundred
    Flood,
    /// All that follow; they are left out unless they are asked for
    Faults,
    /// The broker is away under load
    BrokerAway,
    /// The disk is full
    DiskFull,
    /// Core refuses aggregates
    Refusing,
    /// Killed again and again
    Killed,
    /// Garbage beside an honest resolver
    Garbage,
}

impl Part {
    const FAULTS: [Self; 5] = [Self::BrokerAway, Self::DiskFull, Self::Refusing, Self::Killed, Self::Garbage];

    fn is_wanted(self, only: &[Self]) -> bool {
        let is_fault = Self::FAULTS.contains(&self);
        if only.is_empty() { !is_fault } else { only.contains(&self) || is_fault && only.contains(&Self::Faults) }
    }
}

type Measure = fn(&mut Stage) -> Result<()>;

/// In an order in which each finds what it needs.
const PARTS: [(Part, Measure); 14] = [
    (Part::Start, start::ready),
    (Part::Rates, rates::rates),
    (Part::NoBroker, rates::without_broker),
    (Part::Recorded, recording::rate),
    (Part::Events, events::rate),
    (Part::Sessions, sessions::sessions),
    (Part::MemoryOfMany, memory::of_many),
    (Part::MemoryOfFew, memory::of_few),
    (Part::Flood, faults::flood),
    (Part::BrokerAway, faults::broker_away),
    (Part::DiskFull, faults::disk_full),
    (Part::Refusing, faults::refusing),
    (Part::Killed, faults::killed),
    (Part::Garbage, faults::garbage),
];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut stage = Stage::new(Size(arguments.scale), arguments.rounds, arguments.lasting)?;
    for (part, measure) in PARTS {
        if part.is_wanted(&arguments.only) {
            measure(&mut stage)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_parts_that_are_asked_for() {
        let wanted = |only: &[Part]| PARTS.iter().filter(|(part, _)| part.is_wanted(only)).count();
        assert_eq!((wanted(&[]), wanted(&[Part::Faults]), wanted(&[Part::Killed, Part::Start])), (9, 5, 2));
    }
}
