//! The text of a name, exactly as upstream writes it (`spec/edm.md` 4.4): in events, in labels of rows, as keys of lists.

use super::WireName;

/// Octets of the longest text: every octet of the longest name as `\DDD`, and the dots.
const LONGEST: usize = 1024;

/// Room for the text of one name, used again for the next.
#[derive(Clone)]
pub struct Presentation {
    text: String,
}

impl Default for Presentation {
    fn default() -> Self {
        Self { text: String::with_capacity(LONGEST) }
    }
}

impl Presentation {
    /// The text of this name, case kept, with the final dot.
    pub fn read(&mut self, name: WireName<'_>) -> &str {
        self.text.clear();
        for label in name.labels() {
            push_label(&mut self.text, label);
            self.text.push('.');
        }
        if self.text.is_empty() {
            self.text.push('.');
        }
        &self.text
    }

    /// The text of the last name; empty before the first one.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Debug for Presentation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Presentation").field("octets", &self.text.len()).finish_non_exhaustive()
    }
}

fn push_label(text: &mut String, label: &[u8]) {
    // Nearly all labels need nothing.
    if label.iter().all(|octet| is_literal(*octet))
        && let Ok(label) = std::str::from_utf8(label)
    {
        return text.push_str(label);
    }
    for octet in label {
        push_octet(text, *octet);
    }
}

fn push_octet(text: &mut String, octet: u8) {
    if is_literal(octet) {
        return text.push(char::from(octet));
    }
    text.push('\\');
    if (0x20..0x7f).contains(&octet) {
        return text.push(char::from(octet));
    }
    for digit in [octet / 100, octet / 10 % 10, octet % 10] {
        text.push(char::from(b'0' + digit));
    }
}

const fn is_literal(octet: u8) -> bool {
    !matches!(octet, ..0x20 | 0x7f.. | b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::names::wire::tests::names;
    use crate::vectors;

    /// The way back, written from the specification.
    fn wire(text: &str) -> Vec<u8> {
        let (mut name, mut label, mut octets) = (Vec::new(), Vec::new(), text.bytes());
        while let Some(octet) = octets.next() {
            match octet {
                b'.' => {
                    name.push(u8::try_from(label.len()).unwrap());
                    name.append(&mut label);
                }
                b'\\' => {
                    let next = octets.next().unwrap();
                    label.push(if next.is_ascii_digit() {
                        let digits = [next, octets.next().unwrap(), octets.next().unwrap()];
                        std::str::from_utf8(&digits).unwrap().parse().unwrap()
                    } else {
                        next
                    });
                }
                _ => label.push(octet),
            }
        }
        if text != "." {
            name.push(0);
        }
        name
    }

    #[test]
    fn recorded_names() {
        let vector = vectors::load("dns_names.json");
        let names = vector["vectors"].as_array().unwrap();
        assert_eq!(names.len(), 17);
        let mut text = Presentation::default();
        for entry in names {
            let octets = vectors::octets(&entry["wire_name_hex"]);
            let name = WireName::from_octets(&octets).unwrap();
            assert_eq!(text.read(name), entry["presentation"].as_str().unwrap(), "{}", entry["desc"]);
            assert_eq!(serde_json::to_value(text.text()).unwrap(), entry["presentation"]);
            // label0 is the last one; beyond ten they share a column, which is not a matter of names.
            if name.label_count() <= 10 {
                let mut labels: Vec<_> = name.labels().map(label_text).collect();
                labels.reverse();
                let expected: Vec<_> = entry["labels_label0_first_limit10"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|label| label.as_str().unwrap())
                    .collect();
                assert_eq!(labels, expected, "{}", entry["desc"]);
            }
        }
    }

    fn label_text(label: &[u8]) -> String {
        let mut text = String::new();
        push_label(&mut text, label);
        text
    }

    #[test]
    fn the_longest_text_fits_into_the_room() {
        let mut text = Presentation::default();
        let room = text.text.capacity();
        let mut octets = Vec::new();
        for length in [63, 63, 63, 61] {
            octets.push(length);
            octets.resize(octets.len() + usize::from(length), 0xff);
        }
        octets.push(0);
        assert_eq!(text.read(WireName::from_octets(&octets).unwrap()).len(), 250 * 4 + 4);
        assert_eq!(text.text.capacity(), room);
        assert!(!format!("{text:?}").contains("255"));
    }

    proptest! {
        #[test]
        fn the_text_leads_back_to_the_name(octets in names()) {
            let mut text = Presentation::default();
            let text = text.read(WireName::from_octets(&octets).unwrap());
            prop_assert!(text.is_ascii() && text.ends_with('.') && !text.bytes().any(|octet| octet.is_ascii_control()));
            prop_assert_eq!(wire(text), octets);
        }
    }
}
