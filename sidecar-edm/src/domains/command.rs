//! The subcommands.

use std::fs;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use tapir_wire::name::Name;

use super::{Inspection, Source, compile, inspect};
use crate::list::{List, MAX_FILE};

/// A longer text is no list.
const MAX_TEXT: u64 = 1 << 30;

/// `tapir-edm domains`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a DAWG file of a list of names.
    Compile {
        /// What the list is.
        #[arg(long, value_enum, default_value_t = Source::Text)]
        format: Source,
        /// The list.
        list: PathBuf,
        /// The file to be made.
        file: PathBuf,
    },
    /// Tell what a DAWG file has, whether it is whole, and which entries names hit.
    Inspect {
        /// The file.
        file: PathBuf,
        /// Names to look up.
        names: Vec<String>,
    },
}

/// Why it was not done, for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(String);

/// Does it, and says to `out` what was done.
pub fn run(command: &Command, out: &mut impl Write) -> Result<(), Failed> {
    let unsaid = |error: io::Error| Failed(format!("writing what was found: {error}"));
    match command {
        Command::Compile { format, list, file } => {
            let text = read(list, MAX_TEXT)?;
            let compiled = compile(&text, *format).map_err(|error| Failed(format!("{}: {error}", list.display())))?;
            replace(file, &compiled.file).map_err(|error| Failed(format!("writing {}: {error}", file.display())))?;
            let (octets, super::Compiled { words, duplicates, .. }) = (compiled.file.len(), &compiled);
            writeln!(out, "{}: {words} names, {octets} octets; {duplicates} lines left out that stood twice", file.display())
                .map_err(unsaid)
        }
        Command::Inspect { file, names } => {
            let octets = read(file, MAX_FILE)?;
            let refused = |error: &dyn std::fmt::Display| Failed(format!("{}: {error}", file.display()));
            let found = inspect(&octets).map_err(|error| refused(&error))?;
            say(&found, octets.len(), out).map_err(unsaid)?;
            if names.is_empty() {
                return Ok(());
            }
            let list = List::from_dawg(&octets).map_err(|error| refused(&error))?;
            for name in names {
                let said = look(&list, name)?;
                writeln!(out, "{name}: {said}").map_err(unsaid)?;
            }
            Ok(())
        }
    }
}

fn say(found: &Inspection, octets: usize, out: &mut impl Write) -> io::Result<()> {
    let Inspection { header, exact, suffixes, unmatchable, told, ends, as_compiled } = found;
    writeln!(out, "whole: {octets} octets, {} words, {} nodes, {} edges added", header.words, header.nodes, header.edges_added)?;
    writeln!(out, "{} bits a character, {} bits an address", header.character_bits, header.address_bits)?;
    writeln!(out, "{exact} names, {suffixes} with everything below a name, {unmatchable} that no name can match")?;
    for (word, reason) in told {
        writeln!(out, "  {word:?} {reason}")?;
    }
    if let Some((first, last)) = ends {
        writeln!(out, "from {first:?} to {last:?}")?;
    }
    let same = if *as_compiled { "the same octets" } else { "other octets" };
    writeln!(out, "compiled again: {same}")
}

fn look(list: &List, name: &str) -> Result<String, Failed> {
    let wire = Name::parse(name).map_err(|error| Failed(format!("{name:?}: {error}")))?.to_wire();
    Ok(list.find(&wire).map_or_else(
        || "not in the list".to_owned(),
        |entry| format!("{}, {} match", list.name(entry), if entry.suffix { "suffix" } else { "exact" }),
    ))
}

fn read(path: &Path, longest: u64) -> Result<Vec<u8>, Failed> {
    let failed = |error: io::Error| Failed(format!("reading {}: {error}", path.display()));
    let mut octets = Vec::new();
    fs::File::open(path).map_err(failed)?.take(longest + 1).read_to_end(&mut octets).map_err(failed)?;
    if octets.len() as u64 > longest {
        return Err(Failed(format!("{} is longer than {} MiB", path.display(), longest >> 20)));
    }
    Ok(octets)
}

/// Who reads the file meanwhile sees the old one or the new one.
fn replace(path: &Path, octets: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let written = fs::File::create(&beside).and_then(|mut file| {
        file.write_all(octets)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&beside, path));
    if renamed.is_err() {
        // What is left of it helps nobody; that it cannot be removed does not matter beside the first error.
        _ = fs::remove_file(&beside);
    }
    renamed
}
