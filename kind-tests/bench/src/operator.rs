//! The operator with a fleet, on a real API server. Pods have no kubelet: the bench says that they run, and answers as their sidecars.

mod admission;
mod exposition;
mod fleet;
mod process;
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
    /// Quiet minutes that are watched
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

/// Runs all sizes, and admission with the first.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    crate::network::enter()?;
    for edges in &arguments.edges {
        let pods_per_edge = if *edges > 1000 { 1 } else { arguments.pods_per_edge };
        stage::run(Size { edges: *edges, pods_per_edge }, std::time::Duration::from_secs(60 * arguments.minutes))?;
    }
    admission::run()
}
