//! What the program does besides running. Results go to standard output, what is to be noted to standard error.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use tapir_wire::config::pop::FileSource;

use crate::compile::{self, CompiledList};
use crate::ctl::Ctl;
use crate::reload::{self, Checked};
use crate::upstream::{self, ConvertError};

/// Tells whether a configuration would be taken: 0 if so, 1 if not.
#[must_use]
pub fn check_config(file: &Path) -> ExitCode {
    match reload::check(file) {
        Ok(Checked { setup, warnings }) => {
            for warning in &warnings {
                note(&format!("{}: {warning}", file.display()));
            }
            let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
            let (sources, rules) = (count(setup.sources.len(), "source"), count(setup.rules.policy.rules.len(), "doubt rule"));
            let warned = if warnings.is_empty() { String::new() } else { format!(", {}", count(warnings.len(), "warning")) };
            say(&format!("{}: good: zone {}, {sources}, {rules}{warned}", file.display(), setup.zone.name()))
        }
        Err(error) => {
            note(&format!("{}: {error}", file.display()));
            ExitCode::FAILURE
        }
    }
}

/// Asks a running POP: 0 with an answer, 1 without.
#[must_use]
pub fn ctl(ctl: &Ctl) -> ExitCode {
    match ctl.run() {
        Ok(text) => say(text.trim_end()),
        Err(error) => {
            note(&error);
            ExitCode::FAILURE
        }
    }
}

/// Turns upstream's configuration into `pop.yaml`: 0 if there is one, 1 if not.
#[must_use]
pub fn convert(folder: &Path, into: Option<&Path>) -> ExitCode {
    match converted(folder, into) {
        Ok(text) => say(text.trim_end()),
        Err(error) => {
            note(&format!("{}: {error}", folder.display()));
            ExitCode::FAILURE
        }
    }
}

/// Compiles a list: 0 if it is written, also where some entries were refused, which is noted; 1 if not.
#[must_use]
pub fn compile_list(list: &FileSource, zone: &str, output: &Path) -> ExitCode {
    match compile::compile_list(list, zone, output) {
        Ok(CompiledList { words, refused, first }) => {
            for line in &first {
                note(&format!("{}, line {}: {}", list.path, line.line, line.reason));
            }
            say(&format!("{}: {words} words, {refused} entries refused", output.display()))
        }
        Err(error) => {
            note(&format!("{}: {error}", list.path));
            ExitCode::FAILURE
        }
    }
}

fn converted(folder: &Path, into: Option<&Path>) -> Result<String, ConvertError> {
    let converted = upstream::convert_folder(folder)?;
    for text in &converted.notes {
        note(text);
    }
    match into {
        Some(into) => upstream::write_folder(&converted, into).map(|()| format!("written to {}", into.display())),
        None => Ok(converted.config.to_yaml()?),
    }
}

/// A reader that has gone away has seen enough.
fn say(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
