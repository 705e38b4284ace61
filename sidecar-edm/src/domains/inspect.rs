//! What a DAWG file has.

use tapir_wire::dawg::{self, Header, WalkError};

use crate::list::{ListError, MAX_NAMES, MAX_TEXT, Unmatchable, canonical};

/// Words that nothing can match are told up to this number; the others are counted.
const TOLD: usize = 10;

/// What was found in a file that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What it says of itself.
    pub header: Header,
    /// Words that stand for a name.
    pub exact: u64,
    /// Words that stand for what is below a name.
    pub suffixes: u64,
    /// Words that no name off the wire can match.
    pub unmatchable: u64,
    /// The first of these.
    pub told: Vec<(String, Unmatchable)>,
    /// The first word, and the last one.
    pub ends: Option<(String, String)>,
    /// The compiler makes the same octets of the words.
    pub as_compiled: bool,
}

/// Goes through a whole file.
pub fn inspect(file: &[u8]) -> Result<Inspection, ListError> {
    let header = Header::read(file).map_err(WalkError::from)?;
    let mut found =
        Inspection { header, exact: 0, suffixes: 0, unmatchable: 0, told: Vec::new(), ends: None, as_compiled: false };
    let (mut words, mut wire, mut text) = (Vec::new(), Vec::new(), 0);
    dawg::scan(file, MAX_NAMES, |word| {
        match canonical(word, &mut wire) {
            Ok(false) => found.exact += 1,
            Ok(true) => found.suffixes += 1,
            Err(reason) => {
                found.unmatchable += 1;
                if found.told.len() < TOLD {
                    found.told.push((word.to_owned(), reason));
                }
            }
        }
        text += word.len() as u64;
        words.push(word.to_owned());
        if text > MAX_TEXT { Err(ListError::TooMuchText) } else { Ok(()) }
    })?;
    found.ends = words.first().cloned().zip(words.last().cloned());
    found.as_compiled = dawg::compile(words.iter().map(String::as_str)).is_ok_and(|again| again == file);
    Ok(found)
}
