//! The end of a file: what is in it and where.

use super::Schema;
use super::column::{Chunk, Values};
use super::thrift::write;

/// Between 1.0 and the present: unsigned numbers have been there since.
const VERSION: i32 = 2;

/// Row groups already written to the file.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Each as a `RowGroup`.
    written: Vec<u8>,
    count: u16,
    rows: u64,
}

impl Groups {
    /// The most that the format can count.
    pub(super) const MAXIMUM: u16 = i16::MAX.cast_unsigned();

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// What they take in the footer.
    pub(super) fn octets(&self) -> u64 {
        self.written.len() as u64
    }

    pub(super) fn add<'a>(&mut self, rows: u32, chunks: impl ExactSizeIterator<Item = (&'a Values, &'a Chunk)> + Clone) {
        let sum = |size: fn(&Chunk) -> usize| {
            i64::try_from(chunks.clone().map(|(_, chunk)| size(chunk)).sum::<usize>()).unwrap_or(i64::MAX)
        };
        let (uncompressed, compressed) = (sum(|chunk| chunk.uncompressed), sum(|chunk| chunk.compressed));
        let first = chunks.clone().next().map_or(0, |(_, chunk)| i64::try_from(chunk.offset).unwrap_or(i64::MAX));
        let ordinal = i16::try_from(self.count).unwrap_or(i16::MAX);
        write(&mut self.written, |group| {
            group.structs(1, chunks.len(), |list| {
                for (values, chunk) in chunks {
                    list.element(|element| values.describe(chunk, element));
                }
            });
            group.i64(2, uncompressed);
            group.i64(3, rows.into());
            group.i64(5, first);
            group.i64(6, compressed);
            group.i16(7, ordinal);
        });
        self.count += 1;
        self.rows += u64::from(rows);
    }

    /// `FileMetaData`.
    pub(super) fn footer(&self, schema: &Schema, created_by: &str, metadata: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, |file| {
            file.i32(1, VERSION);
            schema.write(2, file);
            file.i64(3, i64::try_from(self.rows).unwrap_or(i64::MAX));
            file.structs(4, self.count.into(), |list| list.written(&self.written));
            if !metadata.is_empty() {
                file.structs(5, metadata.len(), |list| {
                    for (key, value) in metadata {
                        list.element(|entry| {
                            entry.text(1, key);
                            entry.text(2, value);
                        });
                    }
                });
            }
            file.text(6, created_by);
            // TYPE_ORDER for every column: without it, ranges of unsigned numbers say nothing.
            file.structs(7, schema.columns.len(), |list| {
                for _ in schema.columns {
                    list.element(|order| order.inner(1, |_| ()));
                }
            });
        });
        out
    }
}
