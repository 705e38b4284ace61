//! Writing a table, names in ascending order.

use std::io::{self, BufWriter, Write};

use super::foot::{FOOT, Foot};
use super::index::Index;
use super::{BLOCK_TARGET, FORM_COMMON, FORM_INLINE, HEAD};
use crate::codes::Codes;
use crate::coding;
use crate::cursor::{Cursor, ReadError};
use crate::key::{KeyBuf, common_prefix};
use crate::palette::Palette;
use crate::value::{Value, Written};

/// Octets that go to the disk in one call.
const WRITTEN_AT_ONCE: usize = 64 << 10;

/// Why a table was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk says no.
    #[error("writing a table")]
    Io(#[from] io::Error),
    /// A name that is not behind the one before.
    #[error("names of a table are not in ascending order")]
    Order,
    /// More than an index can hold.
    #[error("a table has too many names")]
    TooLarge,
    /// What was to be written could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Names.
    pub nodes: u64,
    /// Records of a zone that they stand for.
    pub records: u64,
    /// Octets of the file.
    pub octets: u64,
}

/// Writes a table to `W` from front to end.
#[derive(Debug)]
pub struct TableWriter<W: Write, V = Codes> {
    to: BufWriter<W>,
    block: Vec<u8>,
    key: KeyBuf,
    /// Listed names on the path to `key`, itself included.
    path: Vec<(u8, V)>,
    /// Common value of the block, if it has one.
    default: Option<V>,
    /// Entries of the block, and those that are unlike the one before.
    entries: u32,
    changes: u32,
    last: Option<V>,
    index: Index,
    nodes: u64,
    records: u64,
}

impl<W: Write, V: Value> TableWriter<W, V> {
    /// Begins.
    pub fn new(to: W) -> Result<Self, WriteError> {
        let mut to = BufWriter::with_capacity(WRITTEN_AT_ONCE, to);
        to.write_all(HEAD)?;
        Ok(Self {
            to,
            block: Vec::with_capacity(2 * BLOCK_TARGET),
            key: KeyBuf::ROOT,
            path: Vec::new(),
            default: None,
            entries: 0,
            changes: 0,
            last: None,
            index: Index::new(HEAD.len() as u64),
            nodes: 0,
            records: 0,
        })
    }

    /// The next name. What stands for nothing is left out.
    pub fn push(&mut self, key: &KeyBuf, value: V) -> Result<(), WriteError> {
        let (before, octets) = (self.key.as_bytes(), key.as_bytes());
        let shared = common_prefix(before, octets);
        if before.get(shared) >= octets.get(shared) {
            return Err(WriteError::Order);
        }
        if value.is_absent() {
            return Ok(());
        }
        let mut previous = before.len();
        while self.path.pop_if(|(length, _)| usize::from(*length) > shared).is_some() {}
        if self.block.len() >= BLOCK_TARGET {
            self.end_block()?;
        }
        if self.block.is_empty() {
            self.begin_block(octets.get(..=shared).unwrap_or_default(), value)?;
            previous = 0;
        }
        let shared_in_block = shared.min(previous);
        let added = octets.get(shared_in_block..).unwrap_or_default();
        coding::push(&mut self.block, previous, shared_in_block, added, &value, self.default);
        self.changes += u32::from(self.last.is_some_and(|last| last != value));
        self.entries += 1;
        self.nodes += 1;
        self.records += value.records();
        self.last = Some(value);
        self.key = *key;
        self.path.push((u8::try_from(octets.len()).unwrap_or(u8::MAX), value));
        Ok(())
    }

    /// Everything that the cursor has from its next name on.
    pub fn push_all<C: Cursor<Value = V>>(&mut self, cursor: &mut C) -> Result<(), WriteError> {
        while cursor.advance()? {
            self.push(cursor.key(), cursor.value())?;
        }
        Ok(())
    }

    /// Names so far.
    #[must_use]
    pub const fn nodes(&self) -> u64 {
        self.nodes
    }

    /// Ends the table. `serial` and `palette` stand in it for whoever opens it.
    pub fn finish(mut self, serial: u32, palette: &Palette) -> Result<(W, Summary), WriteError> {
        self.end_block()?;
        let mut body = Vec::new();
        palette.write(&mut body);
        let palette_at = self.index.end();
        let index_at = palette_at + body.len() as u64;
        self.index.write(&mut body);
        let size = palette_at + (body.len() + FOOT) as u64;
        let blocks = u32::try_from(self.index.blocks()).map_err(|_| WriteError::TooLarge)?;
        let foot = Foot { kind: V::KIND, serial, nodes: self.nodes, records: self.records, blocks, palette_at, index_at, size };
        self.to.write_all(&body)?;
        self.to.write_all(&foot.write(&body))?;
        let to = self.to.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok((to, Summary { nodes: self.nodes, records: self.records, octets: size }))
    }

    fn begin_block(&mut self, separator: &[u8], value: V) -> Result<(), WriteError> {
        // Where a third of the names is unlike its neighbour, a value with each costs less than what marks the exceptions.
        let inline = V::ALWAYS_INLINE || self.changes * 3 > self.entries;
        (self.entries, self.changes) = (0, 0);
        self.default = (!inline).then_some(value);
        let ancestors = u8::try_from(self.path.len()).unwrap_or(u8::MAX);
        self.block.extend([0, 0, if inline { FORM_INLINE } else { FORM_COMMON }, ancestors]);
        if !inline {
            self.block.extend(Written::of(&value).as_bytes());
        }
        for (length, value) in &self.path {
            self.block.push(*length);
            self.block.extend(Written::of(value).as_bytes());
        }
        // The length follows at the end of the block.
        self.index.push(separator, 0).ok_or(WriteError::TooLarge)
    }

    fn end_block(&mut self) -> Result<(), WriteError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let length = u16::try_from(self.block.len() + 4).map_err(|_| WriteError::TooLarge)?;
        if let Some(place) = self.block.first_chunk_mut::<2>() {
            *place = length.to_be_bytes();
        }
        let checksum = crc32fast::hash(&self.block);
        self.block.extend(checksum.to_be_bytes());
        self.to.write_all(&self.block)?;
        self.block.clear();
        self.index.extend_last(length);
        Ok(())
    }
}
