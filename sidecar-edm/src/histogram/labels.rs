//! Columns for the labels of a name (`edm.md` 8.4).

use tapir_wire::name::push_octet;

use crate::list::Name;

/// Columns for labels.
pub const LABELS: usize = 10;

/// The labels of an entry, the topmost first; the last column has all that are left, joined by dots.
///
/// An entry with a dot in front has an empty label more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    text: String,
    ends: [u16; LABELS],
    count: usize,
}

impl Labels {
    /// Of a name in a list.
    #[must_use]
    pub fn of(name: Name<'_>) -> Self {
        let mut labels = Self::default();
        for label in name.labels_from_the_right() {
            labels.push(label);
        }
        if name.suffix {
            labels.push(&[]);
        }
        labels
    }

    fn push(&mut self, label: &[u8]) {
        if self.count == LABELS {
            self.text.push('.');
        } else {
            self.count += 1;
        }
        label.iter().for_each(|octet| push_octet(&mut self.text, *octet));
        if let Some(end) = self.ends.get_mut(self.count - 1) {
            // No name is longer than about a thousand characters.
            *end = u16::try_from(self.text.len()).unwrap_or(u16::MAX);
        }
    }

    /// The column's text; none for NULL.
    #[must_use]
    pub fn get(&self, column: usize) -> Option<&str> {
        let end = usize::from(*self.ends.get(..self.count)?.get(column)?);
        let start = column.checked_sub(1).and_then(|before| self.ends.get(before)).copied().map_or(0, usize::from);
        self.text.get(start..end)
    }

    /// All columns.
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        (0..LABELS).map(|column| self.get(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::List;
    use crate::vectors;

    /// Columns of the one entry of a list.
    fn columns(entry: &str) -> Vec<String> {
        let list = List::from_dawg(&tapir_wire::dawg::compile([entry]).unwrap()).unwrap();
        let mut wire = Vec::new();
        if crate::list::canonical(entry, &mut wire).unwrap() {
            wire.splice(0..0, *b"\x01x");
        }
        let labels = Labels::of(list.name(list.find(&wire).unwrap()));
        let all: Vec<_> = labels.iter().collect();
        assert_eq!(all.len(), LABELS);
        assert!(all.iter().skip_while(|label| label.is_some()).all(Option::is_none), "{entry}");
        all.into_iter().flatten().map(str::to_owned).collect()
    }

    fn recorded(case: &serde_json::Value) -> Vec<String> {
        let labels = case["labels_label0_first_limit10"].as_array();
        labels.into_iter().flatten().map(|label| label.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn recorded_labels_of_entries() {
        let vector = vectors::load("dawg_entry_labels.json");
        let cases = vector["vectors"].as_array().unwrap();
        assert_eq!(cases.len(), 6);
        for case in cases {
            assert_eq!(columns(case["dawg_entry"].as_str().unwrap()), recorded(case), "{case}");
        }
    }

    #[test]
    fn recorded_labels_of_names() {
        let vector = vectors::load("dns_names.json");
        for case in vector["vectors"].as_array().unwrap() {
            let expected: Vec<_> = recorded(case).iter().map(|label| label.to_ascii_lowercase()).collect();
            assert_eq!(columns(case["seen_store_key"].as_str().unwrap()), expected, "{case}");
        }
    }
}
