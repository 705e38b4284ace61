//! Measures the product: `cargo xtask bench NAME` builds what is needed and starts this.
//!
//! Each figure is a line `figure NAME VALUE UNIT`.
#![allow(clippy::print_stdout, reason = "printing is what a bench does")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod broker;
mod edm;
mod group;
mod in_force;
mod names;
mod network;
mod operator;
mod pop;
mod values;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "tapir-bench", version = tapir_version::LONG)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Thousands of edges and Pods on a real API server
    Operator(operator::Arguments),
    /// POP with a zone of a million names
    Pop(pop::Arguments),
    /// EDM with lists of a million names and of a hundred thousand
    Edm(edm::Arguments),
    /// How long until a changed policy is in force in all Pods of an edge; runs on the node
    InForce(in_force::Arguments),
}

fn main() -> Result<()> {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Arguments::parse().bench {
        Bench::Operator(arguments) => operator::run(&arguments),
        Bench::Pop(arguments) => pop::run(&arguments),
        Bench::Edm(arguments) => edm::run(&arguments),
        Bench::InForce(arguments) => in_force::run(&arguments),
    }
}

/// Tells how far it is.
fn say(line: &str) {
    println!("{line}");
}

/// Tells a figure, with three digits behind the point at most.
fn figure(name: &str, value: f64, unit: &str) {
    println!("figure {name} {} {unit}", (value * 1000.0).round() / 1000.0);
}
