//! The list of well-known domains.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;

use tapir_wire::dawg::{Dawg, DomainSet};

/// A ConfigMap holds 1 MiB; lists that come another way may be longer.
const MAX_LENGTH: u64 = 64 * 1024 * 1024;

/// A list and the mark of the file that it was read from.
#[derive(Clone, Debug)]
pub(super) struct List {
    mark: u64,
    pub(super) domains: Arc<DomainSet>,
}

impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        self.mark == other.mark
    }
}

/// Reads and checks the file, unless it is the one that `good` came from.
pub(super) fn read(path: &Path, good: Option<&Arc<List>>) -> Result<List, String> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let failed = |error: std::io::Error| format!("list {name}: {error}");
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_LENGTH {
        return Err(format!("list {name}: longer than 64 MiB"));
    }
    let file = std::fs::read(path).map_err(failed)?;
    let mut hasher = DefaultHasher::new();
    file.hash(&mut hasher);
    let mark = hasher.finish();
    if let Some(good) = good.filter(|good| good.mark == mark) {
        return Ok(List::clone(good));
    }
    let dawg = Dawg::from_bytes(file).map_err(|error| format!("list {name}: {error}"))?;
    Ok(List { mark, domains: Arc::new(DomainSet::new(dawg)) })
}
