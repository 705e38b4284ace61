//! One name in a table, and everything above it.

use super::open::TableFile;
use super::{BlockHead, checked};
use crate::coding;
use crate::cursor::ReadError;
use crate::key::common_prefix;
use crate::trail::Trail;
use crate::value::Value;

/// Most blocks are this long at most; longer ones are read into memory of their own.
const USUAL: usize = 1536;

impl<V: Value> TableFile<V> {
    /// The value of a name, and with it in `trail` (which loses what it held) those of its listed ancestors. One block is read.
    pub fn get(&self, key: &[u8], trail: &mut Trail<V>) -> Result<Option<V>, ReadError> {
        trail.clear();
        let index = &self.inner.index;
        let Some((start, end)) = index.find(key).and_then(|block| index.place(block)) else { return Ok(None) };
        let length = usize::try_from(end - start).unwrap_or(usize::MAX);
        let mut usual = [0; USUAL];
        let mut longer = Vec::new();
        let block = if let Some(usual) = usual.get_mut(..length) {
            usual
        } else {
            longer.resize(length, 0);
            &mut longer
        };
        self.inner.backing.read_exact_at(block, start)?;
        let content = checked(block).ok_or(ReadError::Damaged(start))?;
        let head = BlockHead::<V>::read(content)?;
        let entries = head.each_ancestor(content, |_, _| {})?;
        // Ancestors of the first key that are not above this one stand in another branch.
        let first = coding::Head::read(content, entries, 0)?;
        let common = common_prefix(first.octets(content)?, key);
        head.each_ancestor(content, |length, value| {
            if length <= common {
                trail.push(length, value);
            }
        })?;
        Ok(coding::find(content, entries, key, head.default, Some(trail))?.found)
    }
}
