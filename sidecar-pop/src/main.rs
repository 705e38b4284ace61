//! `tapir-pop`: the worker of the POP sidecar.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tapir_pop::app::{self, Options};
use tapir_pop::commands;
use tapir_pop::ctl::Ctl;
use tapir_runtime::process;
use tapir_wire::config::pop::{FileSource, Format};
use tapir_wire::node::paths;
use tokio::runtime::Builder;

/// DNS TAPIR Policy Processor: intelligence in, response policy zone out.
#[derive(Debug, Parser)]
#[command(name = "tapir-pop", version = tapir_version::LONG)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the zone until told to stop.
    Run {
        /// Configuration; its folder is watched, and holds the node's identity too.
        #[arg(long, env = "TAPIR_POP_CONFIG", default_value_os_t = default_config())]
        config_file: PathBuf,
        /// Folder with upstream's configuration, to be taken in place of pop.yaml; see convert.
        #[arg(long, env = "TAPIR_POP_UPSTREAM_CONFIG")]
        upstream_config: Option<PathBuf>,
        /// Where the last good configuration is kept for a restart.
        #[arg(long, env = "TAPIR_POP_STATE_DIR", default_value = paths::POP_STATE_DIRECTORY)]
        state_dir: PathBuf,
    },
    /// Tell whether a configuration would be taken, and what of it would have no effect.
    CheckConfig {
        /// `pop.yaml`; the lists and keys that it names lie beside it.
        file: PathBuf,
    },
    /// Ask a POP that runs on this machine.
    Ctl(Ctl),
    /// Turn the configuration of upstream's POP into pop.yaml; what comes out different is noted.
    Convert {
        /// Folder with dnstapir-pop.yaml, pop-sources.yaml, pop-outputs.yaml and pop-policy.yaml, or some of them.
        folder: PathBuf,
        /// Write pop.yaml and files of keys into this folder, in place of pop.yaml to standard output.
        #[arg(long)]
        output_dir: Option<PathBuf>,
    },
    /// Compile a list of names into the form that is read with format Dawg.
    CompileList {
        /// The list.
        list: String,
        /// The compiled list; an existing file is replaced.
        output: PathBuf,
        /// How the list is written: Domains, Hosts, Csv or Rpz.
        #[arg(long, default_value = "Domains", value_parser = format)]
        format: Format,
        /// With Csv: the column that holds the name, from 1; the second where nothing is said.
        #[arg(long)]
        column: Option<u32>,
        /// With Csv: there is no heading.
        #[arg(long)]
        no_header: bool,
        /// Zone that the names are to fit into.
        #[arg(long, default_value = "dnstapir.")]
        zone: String,
    },
}

fn format(text: &str) -> Result<Format, String> {
    serde_json::from_value(text.into()).map_err(|_| "use Domains, Hosts, Csv or Rpz".to_owned())
}

fn default_config() -> PathBuf {
    PathBuf::from(paths::POP_CONFIG_DIRECTORY).join(paths::POP_CONFIG_FILE)
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config_file, upstream_config, state_dir } => run(Options { config_file, upstream_config, state_dir }),
        Command::CheckConfig { file } => commands::check_config(&file),
        Command::Ctl(ctl) => commands::ctl(&ctl),
        Command::CompileList { list, output, format, column, no_header, zone } => {
            let list = FileSource { path: list, format, column, header: no_header.then_some(false), zone: None };
            commands::compile_list(&list, &zone, &output)
        }
        Command::Convert { folder, output_dir } => commands::convert(&folder, output_dir.as_deref()),
    }
}

/// What glibc is told of memory (mallopt(3)): arenas for two threads in place of eight for each processor, and what is large or free at the
/// end goes back to the kernel. Without it a million names cost some 30 MiB more, which were needed once.
const MEMORY: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

fn run(options: Options) -> ExitCode {
    process::tell_allocator(&MEMORY);
    // The engine may be busy with one thread for a while; DNS and probes need another.
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(2);
    process::run("tapir-pop", &mut runtime, |shutdown| app::run(options, shutdown))
}
