//! From a text to a DAWG file, the same octets as upstream's compiler writes for the same names (`edm.md` 7.1, 7.3).
//!
//! # Departures
//! Upstream's tool stops at a name that stands twice, or in upper case in a place that sorts differently. Here names are brought into the form in
//! which they are looked up, then sorted, and those that stand twice are left out and counted. What cannot be a name is refused with its line.

use std::fmt;

use tapir_wire::dawg;
use tapir_wire::name::{Name, NameError};

/// Lines that are told at most; the others are counted.
const TOLD: usize = 20;
/// Characters of a line that are told.
const QUOTED: usize = 80;

/// How a text says names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// One name a line. With a dot in front it stands for everything below the name, and not for the name itself. Empty lines, and lines that
    /// begin with `#`, are passed over.
    #[default]
    Text,
    /// A heading, then lines with the name in the second column.
    Csv,
}

/// A file and what it was made from.
#[derive(Clone, PartialEq, Eq)]
pub struct Compiled {
    /// Its octets.
    pub file: Vec<u8>,
    /// How many names it has.
    pub words: usize,
    /// Lines left out because their name stood there before.
    pub duplicates: usize,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, words, duplicates } = self;
        write!(formatter, "{} octets, {words} words, {duplicates} duplicates", file.len())
    }
}

/// A text that is no list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Lines that are no names.
    #[error("{total} lines are no names:{}", told(first))]
    Lines {
        /// The first of them.
        first: Vec<LineProblem>,
        /// How many.
        total: usize,
    },
    /// The format has no room for so many.
    #[error(transparent)]
    Format(#[from] dawg::CompileError),
}

/// A line that is no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineProblem {
    /// From 1 on.
    pub line: usize,
    /// How it begins.
    pub text: String,
    /// What is wrong.
    pub reason: LineReason,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineReason {
    /// Not a text.
    #[error("is not UTF-8")]
    NotText,
    /// One column only.
    #[error("has no second column")]
    NoColumn,
    /// A dot in front of the root.
    #[error("would stand for everything: that is no list")]
    Everything,
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameError),
}

fn told(problems: &[LineProblem]) -> String {
    problems.iter().map(|LineProblem { line, text, reason }| format!("\n  line {line}: {text:?}: {reason}")).collect()
}

/// Makes a file of a text.
pub fn compile(text: &[u8], source: Source) -> Result<Compiled, Refused> {
    let (mut words, mut first, mut total) = (Vec::new(), Vec::new(), 0);
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (number, line) in text.split(|octet| *octet == b'\n').enumerate() {
        match word(line.trim_ascii(), number, source) {
            Ok(word) => words.extend(word),
            Err(reason) => {
                total += 1;
                if first.len() < TOLD {
                    let text = String::from_utf8_lossy(line).trim().chars().take(QUOTED).collect();
                    first.push(LineProblem { line: number + 1, text, reason });
                }
            }
        }
    }
    if total > 0 {
        return Err(Refused::Lines { first, total });
    }
    let all = words.len();
    words.sort_unstable();
    words.dedup();
    let file = dawg::compile(words.iter().map(String::as_str))?;
    Ok(Compiled { file, words: words.len(), duplicates: all - words.len() })
}

/// The word of a line, if it has one.
fn word(line: &[u8], number: usize, source: Source) -> Result<Option<String>, LineReason> {
    let passed_over = match source {
        Source::Text => line.starts_with(b"#"),
        Source::Csv => number == 0,
    };
    if line.is_empty() || passed_over {
        return Ok(None);
    }
    let line = std::str::from_utf8(line).map_err(|_| LineReason::NotText)?;
    let text = match source {
        Source::Text => line,
        Source::Csv => {
            let column = line.split(',').nth(1).ok_or(LineReason::NoColumn)?.trim();
            column.strip_prefix('"').and_then(|column| column.strip_suffix('"')).unwrap_or(column)
        }
    };
    match text.strip_prefix('.') {
        None | Some("") => Ok(Some(Name::parse(text)?.into())),
        Some(".") => Err(LineReason::Everything),
        Some(below) => Ok(Some(format!(".{}", Name::parse(below)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, source: Source) -> Vec<String> {
        let compiled = compile(text.as_bytes(), source).unwrap();
        let words: Vec<String> = dawg::Dawg::from_bytes(compiled.file).unwrap().words().collect();
        assert_eq!(words.len(), compiled.words);
        words
    }

    #[test]
    fn names_come_into_the_form_in_which_they_are_looked_up() {
        let text = "\u{feff}# a list\r\n\r\nWWW.Example.com\r\n.Example.NET.\n  a\\.b.example \n\\097.example\n.\n\\#x.example";
        assert_eq!(
            words(text, Source::Text),
            ["#x.example.", ".", ".example.net.", "a.example.", r"a\.b.example.", "www.example.com."]
        );
        assert_eq!(words("", Source::Text), [""; 0]);
    }

    #[test]
    fn the_second_column_is_taken() {
        assert_eq!(
            words("rank,name\n1,B.example\n2,\"a.example.\",x\n\n3, #c", Source::Csv),
            ["#c.", "a.example.", "b.example."]
        );
    }

    #[test]
    fn names_that_stand_twice_are_counted() {
        let compiled = compile(b"b.\na.example.\nA.EXAMPLE\na.example", Source::Text).unwrap();
        assert_eq!((compiled.words, compiled.duplicates), (2, 2));
    }

    #[test]
    fn every_bad_line_is_told_with_its_number_and_the_reason() {
        let text = b"good.example\na..b\n\xff\n..\nbl\xc3\xa5.se\n";
        let said = compile(text, Source::Text).unwrap_err().to_string();
        let expected = [
            "4 lines are no names:",
            r#"  line 2: "a..b": domain name has an empty label"#,
            "  line 3: \"\u{fffd}\": is not UTF-8",
            r#"  line 4: "..": would stand for everything: that is no list"#,
            r#"  line 5: "blå.se": domain name has a character that is not visible ASCII"#,
        ];
        assert_eq!(said, expected.join("\n"));
        assert!(compile(b"name\nx", Source::Csv).unwrap_err().to_string().contains("line 2: \"x\": has no second column"));
        let many = compile(&b"a b\n".repeat(1000), Source::Text).unwrap_err();
        assert!(matches!(&many, Refused::Lines { first, total: 1000 } if first.len() == TOLD), "{many}");
    }
}
