//! Lists and keys beside `pop.yaml`. The last good content of a list stays, also over a restart.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::setup::{Files, ListFile};
use crate::state::file::replace;

/// A ConfigMap holds 1 MiB. Larger ones do not come with the configuration, see [`ListFile::is_apart`].
const LARGEST_LIST: u64 = 4 * 1024 * 1024;
/// A key is a line.
const LARGEST_KEY: u64 = 64 * 1024;
/// Kept lists are `last-good-<source>.list`.
const KEPT: (&str, &str) = ("last-good-", ".list");

/// Octets of lists by the names of their sources.
pub(super) type Lists = BTreeMap<String, Arc<[u8]>>;

/// The files of one moment.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    /// Where they lie.
    pub(super) mounted: &'a Path,
    /// Where lists are kept for a restart.
    pub(super) kept: &'a Path,
    /// Whether the kept ones are wanted in the first place.
    pub(super) kept_first: bool,
    /// What is in force.
    pub(super) in_force: &'a Lists,
    /// What was used.
    pub(super) used: Lists,
    /// Whether something could not be read.
    pub(super) incomplete: bool,
}

impl<'a> Folder<'a> {
    /// The folder alone, as it is: nothing is kept or in force beside it.
    pub(super) fn alone(mounted: &'a Path, nothing: &'a Lists) -> Self {
        // Below a file nothing can be.
        let kept = Path::new("/dev/null");
        Self { mounted, kept, kept_first: false, in_force: nothing, used: Lists::new(), incomplete: false }
    }

    fn kept(&self, source: &str) -> Option<Vec<u8>> {
        read(&kept_file(self.kept, source), LARGEST_LIST).ok().flatten()
    }

    /// What was taken last.
    fn last_good(&self, source: &str) -> Option<Arc<[u8]>> {
        self.in_force.get(source).cloned().or_else(|| self.kept(source).map(Arc::from))
    }
}

impl Files for Folder<'_> {
    fn list(&mut self, source: &str, file: &str) -> ListFile {
        // In another folder nothing would tell that it changed: that of the configuration is what is watched with it.
        let path = Path::new(file);
        if path.components().count() > 1 && path.parent() != Some(self.mounted) {
            return ListFile { is_apart: true, ..ListFile::default() };
        }
        let mounted = match read(&self.mounted.join(file), LARGEST_LIST) {
            Ok(Some(octets)) => Ok(octets),
            Ok(None) => Err(format!("{file} is missing")),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return ListFile { is_apart: true, ..ListFile::default() };
            }
            Err(error) => Err(format!("{file} cannot be read: {error}")),
        };
        self.incomplete |= mounted.is_err();
        let list = if self.kept_first
            && let Some(octets) = self.kept(source)
        {
            ListFile { octets: Some(octets.into()), error: mounted.err(), ..ListFile::default() }
        } else {
            match mounted {
                Ok(octets) => {
                    let is_new = self.last_good(source).is_none_or(|known| *known != *octets);
                    ListFile { octets: Some(octets.into()), is_new, ..ListFile::default() }
                }
                Err(error) => ListFile { octets: self.last_good(source), error: Some(error), ..ListFile::default() },
            }
        };
        self.used.extend(list.octets.iter().map(|octets| (source.to_owned(), Arc::clone(octets))));
        list
    }

    fn former_list(&mut self, source: &str) -> Option<Arc<[u8]>> {
        let last_good = self.last_good(source);
        self.used.remove(source);
        self.used.extend(last_good.iter().map(|octets| (source.to_owned(), Arc::clone(octets))));
        last_good
    }

    fn secret(&mut self, file: &str) -> Result<Zeroizing<String>, String> {
        let octets = match read(&self.mounted.join(file), LARGEST_KEY) {
            Ok(Some(octets)) => Zeroizing::new(octets),
            Ok(None) => {
                self.incomplete = true;
                return Err(format!("{file} is missing"));
            }
            Err(error) => return Err(format!("{file} cannot be read: {error}")),
        };
        std::str::from_utf8(&octets).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| format!("{file} is no text"))
    }
}

/// Keeps lists for a restart, and forgets those of sources that are no more.
pub(super) fn keep(folder: &Path, lists: &Lists) -> io::Result<()> {
    for (source, octets) in lists {
        let file = kept_file(folder, source);
        if !read(&file, LARGEST_LIST).is_ok_and(|kept| kept.as_deref() == Some(octets)) {
            replace(&file, octets)?;
        }
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        let source = name.to_str().and_then(|name| name.strip_prefix(KEPT.0)?.strip_suffix(KEPT.1));
        if source.is_some_and(|source| !lists.contains_key(source)) {
            fs::remove_file(folder.join(&name))?;
        }
    }
    Ok(())
}

fn kept_file(folder: &Path, source: &str) -> PathBuf {
    folder.join(format!("{}{source}{}", KEPT.0, KEPT.1))
}

/// `None`: there is no such file.
pub(super) fn read(file: &Path, at_most: u64) -> io::Result<Option<Vec<u8>>> {
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut octets = Vec::new();
    opened.take(at_most + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > at_most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {at_most} octets")));
    }
    Ok(Some(octets))
}
