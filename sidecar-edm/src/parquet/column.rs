//! Values of one column that wait for their row group to be written.

use super::schema::INT32;
use super::thrift::{Struct, varint, write};
use super::{Column, Value};

const PLAIN: i32 = 0;
const RLE: i32 = 3;
const SNAPPY: i32 = 1;

/// One column of the row group in the making.
#[derive(Debug)]
pub(super) struct Values {
    column: Column,
    /// PLAIN: numbers of four or eight octets, or octets with their length in front.
    plain: Vec<u8>,
    /// A bit for each row, whether it has a value; of optional columns.
    present: Vec<u8>,
    rows: u32,
    nulls: u32,
    range: Option<(u64, u64)>,
}

/// Where a column's chunk lies in the file.
pub(super) struct Chunk {
    pub(super) offset: u64,
    pub(super) compressed: usize,
    pub(super) uncompressed: usize,
}

impl Values {
    pub(super) fn new(column: Column) -> Self {
        Self { column, plain: Vec::new(), present: Vec::new(), rows: 0, nulls: 0, range: None }
    }

    /// False when the column must have a value, or rather none of that kind or size.
    pub(super) fn takes(&self, value: &Value<'_>) -> bool {
        match value {
            Value::Null => self.column.optional,
            Value::Number(number) => self.column.kind.is_number() && (!self.is_short() || u32::try_from(*number).is_ok()),
            Value::Octets(_) => !self.column.kind.is_number(),
        }
    }

    /// Numbers of four octets.
    const fn is_short(&self) -> bool {
        self.column.kind.physical() == INT32
    }

    /// Octets of a number.
    const fn width(&self) -> usize {
        if self.is_short() { 4 } else { 8 }
    }

    pub(super) fn push_null(&mut self) {
        self.nulls += 1;
        self.mark(false);
    }

    pub(super) fn push_number(&mut self, number: u64) {
        let octets = number.to_le_bytes();
        // The lower half comes first.
        self.plain.extend_from_slice(octets.get(..self.width()).unwrap_or_default());
        let (low, high) = self.range.unwrap_or((number, number));
        self.range = Some((low.min(number), high.max(number)));
        self.mark(true);
    }

    pub(super) fn push_octets(&mut self, octets: &[u8]) {
        // The writer refuses what is longer than a row group.
        self.plain.extend_from_slice(&u32::try_from(octets.len()).unwrap_or_default().to_le_bytes());
        self.plain.extend_from_slice(octets);
        self.mark(true);
    }

    fn mark(&mut self, present: bool) {
        let bit = self.rows % 8;
        self.rows += 1;
        if !self.column.optional {
            return;
        }
        if bit == 0 {
            self.present.push(0);
        }
        if let Some(last) = self.present.last_mut() {
            *last |= u8::from(present) << bit;
        }
    }

    /// Ready for the next row group; the room is kept.
    pub(super) fn clear(&mut self) {
        self.plain.clear();
        self.present.clear();
        (self.rows, self.nulls, self.range) = (0, 0, None);
    }

    /// The body of the one data page, uncompressed: definition levels, then values.
    pub(super) fn page(&self, body: &mut Vec<u8>) {
        body.clear();
        if self.column.optional {
            let start = body.len();
            body.extend_from_slice(&[0; 4]);
            self.levels(body);
            let length = u32::try_from(body.len() - start - 4).unwrap_or_default().to_le_bytes();
            if let Some(place) = body.get_mut(start..start + 4) {
                place.copy_from_slice(&length);
            }
        }
        body.extend_from_slice(&self.plain);
    }

    /// RLE/bit-packing hybrid of width 1: one run where all rows are alike, else the bits as they are.
    fn levels(&self, out: &mut Vec<u8>) {
        if self.nulls == 0 || self.nulls == self.rows {
            varint(out, u64::from(self.rows) << 1);
            out.push(u8::from(self.nulls == 0));
        } else {
            varint(out, (self.present.len() as u64) << 1 | 1);
            out.extend_from_slice(&self.present);
        }
    }

    /// `PageHeader`.
    pub(super) fn page_header(&self, uncompressed: usize, compressed: usize, out: &mut Vec<u8>) {
        out.clear();
        write(out, |header| {
            header.i32(1, 0);
            header.i32(2, i32::try_from(uncompressed).unwrap_or_default());
            header.i32(3, i32::try_from(compressed).unwrap_or_default());
            header.inner(5, |page| {
                page.i32(1, i32::try_from(self.rows).unwrap_or_default());
                page.i32(2, PLAIN);
                page.i32(3, RLE);
                page.i32(4, RLE);
            });
        });
    }

    /// `ColumnChunk`, for the footer.
    pub(super) fn describe(&self, chunk: &Chunk, out: &mut Struct<'_>) {
        let offset = signed(chunk.offset);
        out.i64(2, offset);
        out.inner(3, |column| {
            column.i32(1, self.column.kind.physical());
            column.i32s(2, &[PLAIN, RLE]);
            column.texts(3, &[self.column.name]);
            column.i32(4, SNAPPY);
            column.i64(5, self.rows.into());
            column.i64(6, signed(chunk.uncompressed as u64));
            column.i64(7, signed(chunk.compressed as u64));
            column.i64(9, offset);
            column.inner(12, |statistics| self.statistics(statistics));
        });
    }

    /// Numbers say their range, so that a reader can pass over groups; names and sketches would cost more than they are worth.
    fn statistics(&self, statistics: &mut Struct<'_>) {
        statistics.i64(3, self.nulls.into());
        // A timestamp is signed where a count is not; both are compared rightly up to the year 294247.
        if let Some((low, high)) = self.range {
            for (field, number) in [(5, high), (6, low)] {
                statistics.binary(field, number.to_le_bytes().get(..self.width()).unwrap_or_default());
            }
        }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
