//! The operator with a fleet, on a real API server. Pods have no kubelet: the bench says that they run, and answers as their sidecars.

mod admission;
pub(crate) mod exposition;
mod fleet;
pub(crate) mod process;
mod requests;
mod sidecars;
mod stage;

use anyhow::Result;
use clap::Args;

use fleet::Size;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Numbers of edges, one run each
    #[arg(long, value_delimiter = ',', default_value = "100,1000,5000")]
    edges: Vec<usize>,
    /// Pods of each edge; with more than 1000 edges there is one, so that the API server's memory suffices
    #[arg(long, default_value_t = 5)]
    pods_per_edge: usize,
    /// Quiet minutes that are watched; two at most with other than 1000 edges
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

/// The goals are for this many, and ten quiet minutes of theirs.
const OF_THE_GOALS: usize = 1000;
const MOST_QUIET_MINUTES_OF_OTHERS: u64 = 2;

/// Runs all sizes, and admission with the first.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    crate::network::enter()?;
    for edges in &arguments.edges {
        let pods_per_edge = if *edges > 1000 { 1 } else { arguments.pods_per_edge };
        let minutes =
            if *edges == OF_THE_GOALS { arguments.minutes } else { arguments.minutes.min(MOST_QUIET_MINUTES_OF_OTHERS) };
        stage::run(Size { edges: *edges, pods_per_edge }, std::time::Duration::from_secs(60 * minutes))?;
    }
    admission::run()
}
