//! A list of names -> a compiled list (DAWG), as `format: Dawg` reads it, and upstream's POP too.

use std::fs::File;
use std::io;
use std::path::Path;

use tapir_table::{Codes, Cursor as _};
use tapir_wire::config::pop::FileSource;
use tapir_wire::dawg::{self, CompileError};
use tapir_wire::name::{Name, NameError};
use tapir_wire::status::RejectedLine;

use crate::feeds::collect::{CollectError, Place, collect};
use crate::feeds::lists::{Fit, Form};
use crate::state::file::replace;

/// Why there is no compiled list.
#[derive(Debug, thiserror::Error)]
pub enum CompileListError {
    /// The list.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Its content.
    #[error("{0}")]
    Collect(#[from] CollectError),
    /// Its name of the zone.
    #[error("the zone's name: {0}")]
    Zone(#[from] NameError),
    /// The words.
    #[error("{0}")]
    Compile(#[from] CompileError),
    /// Reading what was sorted.
    #[error("{0}")]
    Read(#[from] tapir_table::ReadError),
}

/// What became of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompiledList {
    /// Words in the compiled list.
    pub words: usize,
    /// Entries that were refused, and the first of them.
    pub refused: u64,
    /// See there.
    pub first: Vec<RejectedLine>,
}

/// Reads a list in any form and writes it compiled, whole or not at all.
///
/// # Errors
/// When one cannot be read or the other not written. Entries that are no names are left out and counted.
pub fn compile_list(list: &FileSource, zone: &str, output: &Path) -> Result<CompiledList, CompileListError> {
    let fit = Fit::new(&Name::parse(zone)?);
    let folder = output.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let sorted = folder.join(format!(".tapir-compile-{}", std::process::id()));
    let collected = collect(&Form::of_file(list), &File::open(&list.path)?, fit, &Place::File(sorted.clone()));
    // What is open is read on, and nothing is left behind.
    _ = std::fs::remove_file(sorted);
    let collected = collected?;
    let mut words = Vec::new();
    let mut scan = collected.table.scan();
    while scan.advance()? {
        let (name, codes): (_, Codes) = (scan.key().to_string(), scan.value());
        if !codes.below.is_silent() {
            words.push(format!(".{name}"));
        }
        if !codes.own.is_silent() {
            words.push(name);
        }
    }
    words.sort_unstable();
    replace(output, &dawg::compile(words.iter().map(String::as_str))?)?;
    Ok(CompiledList { words: words.len(), refused: collected.rejected.count, first: collected.rejected.first })
}
