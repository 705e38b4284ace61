//! Comma separated values (RFC 4180).

use std::io::{self, BufRead};

use super::Numbered;

/// Longest record. One that is longer is refused, and reading goes on with the next line.
const LONGEST: usize = 64 << 10;
/// Most columns that are told apart: one more than a configuration can name.
const COLUMNS: usize = 1001;

/// Why a record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRow {
    /// Too few columns to have a name.
    #[error("the record has fewer columns than the one that holds the name")]
    Columns,
    /// More or fewer than in the first record.
    #[error("the record has another number of columns than the first one")]
    Uneven,
    /// A quote that is not at the start and at the end of a value.
    #[error("a quote stands inside of a value")]
    Quote,
    /// The last quote opens a value that never ends.
    #[error("a quoted value does not end")]
    Open,
    /// More than a record may have.
    #[error("the record is longer than 65536 octets")]
    TooLong,
}

/// Reads records.
#[derive(Debug)]
pub(super) struct Rows<R> {
    from: R,
    column: usize,
    /// Columns of the first record.
    columns: Option<usize>,
    /// Line in which the next record begins.
    line: u64,
    value: Vec<u8>,
}

/// Where in a value reading is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Plain,
    Quoted,
    /// Behind a quote inside of quotes: the end of the value, or half of a quote.
    Quote,
}

impl<R: BufRead> Rows<R> {
    /// `column` counts from 0.
    pub(super) const fn new(from: R, column: usize) -> Self {
        Self { from, column, columns: None, line: 1, value: Vec::new() }
    }

    /// The value of the column in the next record, with the line in which that begins. Blank lines are no records.
    pub(super) fn next(&mut self) -> io::Result<Option<Numbered<&[u8], BadRow>>> {
        loop {
            let line = self.line;
            let Some((columns, bad)) = self.read()? else { return Ok(None) };
            if columns == 0 {
                continue;
            }
            let expected = *self.columns.get_or_insert(columns);
            let result = match bad {
                Some(bad) => Err(bad),
                None if columns <= self.column => Err(BadRow::Columns),
                None if columns != expected => Err(BadRow::Uneven),
                None => Ok(self.value.as_slice()),
            };
            return Ok(Some((line, result)));
        }
    }

    /// One record: number of columns (0: a blank line), and what is wrong with it.
    fn read(&mut self) -> io::Result<Option<(usize, Option<BadRow>)>> {
        self.value.clear();
        let (mut place, mut column, mut length, mut bad) = (Place::Start, 0, 0_usize, None);
        let mut begins_with_return = false;
        loop {
            let part = self.from.fill_buf()?;
            if part.is_empty() {
                if place == Place::Quoted {
                    bad = Some(BadRow::Open);
                }
                return Ok((length > 0).then_some((column + 1, bad)));
            }
            let mut used = 0;
            for &octet in part {
                used += 1;
                begins_with_return |= length == 0 && octet == b'\r';
                length += 1;
                if length > LONGEST {
                    bad = Some(BadRow::TooLong);
                    self.value.clear();
                }
                if octet == b'\n' {
                    self.line += 1;
                    if place != Place::Quoted || length > LONGEST {
                        self.from.consume(used);
                        trim_return(&mut self.value);
                        let is_blank = length == 1 || (length == 2 && begins_with_return);
                        return Ok(Some((if is_blank { 0 } else { column + 1 }, bad)));
                    }
                }
                if bad == Some(BadRow::TooLong) {
                    continue;
                }
                let keep = match (place, octet) {
                    (Place::Start | Place::Plain | Place::Quote, b',') => {
                        (place, column) = (Place::Start, (column + 1).min(COLUMNS));
                        false
                    }
                    (Place::Start, b'"') => {
                        place = Place::Quoted;
                        false
                    }
                    (Place::Quoted, b'"') => {
                        place = Place::Quote;
                        false
                    }
                    (Place::Quote, b'"') => {
                        place = Place::Quoted;
                        true
                    }
                    (Place::Quote, b'\r') => false,
                    (Place::Quote, _) | (Place::Plain, b'"') => {
                        bad = bad.or(Some(BadRow::Quote));
                        place = Place::Plain;
                        false
                    }
                    (Place::Start | Place::Plain, _) => {
                        place = Place::Plain;
                        true
                    }
                    (Place::Quoted, _) => true,
                };
                if keep && column == self.column {
                    self.value.push(octet);
                }
            }
            self.from.consume(used);
        }
    }
}

fn trim_return(value: &mut Vec<u8>) {
    if value.last() == Some(&b'\r') {
        value.pop();
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    type Found = Vec<(u64, Result<String, BadRow>)>;

    fn rows(text: &[u8], column: usize, buffer: usize) -> Found {
        let mut rows = Rows::new(BufReader::with_capacity(buffer, text), column);
        let mut found = Vec::new();
        while let Some((line, row)) = rows.next().unwrap() {
            found.push((line, row.map(|value| String::from_utf8_lossy(value).into_owned())));
        }
        found
    }

    fn check(text: &str, column: usize, expected: &[(u64, Result<&str, BadRow>)]) {
        let expected: Found = expected.iter().map(|(line, row)| (*line, row.map(str::to_owned))).collect();
        // However the octets arrive.
        for buffer in [1, 2, 3, 7, 8192] {
            assert_eq!(rows(text.as_bytes(), column, buffer), expected, "{text:?} by {buffer}");
        }
    }

    #[test]
    fn values() {
        check("a,b,c\r\n\r\n1,\"x\"\"y\",3\n\n,,\n", 1, &[(1, Ok("b")), (3, Ok("x\"y")), (5, Ok(""))]);
        check("a,\"b\nc\",d\nx,y,z", 1, &[(1, Ok("b\nc")), (3, Ok("y"))]);
        check("a,\"b\"\r\nc,d\r\n", 1, &[(1, Ok("b")), (2, Ok("d"))]);
        check("a\r\nb", 0, &[(1, Ok("a")), (2, Ok("b"))]);
        check("", 1, &[]);
    }

    #[test]
    fn refusals_are_of_one_record() {
        check("a,b\nc\nd,e\nf,g,h\n", 1, &[(1, Ok("b")), (2, Err(BadRow::Columns)), (3, Ok("e")), (4, Err(BadRow::Uneven))]);
        check("a,b\nx\"y,c\n\"d\"e,f\ng,h\n", 1, &[(1, Ok("b")), (2, Err(BadRow::Quote)), (3, Err(BadRow::Quote)), (4, Ok("h"))]);
        check("a,b\nc,\"d\ne,f\n", 1, &[(1, Ok("b")), (2, Err(BadRow::Open))]);
    }

    #[test]
    fn a_quote_that_is_never_closed_swallows_no_more_than_a_record_may_have() {
        let text = format!("a,b\nc,\"{}\ne,f\n", "x\n".repeat(LONGEST));
        let found = rows(text.as_bytes(), 1, 100);
        assert_eq!(found.first(), Some(&(1, Ok("b".to_owned()))));
        assert_eq!(found.get(1), Some(&(2, Err(BadRow::TooLong))));
        assert_eq!(found.last().map(|last| last.1.clone()), Some(Ok("f".to_owned())));
    }
}
