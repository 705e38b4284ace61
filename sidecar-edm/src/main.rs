//! `tapir-edm`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use tapir_edm::commands::{self, Asked, Start};
use tapir_edm::domains;
use tapir_edm::privacy::hide_memory;
use tapir_edm::run::{Ended, Options, run};
use tapir_runtime::process;
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;

/// Lists of domains: make and inspect their files.
#[derive(Debug, Parser)]
#[command(name = "tapir-edm domains", disable_version_flag = true)]
struct Domains {
    #[command(subcommand)]
    command: domains::Command,
}

/// What glibc is told of memory: huge pages for what is large, since a name is looked up in places that are far apart; one arena, as no
/// thread asks for memory while it counts; what is large goes back to the kernel at once.
const MEMORY: [(&str, &str); 3] =
    [("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"), ("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "131072")];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    match commands::parse(&arguments, |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())) {
        Ok(Asked::Say(text)) => ended(io::stdout().write_all(text.as_bytes())),
        Ok(Asked::Run(start)) => daemon(start),
        Ok(Asked::CheckConfig(start)) => check_config(&start),
        Ok(Asked::Domains(rest)) => lists(&rest),
        Err(misunderstood) => failed(&misunderstood),
    }
}

fn daemon(start: Start) -> ExitCode {
    process::hold_signals();
    process::tell_allocator(&MEMORY);
    let level = match start.may_begin() {
        Ok(level) => level,
        Err(wrong) => return failed(&wrong),
    };
    // Before anybody's address is in it. Refused or not, work goes on: a resolver is waiting.
    if let Err(error) = hide_memory() {
        _ = writeln!(io::stderr(), "a crash may leave memory behind: {error}");
    }
    process::run_at(level, "tapir-edm", &mut Builder::new_multi_thread(), |shutdown| async move {
        for warning in &start.warnings {
            tracing::warn!(warning, "command line has something that this version does not know");
        }
        let Start { file, .. } = start;
        let options = Options::new(file.clone(), tapir_runtime::instance::of_pod());
        // The disk may hang, and a signal is to end this too.
        let lacking = tokio::select! {
            lacking = spawn_blocking(move || commands::lacking(&file)) => lacking.unwrap_or_default(),
            () = shutdown.requested() => return Ok(()),
        };
        if lacking.is_empty() {
            return run(options, shutdown).await;
        }
        _ = writeln!(io::stderr(), "{}", lacking.join("\n"));
        Err(Ended::Start(lacking.join("; ")))
    })
}

fn check_config(start: &Start) -> ExitCode {
    let mut out = io::stdout().lock();
    match commands::check(start, &mut out) {
        Ok(wrong) if wrong.is_empty() => ended(writeln!(out, "good")),
        Ok(wrong) => failed(&wrong.join("\n")),
        Err(error) => failed(&error),
    }
}

fn lists(arguments: &[String]) -> ExitCode {
    let name = "tapir-edm domains".to_owned();
    let command = match Domains::try_parse_from([name].iter().chain(arguments)) {
        Ok(Domains { command }) => command,
        Err(told) if !told.use_stderr() => return ended(told.print()),
        Err(wrong) => return failed(&wrong.render()),
    };
    match domains::run(&command, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn ended(said: io::Result<()>) -> ExitCode {
    said.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    // Nobody is left to tell where this cannot be written either.
    _ = writeln!(io::stderr(), "{error}");
    ExitCode::FAILURE
}
