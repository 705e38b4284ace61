//! EDM with lists of a million names and of a hundred thousand: the release binary as a process, a real broker with mutual TLS, a resolver whose
//! frames are in memory before they are sent.

mod bare;
mod events;
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// From nothing to ready, with a list of a million names
    Start,
    /// Frames a second and what they cost, names that were seen before; a reader that only splits frames beside it
    Rates,
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
}

type Measure = fn(&mut Stage) -> Result<()>;

/// In an order in which each finds what it needs.
const PARTS: [(Part, Measure); 7] = [
    (Part::Start, start::ready),
    (Part::Rates, rates::rates),
    (Part::Recorded, recording::rate),
    (Part::Events, events::rate),
    (Part::Sessions, sessions::sessions),
    (Part::MemoryOfMany, memory::of_many),
    (Part::MemoryOfFew, memory::of_few),
];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut stage = Stage::new(Size(arguments.scale), arguments.rounds)?;
    for (part, measure) in PARTS {
        if arguments.only.is_empty() || arguments.only.contains(&part) {
            measure(&mut stage)?;
        }
    }
    Ok(())
}
