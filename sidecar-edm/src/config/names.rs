//! Names that are left out, from a DAWG file or from a text.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::domains::{Refused, Source, compile};
use crate::list::{List, ListError, MAX_FILE};

/// So many octets of memory are taken for each of a text while it becomes a list.
const WHILE_COMPILED: usize = 10;

/// Why a file of names was refused.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// As a DAWG file, or as a file at all.
    #[error(transparent)]
    List(#[from] ListError),
    /// As a text.
    #[error(transparent)]
    Text(#[from] Refused),
}

/// Reads the names of a file; none if it has none.
///
/// A file whose name ends in `.txt` is a text: one name a line, with a dot in front for everything below a name ([`Source::Text`]). Any other
/// is a DAWG file.
///
/// # Errors
/// When it is unusable, or takes more than so many octets of memory.
pub fn ignored(path: &Path, room: usize) -> Result<Option<List>, NamesError> {
    if path.extension() != Some(OsStr::new("txt")) {
        return Ok(List::read_ignored(path, room)?);
    }
    let mut text = Vec::new();
    let file = File::open(path).map_err(ListError::from)?;
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(ListError::from)?;
    if text.len() as u64 > MAX_FILE {
        return Err(ListError::TooLong.into());
    }
    if text.len().saturating_mul(WHILE_COMPILED) > room {
        return Err(ListError::NoRoom(room).into());
    }
    let compiled = compile(&text, Source::Text)?;
    Ok(Some(List::within(&compiled.file, room)?).filter(|list| !list.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_the_same_as_a_file_made_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (text, dawg) = (folder.path().join("names.txt"), folder.path().join("names.dawg"));
        let names = b"# ours\nhost.example\n.Internal.example.\n";
        std::fs::write(&text, names).unwrap();
        std::fs::write(&dawg, compile(names, Source::Text).unwrap().file).unwrap();
        let hits = |path: &Path| {
            let list = ignored(path, usize::MAX).unwrap().unwrap();
            let wire = |name: &str| tapir_wire::name::Name::parse(name).unwrap().to_wire();
            ["host.example", "a.host.example", "internal.example", "a.b.internal.example"]
                .map(|name| list.find(&wire(name)).is_some())
        };
        assert_eq!(hits(&text), [true, false, false, true]);
        assert_eq!(hits(&text), hits(&dawg));
    }

    #[test]
    fn nothing_and_nonsense() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, octets: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, octets).unwrap();
            ignored(&path, usize::MAX).map(|list| list.is_none())
        };
        assert!(check("a.txt", b"# nobody\n").unwrap() && check("a.dawg", b"").unwrap());
        assert!(check("b.txt", b"a..b").unwrap_err().to_string().contains("line 1"));
        check("b.dawg", b"a.example").unwrap_err();
        assert!(ignored(&folder.path().join("c.txt"), usize::MAX).is_err());
    }

    #[test]
    fn what_there_is_no_memory_for_is_refused_before_it_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<u8> = (0..5000).flat_map(|number| format!("name-{number:05}.example.\n").into_bytes()).collect();
        let (text, dawg) = (folder.path().join("a.txt"), folder.path().join("a.dawg"));
        std::fs::write(&text, &names).unwrap();
        std::fs::write(&dawg, compile(&names, Source::Text).unwrap().file).unwrap();
        for path in [text, dawg] {
            let octets = ignored(&path, 10 << 20).unwrap().unwrap().octets();
            for room in [0, 1000, octets / 2, octets] {
                let refused = ignored(&path, room).unwrap_err();
                assert!(matches!(refused, NamesError::List(ListError::NoRoom(_))), "{refused}");
            }
        }
    }
}
