//! Words of a zone file.

use super::{BadLine, LONGEST};

/// Words of a record at most: a set of local data has less.
const WORDS: usize = 4096;

/// A word, with its escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) quoted: bool,
}

/// Words of one record.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) list: Vec<Word>,
    /// It begins with a blank: its owner is that of the record before.
    pub(super) starts_blank: bool,
    depth: u32,
    begun: bool,
    octets: usize,
}

impl Words {
    /// Takes one line; true when the record goes on in the next.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<bool, BadLine> {
        self.octets += line.len();
        if self.octets > LONGEST || self.list.len() > WORDS {
            return Err(BadLine::TooLong);
        }
        let line = std::str::from_utf8(line).map_err(|_| BadLine::Syntax)?;
        if !self.begun {
            self.starts_blank = line.starts_with([' ', '\t']);
            self.begun = true;
        }
        let mut characters = line.chars();
        let mut word: Option<Word> = None;
        let mut in_quotes = false;
        while let Some(character) = characters.next() {
            if character == '\\' {
                let text = &mut word.get_or_insert_default().text;
                text.push(character);
                text.push(characters.next().ok_or(BadLine::Syntax)?);
                continue;
            }
            if in_quotes {
                match character {
                    '"' => {
                        in_quotes = false;
                        self.list.extend(word.take());
                    }
                    _ => word.get_or_insert_default().text.push(character),
                }
                continue;
            }
            match character {
                ';' => break,
                ' ' | '\t' | '\r' => self.list.extend(word.take()),
                '(' | ')' => {
                    self.list.extend(word.take());
                    self.depth =
                        if character == '(' { self.depth + 1 } else { self.depth.checked_sub(1).ok_or(BadLine::Syntax)? };
                }
                '"' => {
                    self.list.extend(word.take());
                    word = Some(Word { text: String::new(), quoted: true });
                    in_quotes = true;
                }
                _ => word.get_or_insert_default().text.push(character),
            }
        }
        self.list.extend(word);
        if in_quotes { Err(BadLine::Open) } else { Ok(self.depth > 0) }
    }
}
