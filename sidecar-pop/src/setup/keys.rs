//! Keys of a configuration by their names, by which alone a message says which one it is signed with (RFC 8945 section 4.2).

use std::collections::BTreeMap;
use std::mem::take;

use tapir_wire::name::Name;
use tapir_wire::tsig::TsigKey;

use super::SetupError;
use super::sources::Files;

/// Reads keys, and finds those that say something else than another one of the same name. Twins that are equal are one key in several files.
pub(super) struct Keyring<'a> {
    files: &'a mut dyn Files,
    /// Names are lower case and written out, so that they are the same when they mean the same.
    known: BTreeMap<Name, (String, TsigKey)>,
    twins: Option<SetupError>,
}

impl<'a> Keyring<'a> {
    pub(super) fn new(files: &'a mut dyn Files) -> Self {
        Self { files, known: BTreeMap::new(), twins: None }
    }

    /// Whether all keys that were read go together.
    pub(super) fn check(&mut self) -> Result<(), SetupError> {
        take(&mut self.twins).map_or(Ok(()), Err)
    }
}

impl Files for Keyring<'_> {
    fn list(&mut self, source: &str, file: &str) -> super::ListFile {
        self.files.list(source, file)
    }

    fn former_list(&mut self, source: &str) -> Option<std::sync::Arc<[u8]>> {
        self.files.former_list(source)
    }

    fn secret(&mut self, file: &str) -> Result<zeroize::Zeroizing<String>, String> {
        self.files.secret(file)
    }

    fn key(&mut self, file: &str) -> Result<TsigKey, String> {
        let key = self.files.key(file)?;
        let (first, known) = self.known.entry(key.name.clone()).or_insert_with(|| (file.to_owned(), key.clone()));
        if *known != key {
            let (name, files) = (key.name.to_string(), [first.clone(), file.to_owned()]);
            let what = if known.algorithm == key.algorithm { "secrets" } else { "algorithms" };
            self.twins.get_or_insert(SetupError::TwinKeys { name, files, what });
        }
        Ok(key)
    }
}
