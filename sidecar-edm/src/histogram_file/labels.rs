//! An entry of the list of well-known domains as the columns `label0` to `label9`.

/// Columns for labels.
pub const LABELS: usize = 10;

/// Splits an entry in presentation form, the top-level label first; what is beyond ten is joined in the last, still from right to left,
/// in `rest`. An entry that begins with a dot stands for what lies below it and has an empty leftmost label, which is not the same as none.
///
/// ```
/// let mut rest = String::new();
/// assert_eq!(tapir_edm::histogram_file::labels(".example.net.", &mut rest)[..4], [Some("net"), Some("example"), Some(""), None]);
/// ```
#[must_use]
pub fn labels<'a>(entry: &'a str, rest: &'a mut String) -> [Option<&'a str>; LABELS] {
    let mut labels = [None; LABELS];
    rest.clear();
    let mut left = without_final_dot(entry);
    if left.is_empty() {
        return labels;
    }
    for slot in labels.iter_mut().take(LABELS - 1) {
        let Some((before, label)) = split_last(left) else {
            *slot = Some(left);
            return labels;
        };
        *slot = Some(label);
        left = before;
    }
    while let Some((before, label)) = split_last(left) {
        rest.push_str(label);
        rest.push('.');
        left = before;
    }
    rest.push_str(left);
    if let Some(last) = labels.last_mut() {
        *last = Some(rest.as_str());
    }
    labels
}

fn without_final_dot(entry: &str) -> &str {
    entry.strip_suffix('.').filter(|left| !ends_escaped(left)).unwrap_or(entry)
}

/// At the last dot that separates labels.
fn split_last(text: &str) -> Option<(&str, &str)> {
    let mut end = text.len();
    loop {
        let (before, _) = text.get(..end)?.rsplit_once('.')?;
        if !ends_escaped(before) {
            return Some((before, text.get(before.len() + 1..)?));
        }
        end = before.len();
    }
}

/// Whether the next character would be escaped: RFC 1035 section 5.1.
fn ends_escaped(text: &str) -> bool {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::vectors;

    fn check(entry: &str, expected: &[Option<&str>]) {
        let mut rest = "left over".to_owned();
        let found = labels(entry, &mut rest);
        let mut whole = [None; LABELS];
        whole[..expected.len()].copy_from_slice(expected);
        assert_eq!(found, whole, "{entry}");
    }

    #[test]
    fn entries_have_the_recorded_labels() {
        let vectors = vectors::load("dawg_entry_labels.json");
        let cases = vectors["vectors"].as_array().unwrap();
        for case in cases {
            let expected: Vec<_> =
                case["labels_label0_first_limit10"].as_array().into_iter().flatten().map(Value::as_str).collect();
            check(case["dawg_entry"].as_str().unwrap(), &expected);
        }
        assert!(cases.len() >= 6);
    }

    #[test]
    fn names_have_the_recorded_labels() {
        for case in vectors::load("dns_names.json")["vectors"].as_array().unwrap() {
            let expected: Vec<_> =
                case["labels_label0_first_limit10"].as_array().into_iter().flatten().map(Value::as_str).collect();
            check(case["presentation"].as_str().unwrap(), &expected);
        }
    }

    #[test]
    fn escaped_dots_do_not_separate() {
        check(r"a\.b.example.", &[Some("example"), Some(r"a\.b")]);
        check(r"a\\.b.", &[Some("b"), Some(r"a\\")]);
        check(r"a\.", &[Some(r"a\.")]);
        check("", &[]);
        check("..", &[Some(""), Some("")]);
    }
}
