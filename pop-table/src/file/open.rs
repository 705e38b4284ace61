//! Opening a table.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use super::foot::{FOOT, Foot};
use super::index::Index;
use super::{HEAD, Scan};
use crate::codes::Codes;
use crate::disk::Backing;
use crate::palette::Palette;
use crate::value::Value;

/// Why a file is no table.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk says no.
    #[error("reading a table's foot and index")]
    Io(#[from] io::Error),
    /// Not one of ours, or cut short.
    #[error("the file is no table, or not a whole one")]
    NoTable,
    /// One of ours, for something else.
    #[error("the table holds values of kind {found} in place of {wanted}")]
    Kind {
        /// As it stands there.
        found: u8,
        /// As it should be.
        wanted: u8,
    },
    /// Some octets are not those that were written.
    #[error("the table's foot, index or palette is damaged")]
    Damaged,
}

/// A table, open for reading by any number of threads. A clone is the same table.
#[derive(Debug)]
pub struct TableFile<V = Codes> {
    pub(super) inner: Arc<Inner>,
    kind: PhantomData<V>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) backing: Backing,
    pub(super) index: Index,
    foot: Foot,
    palette: Palette,
}

impl<V: Value> TableFile<V> {
    /// Opens a file.
    pub fn open(file: File) -> Result<Self, OpenError> {
        Self::from_backing(Backing::File(Arc::new(file)))
    }

    /// Opens what stands in memory.
    pub fn from_memory(octets: impl Into<Arc<[u8]>>) -> Result<Self, OpenError> {
        Self::from_backing(Backing::Memory(octets.into()))
    }

    /// Opens either.
    pub fn from_backing(backing: Backing) -> Result<Self, OpenError> {
        let size = backing.size()?;
        let foot_at = size.checked_sub(FOOT as u64).filter(|at| *at >= HEAD.len() as u64).ok_or(OpenError::NoTable)?;
        let mut head = [0; HEAD.len()];
        backing.read_exact_at(&mut head, 0)?;
        let mut octets = [0; FOOT];
        backing.read_exact_at(&mut octets, foot_at)?;
        let foot = Foot::read(&octets).filter(|foot| head == *HEAD && foot.size == size).ok_or(OpenError::NoTable)?;
        if foot.kind != V::KIND {
            return Err(OpenError::Kind { found: foot.kind, wanted: V::KIND });
        }
        if !(HEAD.len() as u64 <= foot.palette_at && foot.palette_at <= foot.index_at && foot.index_at <= foot_at) {
            return Err(OpenError::Damaged);
        }
        let length = usize::try_from(foot_at - foot.palette_at).map_err(|_| OpenError::Damaged)?;
        let mut body = vec![0; length];
        backing.read_exact_at(&mut body, foot.palette_at)?;
        if !Foot::is_checked(&octets, &body) {
            return Err(OpenError::Damaged);
        }
        let border = usize::try_from(foot.index_at - foot.palette_at).map_err(|_| OpenError::Damaged)?;
        let (palette, index) = body.split_at(border);
        let palette = Palette::read(palette).ok_or(OpenError::Damaged)?;
        let index = Index::read(index, HEAD.len() as u64).ok_or(OpenError::Damaged)?;
        if index.end() != foot.palette_at || index.blocks() != foot.blocks as usize {
            return Err(OpenError::Damaged);
        }
        Ok(Self { inner: Arc::new(Inner { backing, index, foot, palette }), kind: PhantomData })
    }

    /// Walks through it from the beginning.
    #[must_use]
    pub fn scan(&self) -> Scan<V> {
        Scan::new(Arc::clone(&self.inner))
    }

    /// Names in it.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        self.inner.foot.nodes
    }

    /// Records of a zone that they stand for.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.inner.foot.records
    }

    /// The number that it was finished with.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.inner.foot.serial
    }

    /// The palette that it was finished with.
    #[must_use]
    pub fn palette(&self) -> &Palette {
        &self.inner.palette
    }

    /// Octets of the file.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.inner.foot.size
    }

    /// Octets of its index in memory.
    #[must_use]
    pub fn index_octets(&self) -> usize {
        self.inner.index.octets()
    }

    /// Lets the kernel drop its copy: it is not read again soon.
    pub fn forget_pages(&self) {
        self.inner.backing.forget(0, self.octets());
    }
}

impl<V> Clone for TableFile<V> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), kind: PhantomData }
    }
}
