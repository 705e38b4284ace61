//! Which block a name is in.

/// Blocks that have their places relative to one number of 8 octets.
const GROUP: usize = 256;

/// First keys (shortened) and places of all blocks, in about 16 octets a block.
#[derive(Debug, Default)]
pub(super) struct Index {
    separators: Vec<u8>,
    /// Where each separator ends.
    ends: Vec<u32>,
    /// Place of each block relative to its group's: 256 blocks of at most 8 KiB fit.
    places: Vec<u32>,
    groups: Vec<u64>,
    /// Where the last block ends.
    end: u64,
}

impl Index {
    /// Before the first block, which is going to stand at `start`.
    pub(super) fn new(start: u64) -> Self {
        Self { end: start, ..Self::default() }
    }

    /// The next block; `None` when there are too many of them.
    pub(super) fn push(&mut self, separator: &[u8], length: u16) -> Option<()> {
        if self.places.len().is_multiple_of(GROUP) {
            self.groups.push(self.end);
        }
        let group = *self.groups.last()?;
        self.separators.extend(separator);
        self.ends.push(u32::try_from(self.separators.len()).ok()?);
        self.places.push(u32::try_from(self.end - group).ok()?);
        self.end += u64::from(length);
        Some(())
    }

    /// The last block has as many octets more.
    pub(super) fn extend_last(&mut self, octets: u16) {
        self.end += u64::from(octets);
    }

    pub(super) const fn blocks(&self) -> usize {
        self.places.len()
    }

    /// Where the blocks end.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Octets in memory.
    pub(super) fn octets(&self) -> usize {
        self.separators.capacity() + 4 * (self.ends.capacity() + self.places.capacity()) + 8 * self.groups.capacity()
    }

    /// Start and end of a block.
    pub(super) fn place(&self, block: usize) -> Option<(u64, u64)> {
        let start = |block: usize| Some(*self.groups.get(block / GROUP)? + u64::from(*self.places.get(block)?));
        Some((start(block)?, start(block + 1).unwrap_or(self.end)))
    }

    /// The block in which `key` stands if it is there at all.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.blocks());
        while low < high {
            let middle = low.midpoint(high);
            if self.separator(middle)? <= key { low = middle + 1 } else { high = middle }
        }
        low.checked_sub(1)
    }

    fn separator(&self, block: usize) -> Option<&[u8]> {
        let start = block.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.separators.get(start as usize..*self.ends.get(block)? as usize)
    }

    /// As it stands in a file.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        for block in 0..self.blocks() {
            let (Some(separator), Some((start, end))) = (self.separator(block), self.place(block)) else { return };
            to.push(u8::try_from(separator.len()).unwrap_or(u8::MAX));
            to.extend(separator);
            to.extend(u16::try_from(end - start).unwrap_or(u16::MAX).to_be_bytes());
        }
    }

    /// Reads what [`Index::write`] wrote; `None` unless it is exactly that, ascending, with blocks that can be.
    pub(super) fn read(octets: &[u8], start: u64) -> Option<Self> {
        let mut index = Self::new(start);
        let mut rest = octets;
        let mut before: Option<&[u8]> = None;
        while let Some((&length, tail)) = rest.split_first() {
            let (separator, tail) = tail.split_at_checked(usize::from(length))?;
            let (size, tail) = tail.split_first_chunk::<2>()?;
            let size = u16::from_be_bytes(*size);
            let fits = (super::BLOCK_LEAST..=super::BLOCK_MAX).contains(&usize::from(size));
            if !fits || before.is_some_and(|before| before >= separator) {
                return None;
            }
            index.push(separator, size)?;
            (before, rest) = (Some(separator), tail);
        }
        index.separators.shrink_to_fit();
        index.ends.shrink_to_fit();
        index.places.shrink_to_fit();
        Some(index)
    }
}
