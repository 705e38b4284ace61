//! Rows in, file out.

use std::io::{self, Write};

use super::Schema;
use super::column::{Chunk, Values};
use super::footer::Groups;

const MAGIC: &[u8; 4] = b"PAR1";

/// How much is gathered before a row group is written.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Octets of values.
    pub octets: usize,
    /// Rows.
    pub rows: u32,
}

impl Default for Bounds {
    /// A megabyte: some five thousand rows of names and numbers, or nine hundred with both sketches.
    fn default() -> Self {
        Self { octets: 1024 * 1024, rows: 64 * 1024 }
    }
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// None.
    Null,
    /// Of a column of times or numbers.
    Number(u64),
    /// Of a column of text (which the caller has checked to be UTF-8) or octets.
    Octets(&'a [u8]),
}

/// Why a row or a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file, or what lies below it.
    #[error("writing the file")]
    Io(#[from] io::Error),
    /// Not the values that the schema wants. The row is left out; the file is as good as before.
    #[error("a row does not fit the schema")]
    Row,
    /// A row larger than a row group may be. It is left out; the file is as good as before.
    #[error("a row is larger than a row group")]
    RowTooLarge,
    /// More row groups than the format can count.
    #[error("the file has more row groups than the format can count")]
    TooManyGroups,
    /// The compressor refused.
    #[error("compressing a column")]
    Compress(#[from] snap::Error),
}

/// A file that is being written. Without [`Writer::finish`] it is none.
#[derive(Debug)]
pub struct Writer<Sink> {
    sink: Sink,
    schema: &'static Schema,
    bounds: Bounds,
    written: u64,
    values: Vec<Values>,
    rows: u32,
    octets: usize,
    groups: Groups,
    body: Vec<u8>,
    compressed: Vec<u8>,
    header: Vec<u8>,
}

impl<Sink: Write> Writer<Sink> {
    /// Begins a file.
    ///
    /// # Errors
    /// When the first octets cannot be written.
    pub fn new(mut sink: Sink, schema: &'static Schema, bounds: Bounds) -> Result<Self, WriteError> {
        sink.write_all(MAGIC)?;
        Ok(Self {
            sink,
            schema,
            bounds,
            written: MAGIC.len() as u64,
            values: schema.columns.iter().map(|column| Values::new(*column)).collect(),
            rows: 0,
            octets: 0,
            groups: Groups::default(),
            body: Vec::new(),
            compressed: Vec::new(),
            header: Vec::new(),
        })
    }

    /// Adds a row: a value for each column.
    ///
    /// # Errors
    /// When the row does not fit, which leaves the file as it was, or when a full row group could not be written.
    pub fn row(&mut self, row: &[Value<'_>]) -> Result<(), WriteError> {
        if row.len() != self.values.len() || !self.values.iter().zip(row).all(|(values, value)| values.takes(value)) {
            return Err(WriteError::Row);
        }
        let octets: usize = row.iter().map(size).sum();
        if octets > self.bounds.octets {
            return Err(WriteError::RowTooLarge);
        }
        if self.octets + octets > self.bounds.octets || self.rows >= self.bounds.rows {
            self.end_group()?;
        }
        for (values, value) in self.values.iter_mut().zip(row) {
            match value {
                Value::Null => values.push_null(),
                Value::Number(number) => values.push_number(*number),
                Value::Octets(octets) => values.push_octets(octets),
            }
        }
        self.rows += 1;
        self.octets += octets;
        Ok(())
    }

    /// Octets of the file if it ended here, but for a few that do not grow with it. What is gathered for the next row group comes on top.
    pub fn written(&self) -> u64 {
        self.written + self.groups.octets()
    }

    /// Ends the file; `metadata` are pairs for its footer.
    ///
    /// # Errors
    /// When what was gathered, or the footer, cannot be written.
    pub fn finish(mut self, created_by: &str, metadata: &[(&str, &str)]) -> Result<Sink, WriteError> {
        self.end_group()?;
        let footer = self.groups.footer(self.schema, created_by, metadata);
        let length = u32::try_from(footer.len()).map_err(|_| WriteError::TooManyGroups)?;
        self.sink.write_all(&footer)?;
        self.sink.write_all(&length.to_le_bytes())?;
        self.sink.write_all(MAGIC)?;
        Ok(self.sink)
    }

    fn end_group(&mut self) -> Result<(), WriteError> {
        if self.rows == 0 {
            return Ok(());
        }
        if self.groups.count() == Groups::MAXIMUM {
            return Err(WriteError::TooManyGroups);
        }
        let mut chunks = Vec::with_capacity(self.values.len());
        for values in &self.values {
            values.page(&mut self.body);
            self.compressed.resize(snap::raw::max_compress_len(self.body.len()), 0);
            let compressed = snap::raw::Encoder::new().compress(&self.body, &mut self.compressed)?;
            values.page_header(self.body.len(), compressed, &mut self.header);
            self.sink.write_all(&self.header)?;
            self.sink.write_all(self.compressed.get(..compressed).unwrap_or_default())?;
            let header = self.header.len();
            chunks.push(Chunk { offset: self.written, compressed: header + compressed, uncompressed: header + self.body.len() });
            self.written += (header + compressed) as u64;
        }
        self.groups.add(self.rows, self.values.iter().zip(&chunks));
        self.values.iter_mut().for_each(Values::clear);
        (self.rows, self.octets) = (0, 0);
        Ok(())
    }
}

/// What a value adds to the group, no less than that.
fn size(value: &Value<'_>) -> usize {
    match value {
        Value::Null => 1,
        Value::Number(_) => 8,
        Value::Octets(octets) => octets.len() + 5,
    }
}
