//! Observations as they were kept before there were tables: a line of JSON each. Read once.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use tapir_wire::name::Name;

use crate::knowledge::Sighting;
use crate::knowledge::observations::Known;

/// Name of the file.
pub const FILE: &str = "observations.jsonl";
/// Longer than any line; the rest of such a line is read in pieces that are no lines either.
const LONGEST_LINE: u64 = 8 * 1024;
/// A file beyond this is none of ours.
const LARGEST_FILE: u64 = 256 << 20;

#[derive(Deserialize)]
struct Line {
    name: Name,
    added: Timestamp,
    expires: Timestamp,
    tags: u32,
    guard: Timestamp,
}

/// Hands out what is there, oldest first; how many lines could not be read. The last one may be torn.
///
/// # Errors
/// When it cannot be read.
pub fn read(folder: &Path, mut each: impl FnMut(Name, Known)) -> io::Result<u64> {
    let file = File::open(folder.join(FILE))?;
    if file.metadata()?.len() > LARGEST_FILE {
        return Err(io::Error::other("it is too large to be a journal of observations"));
    }
    let (mut reader, mut line, mut broken) = (BufReader::new(file), Vec::new(), 0);
    while reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? > 0 {
        match serde_json::from_slice::<Line>(&line) {
            Ok(Line { name, added, expires, tags, guard }) => each(name, known(added, expires, tags, guard)),
            Err(_) => broken += u64::from(line != b"\n"),
        }
        line.clear();
    }
    Ok(broken)
}

/// What has ended meanwhile, or was taken back, is sorted out by whoever takes it.
fn known(added: Timestamp, expires: Timestamp, tags: u32, guard: Timestamp) -> Known {
    let expires = Sighting::second_near(expires);
    let guard = Sighting::second_near(guard).max(expires);
    Known::Live(Sighting { added: Sighting::milliseconds(added), expires, tags, guard })
}
