//! Sources of the configuration, by what this build makes of them.

use std::sync::Arc;

use jiff::SignedDuration;
use tapir_wire::config::pop::{FileSource, Format, List, RpzSource, Source};
use tapir_wire::tsig::TsigKey;

use crate::names::ZoneName;
use crate::sources::{CoreSource, NameList, file};

/// A list as it was found.
#[derive(Clone, Debug, Default)]
pub struct ListFile {
    /// What stands in it, or stood when it could last be read.
    pub octets: Option<Arc<[u8]>>,
    /// Why it could not be read now.
    pub error: Option<String>,
}

/// Where the files that a configuration names come from.
pub trait Files {
    /// The list of a source.
    fn list(&mut self, source: &str, file: &str) -> ListFile;
    /// A key; the error names the file and no content.
    fn key(&mut self, file: &str) -> Result<TsigKey, String>;
}

/// A configuration that stands alone.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn list(&mut self, _: &str, file: &str) -> ListFile {
        ListFile { octets: None, error: Some(format!("{file} is missing")) }
    }

    fn key(&mut self, file: &str) -> Result<TsigKey, String> {
        Err(format!("{file} is missing"))
    }
}

/// The sources by what becomes of them.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) lists: Vec<NameList>,
    pub(super) core: Option<CoreSource>,
    /// Those that hold nothing, with the reason: worth saying, and no reason to refuse a whole policy.
    pub(super) idle: Vec<(String, String)>,
}

impl Sorted {
    pub(super) fn new(sources: &[Source], zone: &ZoneName, files: &mut dyn Files) -> Self {
        let mut sorted = Self::default();
        for source in sources {
            if let Err(reason) = sorted.sort(source, zone, files) {
                sorted.idle.push((source.name.clone(), reason));
            }
        }
        sorted
    }

    fn sort(&mut self, source: &Source, zone: &ZoneName, files: &mut dyn Files) -> Result<(), String> {
        let Source { name, list, r#match, core, inline, file, rpz, https } = source;
        if let Some(inline) = inline {
            self.lists.push(NameList::new(name, *list, *r#match, zone, &inline.names));
        }
        if let Some(file) = file {
            self.lists.push(list_of(source, file, zone, files)?);
        }
        if let Some(core) = core {
            if *list != List::Doubt {
                return Err("Core's observations are a Doubt list; nothing will come for another class".to_owned());
            }
            if self.core.is_some() {
                return Err("another source takes Core's observations already".to_owned());
            }
            let max_ttl = SignedDuration::from_secs(core.max_ttl_seconds.into());
            self.core = Some(CoreSource { r#match: *r#match, max_ttl, ..CoreSource::new(name) });
        }
        if let Some(rpz) = rpz {
            return Err(not_served_rpz(rpz, files));
        }
        match https {
            Some(_) => Err("this build does not serve kind https".to_owned()),
            None => Ok(()),
        }
    }
}

fn list_of(source: &Source, file: &FileSource, zone: &ZoneName, files: &mut dyn Files) -> Result<NameList, String> {
    if !file::is_served(file.format) {
        return Err(format!("this build does not serve format {}", format_name(file.format)));
    }
    let ListFile { octets, error } = files.list(&source.name, &file.path);
    match octets {
        Some(octets) => Ok(NameList::of_file(source, file.format, zone, &octets, error)),
        None => Err(error.unwrap_or_else(|| format!("{} is missing", file.path))),
    }
}

/// A key that is no good is said before anything uses it.
fn not_served_rpz(rpz: &RpzSource, files: &mut dyn Files) -> String {
    let reason = "this build does not serve kind rpz".to_owned();
    match rpz.tsig_key_file.as_deref().map(|file| files.key(file)) {
        Some(Err(error)) => format!("{reason}; {error}"),
        Some(Ok(_)) | None => reason,
    }
}

const fn format_name(format: Format) -> &'static str {
    match format {
        Format::Domains => "Domains",
        Format::Hosts => "Hosts",
        Format::Csv => "Csv",
        Format::Dawg => "Dawg",
        Format::Rpz => "Rpz",
    }
}
