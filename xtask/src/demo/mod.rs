//! `cargo xtask demo`: from nothing to a blocked answer, told step by step.

mod the_loop;
pub(crate) mod users_part;

use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::Args;
use tapir_harness::cluster::{self, Cluster};
use tapir_harness::deploy::{Environment, Serves};
use tapir_harness::evidence;
use tapir_harness::images;
use tapir_harness::paths::{self, ClusterName};
use tapir_harness::progress::{say, seconds};

pub(crate) const NAMESPACE: &str = "dns";
pub(crate) const EDGE: &str = "demo";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Remove what the demo made
    #[arg(long)]
    down: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.down {
        down()?;
    } else if let Err(error) = show() {
        let name = cluster_name()?;
        evidence::collect(&name, &paths::target().join("scenarios/demo"));
        say("what is there of the cluster stays for a look; `cargo xtask demo --down` removes it");
        return Err(error);
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn cluster_name() -> Result<ClusterName> {
    ClusterName::parse("demo")
}

pub(crate) fn down() -> Result<()> {
    cluster::down(&cluster_name()?)?;
    say("The demo's cluster is gone: processes, network, files. Built tools and images stay in the cache for the next time:");
    say(&format!("    {}", paths::cache()?.display()));
    Ok(())
}

pub(crate) fn show() -> Result<()> {
    let started = Instant::now();
    chapter(1, "A Kubernetes cluster, and images for it, from the sources of this repository and pinned modules");
    if !paths::cache()?.join("tools").exists() {
        say(
            "The first time, everything is built: about 20 minutes on two cores. What is built is kept, the next time takes a minute.\n",
        );
    }
    let cluster = Cluster::up(&cluster_name()?)?;
    let built = images::build(&[])?;
    images::write_index(&built)?;
    let environment = Environment::new(&cluster, &built)?;

    chapter(2, "Around the edge: an Internet with a root zone, a development Core, and the operator by Helm");
    environment.namespace(NAMESPACE)?;
    environment.deploy(Serves::Namespace(NAMESPACE))?;

    chapter(3, "The user's part: enrolment credentials from Core, and `kubectl apply -k`");
    let node = users_part::apply(&environment, |manifest| manifest)?;

    chapter(4, "The loop");
    the_loop::tell(&environment)?;
    let elapsed = seconds(started.elapsed());
    say(&format!("\nDone in {elapsed}. The cluster stays up, with this edge as node {node} of Core. Look around:"));
    for line in [
        "cargo xtask cluster --name demo kubectl -n dns get tapiredge,tapirpolicy,pods",
        "cargo xtask cluster --name demo kubectl -n dns describe tapiredge demo",
        "cargo xtask cluster --name demo kubectl -n tapir-core exec deploy/core -- core-dev dump",
        "cargo xtask demo --down",
    ] {
        say(&format!("    {line}"));
    }
    Ok(())
}

fn chapter(number: u8, title: &str) {
    say(&format!("\n--- {number}. {title}\n"));
}

fn unique() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock").map_or(0, |elapsed| elapsed.as_secs())
}
