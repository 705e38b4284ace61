//! `check-config`, and what a daemon looks at before it starts.

use std::io::{self, Write};
use std::path::Path;

use tapir_runtime::logging::LevelFilter;
use tapir_wire::config::Parsed;
use tapir_wire::config::edm::{EdmConfig, Form};

use super::Start;
use crate::config::{ConfigFile, Unread, endpoint, identity, names};
use crate::list::{Clients, List};
use crate::settings;

/// A list of clients longer than this is none: a million prefixes.
const MAX_CLIENTS: u64 = 64 << 20;

/// Reads the configuration and everything that it names. Says to `out` what should be known; gives what is wrong.
///
/// # Errors
/// When nothing can be said.
pub fn check(start: &Start, out: &mut impl Write) -> io::Result<Vec<String>> {
    for warning in &start.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let Parsed { config, warnings } = match start.file.read() {
        Ok(parsed) => parsed,
        Err(error) => return Ok(vec![full_name(&start.file.path, &error)]),
    };
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let form = if config.form == Form::Own { "own form" } else { "upstream's form" };
    writeln!(out, "{}: {form}", start.file.path.display())?;
    Ok(wrong(&config, start.file.folder()))
}

impl Start {
    /// How much the process logs, if it is to go on. Where its configuration is bad it ends like upstream in upstream's form; in the own form it
    /// serves the socket and waits for a good one, so that a Pod's resolver never misses its neighbour.
    ///
    /// # Errors
    /// What is wrong, a line each.
    pub fn may_begin(&self) -> Result<LevelFilter, String> {
        match self.file.read() {
            Err(error) if self.file.ends_start(&error) => Err(full_name(&self.file.path, &error)),
            Ok(Parsed { config, .. }) => Ok(settings::log_level(&config)),
            Err(_) => Ok(LevelFilter::INFO),
        }
    }
}

/// What ends a start in upstream's form: anything that is missing or bad. Reads all that is named.
#[must_use]
pub fn lacking(file: &ConfigFile) -> Vec<String> {
    match file.read() {
        Ok(Parsed { config, .. }) if config.form == Form::Upstream => wrong(&config, file.folder()),
        _ => Vec::new(),
    }
}

/// What is wrong with the files that a configuration names.
fn wrong(config: &EdmConfig, folder: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(endpoint::endpoint(config, folder).err().unwrap_or_default());
    if !config.disabled {
        let faults = identity::load(config, folder).map_or_else(|faults| faults, |identity| identity.aggregates_faults);
        wrong.extend(faults.iter().map(|fault| format!("identity: {fault}")));
    }
    let mut note = |problem: Option<String>| wrong.extend(problem);
    if settings::writes_sessions(config) {
        note(identity::pseudonym_secret(config, folder).err().map(|error| format!("session files: {error}")));
    }
    let failed = |key: &str, file: &Path, error: &dyn std::fmt::Display| format!("{key} {}: {error}", file.display());
    if let Some(file) = &config.well_known_domains_file {
        let read = List::read(&config.path(folder, file));
        note(read.err().map(|error| failed("well-known-domains-file", file, &error)));
    }
    if let Some(file) = &config.ignored_question_names_file {
        let read = names::ignored(&config.path(folder, file), usize::MAX);
        note(read.err().map(|error| failed("ignored-question-names-file", file, &error)));
    }
    if let Some(file) = &config.ignored_client_ips_file {
        let text = identity::read(&config.path(folder, file), MAX_CLIENTS);
        let read = text.map_err(|error| error.to_string());
        let read = read.and_then(|text| Clients::parse(text.as_bytes()).map_err(|error| error.to_string()));
        note(read.err().map(|error| failed("ignored-client-ips-file", file, &error)));
    }
    wrong
}

fn full_name(path: &Path, error: &Unread) -> String {
    match error {
        Unread::Refused { source, .. } => format!("{}: {source}", path.display()),
        Unread::Unreadable { source, .. } => format!("reading {}: {source}", path.display()),
        Unread::Missing(_) => format!("{} is missing", path.display()),
        Unread::TooLong(_) => format!("{} is longer than 1 MiB", path.display()),
    }
}
