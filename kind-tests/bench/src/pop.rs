//! POP with a zone of a million names: the release binary as a process, a real broker with mutual TLS, a reader that is not the bottleneck.

mod bare;
mod changes;
mod content;
mod live;
mod notified;
mod reader;
mod sender;
mod server;
mod stage;
mod transfers;
mod witness;

use anyhow::Result;
use clap::{Args, ValueEnum};

use stage::{Size, Stage};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// One part of so many of all names, and shorter; figures carry it as a suffix, since they stand for nothing but that it works
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    scale: u32,
    /// Only these
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Memory after a transfer, its rate, the rate of a bare socket
    Axfr,
    /// Eight readers, one of them stalled
    Stalled,
    /// All lists change
    Rebuild,
    /// From an observation to the NOTIFY of it
    Notify,
    /// Eight readers while observations come
    Axfr8,
    /// kill -9 and start
    Restart,
    /// What a million live observations take, and how many come through
    Observations,
}

type Measure = fn(&mut Stage) -> Result<()>;

/// In an order in which each finds what it needs.
const PARTS: [(Part, Measure); 7] = [
    (Part::Axfr, transfers::one),
    (Part::Stalled, transfers::stalled),
    (Part::Rebuild, changes::rebuild),
    (Part::Notify, changes::notify),
    (Part::Axfr8, transfers::eight),
    (Part::Restart, changes::restart),
    (Part::Observations, live::observations),
];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut stage = Stage::new(Size(arguments.scale))?;
    for (part, measure) in PARTS {
        if arguments.only.is_empty() || arguments.only.contains(&part) {
            measure(&mut stage)?;
        }
    }
    Ok(())
}
