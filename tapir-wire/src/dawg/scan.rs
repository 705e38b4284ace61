//! All words of a file in memory, in order: for who turns a list into something else and does not need the graph itself.
//!
//! The whole file is checked, end to end (`edm.md` 7.2, 7.6): nodes follow each other from the root to the end, as many as the header says,
//! characters rise, every edge leads to where a node begins. Meanwhile each way is gone once, without recursion: it ends within the longest
//! word (so there is no way back to the start), every way leads to a word (so the work is bounded by their number), each skip count is the
//! number of words that really came before. Words that were handed out before an error was found are part of a list that is refused. What no
//! way leads to is not handed out: it cannot be found either.

use std::hint::black_box;
use std::thread;

use super::read::Header;
use super::{DawgError, WalkError};

/// Longest word in octets: that of a name of 255 octets, all of them escaped, with a dot in front, is a little shorter.
const LONGEST: usize = 1024;
/// A file of fewer octets is checked before its words are handed out: that takes less than a thread. So is one where no thread is to be had.
const SMALL: usize = 64 << 10;
/// A file of more octets is gone through twice: what remembers places of it is as large as the file.
const LARGE: usize = 16 << 20;
/// Edges of a node at most whose ends are asked for together.
const TOUCHED: u64 = 16;

/// Calls `each` with every word in ascending order: how many there were. It takes `limit` words at most.
pub fn scan<E: From<WalkError>>(file: &[u8], limit: u64, mut each: impl FnMut(&str) -> Result<(), E>) -> Result<u64, E> {
    let header = Header::read(file).map_err(WalkError::from)?;
    if header.words > limit {
        return Err(WalkError::TooMany { words: header.words, limit }.into());
    }
    let graph = Graph { file, header };
    thread::scope(|scope| {
        let beside = || {
            if file.len() < SMALL { None } else { thread::Builder::new().spawn_scoped(scope, || graph.check_layout(LARGE)).ok() }
        };
        let Some(layout) = beside() else {
            graph.check_layout(LARGE).map_err(WalkError::from)?;
            return graph.words(&mut each);
        };
        let words = graph.words(&mut each);
        // What is wrong with the layout comes first, whatever it made of the words.
        match layout.join() {
            Ok(good) => good.map_err(WalkError::from)?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        words
    })?;
    Ok(header.words)
}

struct Graph<'a> {
    file: &'a [u8],
    header: Header,
}

/// What stands in front of a node's edges.
struct Node {
    terminal: bool,
    /// The one edge leads to what follows it.
    falls_through: bool,
    edges: u64,
    skip_bits: u32,
    /// Where the first edge stands.
    at: u64,
}

struct Edge {
    character: char,
    skip: u64,
    target: u64,
    end: u64,
}

/// A node whose edges are not all gone.
struct Fork {
    /// Where its next edge stands.
    at: u64,
    left: u64,
    skip_bits: u32,
    /// Words before it.
    base: u64,
    /// Octets of the word up to here.
    length: usize,
}

impl Graph<'_> {
    /// The 57 bits from a place on, or more, at the top; zeros behind the end.
    fn peek(&self, at: u64) -> u64 {
        let start = usize::try_from(at / 8).unwrap_or(usize::MAX);
        let rest = self.file.get(start..).unwrap_or_default();
        let octets = rest.first_chunk::<8>().copied().unwrap_or_else(|| {
            let mut padded = [0; 8];
            padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            padded
        });
        u64::from_be_bytes(octets) << (at % 8)
    }

    fn node(&self, at: u64) -> Result<Node, DawgError> {
        let mut bits = Top(self.peek(at));
        let terminal = bits.take(1) == 1;
        if bits.take(1) == 1 {
            return Ok(Node { terminal, falls_through: true, edges: 1, skip_bits: 0, at: at + 2 });
        }
        if bits.take(1) == 1 {
            return Ok(Node { terminal, falls_through: false, edges: 1, skip_bits: 0, at: at + 3 });
        }
        let (edges, length) = bits.variable().ok_or(DawgError::Truncated)?;
        let skip_bits = bits.take(self.header.skip_length_bits) as u32;
        if skip_bits > 32 {
            return Err(DawgError::BadCounts);
        }
        let at = at + 3 + u64::from(length) + u64::from(self.header.skip_length_bits);
        Ok(Node { terminal, falls_through: false, edges, skip_bits, at })
    }

    /// The first edge of a node has no skip bits: its skip is whether a word ends at the node.
    fn edge(&self, at: u64, skip_bits: u32, falls_through: bool) -> Result<Edge, DawgError> {
        let Header { character_bits, address_bits, .. } = self.header;
        let mut bits = Top(self.peek(at));
        let character = u32::try_from(bits.take(character_bits)).ok().and_then(char::from_u32).ok_or(DawgError::BadEdge)?;
        let skip = bits.take(skip_bits);
        let at = at + u64::from(character_bits + skip_bits);
        if falls_through {
            return Ok(Edge { character, skip, target: at, end: at });
        }
        let target = Top(self.peek(at)).take(address_bits);
        Ok(Edge { character, skip, target, end: at + u64::from(address_bits) })
    }

    /// Files of so many octets are gone through once.
    fn check_layout(&self, at_once: usize) -> Result<(), DawgError> {
        let mut starts = Places::within(self.file);
        let (end, all_lead_to_nodes) = if self.file.len() <= at_once {
            let mut targets = Places::within(self.file);
            let end = self.each_edge(|start| starts.add(start), |target| targets.add(target))?;
            (end, targets.are_among(&starts))
        } else {
            let end = self.each_edge(|start| starts.add(start), |_| Ok(()))?;
            let mut all = true;
            self.each_edge(
                |_| Ok(()),
                |target| {
                    all &= starts.has(target);
                    Ok(())
                },
            )?;
            (end, all)
        };
        let size = self.file.len() as u64 * 8;
        if end > size {
            return Err(DawgError::Truncated);
        }
        let padding = size - end;
        let is_padded = padding < 8 && Top(self.peek(end)).take(padding as u32) == 0;
        if is_padded && all_lead_to_nodes { Ok(()) } else { Err(DawgError::BadLayout) }
    }

    /// Goes from node to node as they stand in the file; tells where the last one ends.
    fn each_edge(
        &self,
        mut start: impl FnMut(u64) -> Result<(), DawgError>,
        mut target: impl FnMut(u64) -> Result<(), DawgError>,
    ) -> Result<u64, DawgError> {
        let mut at = self.header.root;
        for _ in 0..self.header.nodes {
            start(at)?;
            let node = self.node(at)?;
            at = node.at;
            let mut before = None;
            // Characters rise, so there are no more edges than characters, whatever the number says.
            for k in 0..node.edges {
                let edge = self.edge(at, if k == 0 { 0 } else { node.skip_bits }, node.falls_through)?;
                if before.is_some_and(|before| before >= edge.character) {
                    return Err(DawgError::BadEdge);
                }
                // A node that falls through leads to the next one, and there must be one.
                if !node.falls_through {
                    target(edge.target)?;
                }
                (before, at) = (Some(edge.character), edge.end);
            }
        }
        Ok(at)
    }

    /// Asks the memory for where edges lead to before the first of them is gone: they are far apart.
    #[inline]
    fn touch(&self, mut at: u64, edges: u64, skip_bits: u32) {
        let Header { character_bits, address_bits, .. } = self.header;
        let mut touched = 0;
        for _ in 0..edges.min(TOUCHED) {
            at += u64::from(character_bits + skip_bits);
            let target = Top(self.peek(at)).take(address_bits);
            touched ^= usize::try_from(target / 8).ok().and_then(|at| self.file.get(at)).copied().unwrap_or_default();
            at += u64::from(address_bits);
        }
        black_box(touched);
    }

    /// Passes nodes at which no word ends and whose one edge leads to what follows them, as most are: as many as are seen in one look.
    #[inline]
    fn plain(&self, mut at: u64, word: &mut String) -> Result<u64, DawgError> {
        let step = 2 + self.header.character_bits;
        let (mut bits, mut left) = (self.peek(at), 57);
        while bits >> 62 == 0b01 && left >= step {
            let mut node = Top(bits << 2);
            word.push(char::from_u32(node.take(self.header.character_bits) as u32).ok_or(DawgError::BadEdge)?);
            (bits, left, at) = (bits << step, left - step, at + u64::from(step));
        }
        if word.len() > LONGEST { Err(DawgError::Cycle) } else { Ok(at) }
    }

    fn words<E: From<WalkError>>(&self, each: &mut impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let refused = |error: DawgError| E::from(error.into());
        let (mut at, mut emitted) = (self.header.root, 0);
        let mut word = String::with_capacity(LONGEST + 4);
        let mut forks: Vec<Fork> = Vec::new();
        loop {
            at = self.plain(at, &mut word).map_err(refused)?;
            let node = self.node(at).map_err(refused)?;
            let base = emitted;
            if node.terminal {
                emitted += 1;
                if emitted > self.header.words {
                    return Err(refused(DawgError::BadCounts));
                }
                each(&word)?;
            }
            let edge = if node.edges > 0 {
                let edge = self.edge(node.at, 0, node.falls_through).map_err(refused)?;
                if node.edges > 1 {
                    let (left, length) = (node.edges - 1, word.len());
                    self.touch(edge.end, left, node.skip_bits);
                    forks.push(Fork { at: edge.end, left, skip_bits: node.skip_bits, base, length });
                }
                edge
            } else {
                // Only the root of an empty list leads nowhere.
                if !node.terminal && !word.is_empty() {
                    return Err(refused(DawgError::BadCounts));
                }
                let Some(fork) = forks.last_mut() else { break };
                let edge = self.edge(fork.at, fork.skip_bits, false).map_err(refused)?;
                if fork.base + edge.skip != emitted {
                    return Err(refused(DawgError::BadCounts));
                }
                word.truncate(fork.length);
                (fork.at, fork.left) = (edge.end, fork.left - 1);
                if fork.left == 0 {
                    forks.pop();
                }
                edge
            };
            word.push(edge.character);
            at = edge.target;
            if word.len() > LONGEST {
                return Err(refused(DawgError::Cycle));
            }
        }
        if emitted == self.header.words { Ok(()) } else { Err(refused(DawgError::BadCounts)) }
    }
}

/// Places in a file, to the bit: as large as the file.
struct Places(Vec<u64>);

impl Places {
    fn within(file: &[u8]) -> Self {
        Self(vec![0; file.len().div_ceil(8)])
    }

    #[inline]
    fn add(&mut self, place: u64) -> Result<(), DawgError> {
        let word = usize::try_from(place / 64).ok().and_then(|word| self.0.get_mut(word)).ok_or(DawgError::BadLayout)?;
        *word |= 1 << (place % 64);
        Ok(())
    }

    fn has(&self, place: u64) -> bool {
        let word = usize::try_from(place / 64).ok().and_then(|word| self.0.get(word));
        word.is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    fn are_among(&self, others: &Self) -> bool {
        self.0.iter().zip(&others.0).all(|(these, others)| these & !others == 0)
    }
}

/// Bits that are taken from the top.
struct Top(u64);

impl Top {
    fn take(&mut self, count: u32) -> u64 {
        // In two steps, so that none may be taken.
        let taken = self.0 >> 1 >> (63 - count);
        self.0 <<= count;
        taken
    }

    /// A number in groups of seven bits, and how many bits it took.
    fn variable(&mut self) -> Option<(u64, u32)> {
        let mut value = 0;
        for groups in 1..=5 {
            let octet = self.take(8);
            value = value << 7 | (octet & 0x7f);
            if octet & 0x80 == 0 {
                return Some((value, 8 * groups));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::compile;
    use super::*;

    #[test]
    fn large_files_are_checked_as_small_ones_are() {
        let good = compile([".se.", "a.example.", "b.example.", "b.example.net.", "www.example.", "x.se."]).unwrap();
        let judged = |file: &[u8]| {
            let graph = Graph { file, header: Header::read(file).ok()? };
            Some([0, usize::MAX].map(|at_once| graph.check_layout(at_once).is_ok()))
        };
        assert_eq!(judged(&good), Some([true; 2]));
        let mut refused = 0;
        for bit in 0..good.len() * 8 {
            let mut damaged = good.clone();
            damaged[bit / 8] ^= 0x80 >> (bit % 8);
            let Some([twice, once]) = judged(&damaged) else { continue };
            assert_eq!(twice, once, "bit {bit}");
            refused += u32::from(!once);
        }
        assert!(refused > 50, "{refused}");
    }
}
