//! All words of a file in memory, in order: for who turns a list into something else and does not need the graph itself.
//!
//! The whole file is checked, end to end (`edm.md` 7.2, 7.6): nodes follow each other from the root to the end, as many as the header says,
//! characters rise, every edge leads to where a node begins; and each way is gone once. Words that were handed out before an error was found
//! are part of a list that is refused. What no way leads to is not handed out: it cannot be found either.

use super::WalkError;
use super::graph::Graph;
use super::read::Header;
use super::words::Part;

/// A file whose words are wanted. It is good if its layout is, and if all parts came to their ends.
#[derive(Debug)]
pub struct Scan<'a> {
    graph: Graph<'a>,
}

impl<'a> Scan<'a> {
    /// One of `limit` words at most.
    pub fn new(file: &'a [u8], limit: u64) -> Result<Self, WalkError> {
        let header = Header::read(file)?;
        if header.words > limit {
            return Err(WalkError::TooMany { words: header.words, limit });
        }
        Ok(Self { graph: Graph { file, header } })
    }

    /// How many words it says it has.
    #[must_use]
    pub const fn words(&self) -> u64 {
        self.graph.header.words
    }

    /// All but the words. What is wrong here comes before what is wrong in any part: it may be the reason for it.
    pub fn check_layout(&self) -> Result<(), WalkError> {
        Ok(self.graph.check_layout()?)
    }

    /// The words in so many parts of about as many words, in order, for who goes through several at a time.
    pub fn parts(&self, count: u64) -> Result<Vec<Part<'_>>, WalkError> {
        let mut parts = vec![Part::whole(&self.graph)];
        for k in 1..count {
            let next = Part::from(&self.graph, self.words() * k / count)?;
            if let Some(before) = parts.last_mut().filter(|before| before.first() < next.first()) {
                before.until(&next)?;
                parts.push(next);
            }
        }
        Ok(parts)
    }
}

/// Calls `each` with every word in ascending order: how many there were. It takes `limit` words at most.
pub fn scan<E: From<WalkError>>(file: &[u8], limit: u64, each: impl FnMut(&str) -> Result<(), E>) -> Result<u64, E> {
    let scan = Scan::new(file, limit)?;
    scan.check_layout()?;
    Part::whole(&scan.graph).each(each)?;
    Ok(scan.words())
}
