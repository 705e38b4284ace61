//! Whether nodes follow each other from the root to the end, and every edge leads to one.

use super::DawgError;
use super::graph::Graph;

impl Graph<'_> {
    /// Goes from node to node as they stand in the file.
    pub(super) fn check_layout(&self) -> Result<(), DawgError> {
        let mut places = Places { unseen: vec![u64::MAX; self.file.len().div_ceil(8)], awaited: 0 };
        let (mut at, mut left) = (self.header.root, self.header.nodes);
        while left > 0 {
            let mut look = self.look(at);
            while left > 0
                && let Some(node) = look.single()?
            {
                places.begin(at)?;
                if let Some(to) = node.target {
                    places.lead_to(to)?;
                }
                (at, left) = (look.at, left - 1);
            }
            if left == 0 {
                break;
            }
            places.begin(at)?;
            let node = self.node(at)?;
            (at, left) = (node.at, left - 1);
            let mut before = None;
            // Characters rise, so there are no more edges than characters, whatever the number says.
            for k in 0..node.edges {
                let edge = self.edge(at, if k == 0 { 0 } else { node.skip_bits }, node.falls_through)?;
                if before.is_some_and(|before| before >= edge.character) {
                    return Err(DawgError::BadEdge);
                }
                // A node that falls through leads to the next one, and there must be one.
                if !node.falls_through {
                    places.lead_to(edge.target)?;
                }
                (before, at) = (Some(edge.character), edge.end);
            }
        }
        let size = self.file.len() as u64 * 8;
        if at > size {
            return Err(DawgError::Truncated);
        }
        let padding = size - at;
        let is_padded = padding < 8 && self.bits(at, padding as u32) == 0;
        if is_padded && places.awaited == 0 { Ok(()) } else { Err(DawgError::BadLayout) }
    }
}

/// Places in a file, to the bit: as large as the file.
struct Places {
    /// Where no node begins and no edge leads to. Written before it is read, which zeros need not be: the kernel gives a page at the first
    /// read and another at the first write, and has all processors forget the one before.
    unseen: Vec<u64>,
    /// How many places edges lead to where no node has begun yet. It never will where one that stands behind it has.
    awaited: u64,
}

impl Places {
    /// Of a node that stands behind all before.
    #[inline]
    fn begin(&mut self, place: u64) -> Result<(), DawgError> {
        self.awaited -= u64::from(self.see(place)?);
        Ok(())
    }

    #[inline]
    fn lead_to(&mut self, place: u64) -> Result<(), DawgError> {
        self.awaited += u64::from(!self.see(place)?);
        Ok(())
    }

    /// Whether it was seen before.
    #[inline]
    fn see(&mut self, place: u64) -> Result<bool, DawgError> {
        let word = usize::try_from(place / 64).ok().and_then(|word| self.unseen.get_mut(word)).ok_or(DawgError::BadLayout)?;
        let before = *word;
        *word &= !(1 << (place % 64));
        Ok(before == *word)
    }
}
