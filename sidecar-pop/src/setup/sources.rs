//! Sources of the configuration, by what this build makes of them.

use std::sync::Arc;

use jiff::SignedDuration;
use reqwest::Url;
use tapir_runtime::panics::caught;
use tapir_wire::config::pop::{self as config, Bootstrap, FileSource, HttpsSource, List, RpzSource, Signature, Source};
use tapir_wire::tsig::TsigKey;
use zeroize::Zeroizing;

use crate::feeds::bootstrap::Bootstrapping;
use crate::feeds::https::{Proof, PublicKey};
use crate::names::ZoneName;
use crate::sources::{CoreSource, ListText, Text, file};

/// A list as it was found.
#[derive(Clone, Debug, Default)]
pub struct ListFile {
    /// What stands in it, or stood when it could last be read.
    pub octets: Option<Arc<[u8]>>,
    /// Why it could not be read now.
    pub error: Option<String>,
    /// It is larger than what comes with a configuration, or lies in another folder; so it is fetched like other sources.
    pub is_apart: bool,
    /// Nobody has read it yet.
    pub is_new: bool,
}

/// A source that POP goes and gets, and keeps a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its name.
    pub source: String,
    /// What it is.
    pub from: From,
}

/// Where a source is got from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// A file.
    File(FileSource),
    /// Somebody's policy zone, by transfer; with the key that transfers are signed with.
    Rpz(RpzSource, Option<TsigKey>),
    /// A file on a web server; how it is proven, and certificates that the server's is checked against.
    Https(HttpsSource, Proof, Option<String>),
}

/// Where the files that a configuration names come from.
pub trait Files {
    /// The list of a source.
    fn list(&mut self, source: &str, file: &str) -> ListFile;
    /// What the source had before it, which is to be used in its place.
    fn former_list(&mut self, source: &str) -> Option<Arc<[u8]>>;
    /// A text that nobody else may see; the error names the file and no content.
    fn secret(&mut self, file: &str) -> Result<Zeroizing<String>, String>;
    /// A key, likewise.
    fn key(&mut self, file: &str) -> Result<TsigKey, String> {
        TsigKey::parse(&self.secret(file)?).map_err(|error| format!("{file} {error}"))
    }
}

/// A configuration that stands alone.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn list(&mut self, _: &str, file: &str) -> ListFile {
        ListFile { error: Some(format!("{file} is missing")), ..ListFile::default() }
    }

    fn former_list(&mut self, _: &str) -> Option<Arc<[u8]>> {
        None
    }

    fn secret(&mut self, file: &str) -> Result<Zeroizing<String>, String> {
        Err(format!("{file} is missing"))
    }
}

/// The sources by what becomes of them.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) lists: Vec<ListText>,
    pub(super) cores: Vec<CoreSource>,
    pub(super) fetched: Vec<Fetched>,
    pub(super) bootstraps: Vec<Bootstrapping>,
    /// What else is worth saying.
    pub(super) troubles: Vec<String>,
    /// Those that hold nothing, with the reason: worth saying, and no reason to refuse a whole policy.
    pub(super) idle: Vec<(String, String)>,
    /// Those whose list makes this program panic.
    pub(super) at_fault: Vec<String>,
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
        let Source { name, list, r#match, core, inline, file, rpz, https, keep_action: _ } = source;
        if let Some(inline) = inline {
            let text = Text::Names(inline.names.as_slice().into());
            self.lists.push(ListText { source: name.clone(), text, stale: None });
        }
        if let Some(file) = file {
            self.file(source, file, zone, files)?;
        }
        if let Some(core) = core {
            if let Some(from) = &core.bootstrap {
                self.bootstrap(name, core, from, files);
            }
            if *list != List::Doubt {
                return Err("Core's observations are a Doubt list; nothing will come for another class".to_owned());
            }
            self.cores.push(CoreSource {
                name: name.clone(),
                r#match: *r#match,
                max_ttl: SignedDuration::from_secs(core.max_ttl_seconds.into()),
                topics: core.topics.clone(),
                list_name: core.list_name.clone(),
                max_age: core.max_age_seconds.map(|seconds| SignedDuration::from_secs(seconds.into())),
            });
        }
        if let Some(rpz) = rpz {
            let key = rpz.tsig_key_file.as_deref().map(|file| files.key(file)).transpose()?;
            self.fetched.push(Fetched { source: name.clone(), from: From::Rpz(rpz.clone(), key) });
        }
        if let Some(https) = https {
            let anchors = https.ca_file.as_deref().map(|file| files.secret(file)).transpose()?;
            let proof = proof(https, files)?;
            let from = From::Https(https.clone(), proof, anchors.map(|anchors| anchors.to_string()));
            self.fetched.push(Fetched { source: name.clone(), from });
        }
        Ok(())
    }

    /// Without its key a server would refuse: it is said, and the source does without.
    fn bootstrap(&mut self, name: &str, core: &config::CoreSource, from: &Bootstrap, files: &mut dyn Files) {
        match from.key_file.as_deref().map(|file| files.secret(file)).transpose() {
            Ok(key) => {
                let (source, list, from) = (name.into(), core.list_name.clone(), from.clone());
                self.bootstraps.push(Bootstrapping { source, list, from, key });
            }
            Err(error) => self.troubles.push(format!("source {name}, core.bootstrap: {error}")),
        }
    }

    /// Short lists of names come with the configuration that names them, so that both change at once. Others are fetched.
    fn file(&mut self, source: &Source, file: &FileSource, zone: &ZoneName, files: &mut dyn Files) -> Result<(), String> {
        let fetched = Fetched { source: source.name.clone(), from: From::File(file.clone()) };
        if !file::is_served(file.format) {
            self.fetched.push(fetched);
            return Ok(());
        }
        let ListFile { mut octets, mut error, is_apart, is_new } = files.list(&source.name, &file.path);
        if is_apart {
            self.fetched.push(fetched);
            return Ok(());
        }
        // Before it counts, and is kept for a restart: that would have nothing else.
        let text = |octets: &Arc<[u8]>| Text::Lines(file.format, Arc::clone(octets));
        let read = octets.as_ref().filter(|_| is_new).map_or(Ok(()), |octets| caught(|| text(octets).each(zone, |_, _| {})));
        if let Err(panicked) = read {
            self.at_fault.push(source.name.clone());
            (octets, error) = (files.former_list(&source.name), Some(panicked.to_string()));
        }
        let octets = octets.ok_or_else(|| error.clone().unwrap_or_else(|| format!("{} is missing", file.path)))?;
        self.lists.push(ListText { source: source.name.clone(), text: text(&octets), stale: error });
        Ok(())
    }
}

fn proof(https: &HttpsSource, files: &mut dyn Files) -> Result<Proof, String> {
    if let Some(sha256) = &https.sha256 {
        return Ok(Proof::Sha256(sha256.to_ascii_lowercase()));
    }
    let Some(Signature { public_key_file, url }) = &https.signature else { return Ok(Proof::None) };
    let key = PublicKey::parse(&files.secret(public_key_file)?).map_err(|error| format!("{public_key_file} {error}"))?;
    let url = url.clone().unwrap_or_else(|| format!("{}.sig", https.url));
    let url = Url::parse(&url).map_err(|_| "https.signature.url is no URL".to_owned())?;
    Ok(Proof::Signature(key, url))
}
