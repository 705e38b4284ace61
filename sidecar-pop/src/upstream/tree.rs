//! A file of upstream's as a tree with lower-case keys.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Report;

/// A map in a file, or nothing where the file or the map is missing.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// File and path, for messages.
    place: String,
    map: Map<String, Value>,
}

impl Tree {
    /// Reads a file; what is wrong with it is refused there.
    pub(super) fn read(file: &str, text: Option<&String>, report: &mut Report) -> Self {
        let map = match text.map(|text| serde_saphyr::from_str::<Option<Value>>(text)) {
            None | Some(Ok(None)) => Map::new(),
            Some(Ok(Some(Value::Object(map)))) => map,
            Some(Ok(Some(_))) => {
                report.refuse(file, "is no map of keys");
                Map::new()
            }
            Some(Err(error)) => {
                // Without the text around it: there may be a key in it.
                let line = error.location().map(|location| location.line()).unwrap_or_default();
                let message = serde_saphyr::MessageFormatter::format_message(
                    &serde_saphyr::DefaultMessageFormatter,
                    error.without_snippet(),
                )
                .into_owned();
                report.refuse(file, format!("line {line}: {message}"));
                Map::new()
            }
        };
        Self { place: file.to_owned(), map: lower(map, file, report) }
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Where a key is, for messages.
    pub(super) fn place(&self, key: &str) -> String {
        let separator = if self.place.ends_with(".yaml") { ": " } else { "." };
        format!("{}{separator}{key}", self.place)
    }

    /// The map itself, for messages.
    pub(super) fn whole(&self) -> &str {
        &self.place
    }

    /// A map in it.
    pub(super) fn map(&self, key: &str, report: &mut Report) -> Self {
        let place = self.place(key);
        let map = match self.map.get(key) {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(_) => {
                report.refuse(&place, "is no map of keys");
                Map::new()
            }
        };
        Self { place, map }
    }

    /// Every map in it, with its key.
    pub(super) fn maps(&self, report: &mut Report) -> Vec<(String, Self)> {
        self.map.keys().map(|key| (key.clone(), self.map(key, report))).collect()
    }

    pub(super) fn text(&self, key: &str, report: &mut Report) -> Option<String> {
        match self.map.get(key)? {
            Value::Null => None,
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            _ => {
                report.refuse(self.place(key), "is no text");
                None
            }
        }
    }

    /// A text that is a secret: it leaves no copy behind.
    pub(super) fn secret(&self, key: &str) -> Option<Zeroizing<String>> {
        let text = self.map.get(key)?.as_str()?.trim();
        (!text.is_empty()).then(|| Zeroizing::new(text.to_owned()))
    }

    pub(super) fn number(&self, key: &str, report: &mut Report) -> Option<i64> {
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        let number = value.as_i64();
        if number.is_none() {
            report.refuse(self.place(key), "is no whole number");
        }
        number
    }

    pub(super) fn flag(&self, key: &str, report: &mut Report) -> Option<bool> {
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        let flag = value.as_bool();
        if flag.is_none() {
            report.refuse(self.place(key), "is neither true nor false");
        }
        flag
    }

    /// A list of texts; `None` where the key is missing.
    pub(super) fn texts(&self, key: &str, report: &mut Report) -> Option<Vec<String>> {
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        let texts =
            value.as_array().and_then(|list| list.iter().map(|one| one.as_str().map(|text| text.trim().to_owned())).collect());
        if texts.is_none() {
            report.refuse(self.place(key), "is no list of texts");
        }
        texts
    }

    /// Notes the keys that upstream does not know either: it says nothing of them.
    pub(super) fn note_unknown(&self, known: &[&str], report: &mut Report) {
        for key in self.map.keys().filter(|key| !known.contains(&key.as_str())) {
            report.note(self.place(key), "is no key of upstream's and has no effect");
        }
    }
}

fn lower(map: Map<String, Value>, place: &str, report: &mut Report) -> Map<String, Value> {
    let mut lowered = Map::new();
    for (key, value) in map {
        let key = key.to_ascii_lowercase();
        let value = match value {
            Value::Object(map) => Value::Object(lower(map, place, report)),
            other => other,
        };
        if lowered.insert(key.clone(), value).is_some() {
            report.refuse(place, format!("key {key} stands twice, in different spellings"));
        }
    }
    lowered
}
