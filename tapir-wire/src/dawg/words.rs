//! From word to word, in order, each way once and without recursion.

use std::hint::black_box;

use super::graph::{Edge, Graph, Node};
use super::read::Header;
use super::{DawgError, WalkError};

/// Longest word in octets: that of a name of 255 octets, all of them escaped, with a dot in front, is a little shorter.
const LONGEST: usize = 1024;
/// Edges of a node at most whose ends are asked for together.
const TOUCHED: u64 = 16;

/// The words from one number to another, in ascending order.
#[derive(Debug)]
pub struct Part<'a> {
    graph: &'a Graph<'a>,
    /// Up to here.
    word: String,
    at: u64,
    /// Words before this place.
    number: u64,
    forks: Vec<Fork>,
    /// The number of the word behind the last one, and that word; none behind the last word of all.
    end: u64,
    next: Option<String>,
}

/// A node whose edges are not all gone.
#[derive(Debug)]
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

impl<'a> Part<'a> {
    /// All words.
    pub(super) fn whole(graph: &'a Graph<'a>) -> Self {
        let Header { root, words, .. } = graph.header;
        Self { graph, word: String::with_capacity(LONGEST + 4), at: root, number: 0, forks: Vec::new(), end: words, next: None }
    }

    /// The words from a number on that the whole has, found by the skip counts. Whether these tell the truth is seen by who comes from before.
    pub(super) fn from(graph: &'a Graph<'a>, number: u64) -> Result<Self, DawgError> {
        let mut part = Self::whole(graph);
        while part.number < number {
            let (node, base, length) = (graph.node(part.at)?, part.number, part.word.len());
            let (edge, left) = last_within(graph, &node, number - base)?;
            if left > 0 {
                part.forks.push(Fork { at: edge.end, left, skip_bits: node.skip_bits, base, length });
            }
            part.number = base + edge.skip;
            part.go(edge.character, edge.target)?;
        }
        Ok(part)
    }

    /// Ends before another one begins.
    pub(super) fn until(&mut self, next: &Self) -> Result<(), DawgError> {
        let graph = self.graph;
        let mut first = Self { graph, word: next.word.clone(), at: next.at, number: 0, forks: Vec::new(), end: 0, next: None };
        loop {
            let node = graph.node(first.at)?;
            if node.terminal {
                break;
            }
            let edge = last_within(graph, &node, 0)?.0;
            first.go(edge.character, edge.target)?;
        }
        (self.end, self.next) = (next.number, Some(first.word));
        Ok(())
    }

    /// The number of its first word.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.number
    }

    /// Calls `each` with every word.
    ///
    /// It ends within the longest word (so there is no way back to the start), every way leads to a word (so the work is bounded by their
    /// number), each skip count is the number of words that really came before, and the word behind the last one is the next part's first.
    /// Since characters rise, a word has one way only: that part began where this one ends.
    pub fn each<E: From<WalkError>>(mut self, mut each: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let refused = |error: DawgError| E::from(error.into());
        loop {
            self.pass_singles().map_err(refused)?;
            let node = self.graph.node(self.at).map_err(refused)?;
            let base = self.number;
            if node.terminal {
                if self.number == self.end {
                    let is_next = self.next.is_some_and(|next| next == self.word);
                    return if is_next { Ok(()) } else { Err(refused(DawgError::BadCounts)) };
                }
                self.number += 1;
                each(&self.word)?;
            }
            let edge = if node.edges > 0 {
                let edge = self.graph.edge(node.at, 0, node.falls_through).map_err(refused)?;
                if node.edges > 1 {
                    let (left, length) = (node.edges - 1, self.word.len());
                    touch(self.graph, edge.end, left, node.skip_bits);
                    self.forks.push(Fork { at: edge.end, left, skip_bits: node.skip_bits, base, length });
                }
                edge
            } else {
                // Only the root of an empty list leads nowhere.
                if !node.terminal && !self.word.is_empty() {
                    return Err(refused(DawgError::BadCounts));
                }
                let Some(fork) = self.forks.last_mut() else { break };
                let edge = self.graph.edge(fork.at, fork.skip_bits, false).map_err(refused)?;
                if fork.base + edge.skip != self.number {
                    return Err(refused(DawgError::BadCounts));
                }
                self.word.truncate(fork.length);
                (fork.at, fork.left) = (edge.end, fork.left - 1);
                if fork.left == 0 {
                    self.forks.pop();
                }
                edge
            };
            self.go(edge.character, edge.target).map_err(refused)?;
        }
        let is_end = self.number == self.end && self.next.is_none();
        if is_end { Ok(()) } else { Err(refused(DawgError::BadCounts)) }
    }

    #[inline]
    fn go(&mut self, character: char, target: u64) -> Result<(), DawgError> {
        self.word.push(character);
        self.at = target;
        if self.word.len() > LONGEST { Err(DawgError::Cycle) } else { Ok(()) }
    }

    /// Most of a way forks nowhere.
    #[inline]
    fn pass_singles(&mut self) -> Result<(), DawgError> {
        let mut look = self.graph.look(self.at);
        while let Some(node) = look.single()? {
            self.go(node.character, node.target.unwrap_or(look.at))?;
            if node.target.is_some() {
                look = self.graph.look(self.at);
            }
        }
        Ok(())
    }
}

/// The last edge of a node before which there are so many words at most, and how many edges come after it.
fn last_within(graph: &Graph<'_>, node: &Node, words: u64) -> Result<(Edge, u64), DawgError> {
    let Some(others) = node.edges.checked_sub(1) else { return Err(DawgError::BadCounts) };
    let first = graph.edge(node.at, 0, node.falls_through)?;
    let Header { character_bits, address_bits, .. } = graph.header;
    let width = u64::from(character_bits + node.skip_bits + address_bits);
    if others.saturating_mul(width) > (graph.file.len() as u64 * 8).saturating_sub(first.end) {
        return Err(DawgError::Truncated);
    }
    let other = |index: u64| graph.edge(first.end + (index - 1) * width, node.skip_bits, false);
    // Skips rise, or the file is refused later.
    let (mut last, mut beyond) = (0, node.edges);
    while beyond - last > 1 {
        let middle = last.midpoint(beyond);
        if other(middle)?.skip <= words { last = middle } else { beyond = middle }
    }
    let edge = if last == 0 { Edge { skip: node.terminal.into(), ..first } } else { other(last)? };
    Ok((edge, others - last))
}

/// Asks the memory for where edges lead to before the first of them is gone: they are far apart.
#[inline]
fn touch(graph: &Graph<'_>, mut at: u64, edges: u64, skip_bits: u32) {
    let Header { character_bits, address_bits, .. } = graph.header;
    let mut touched = 0;
    for _ in 0..edges.min(TOUCHED) {
        at += u64::from(character_bits + skip_bits);
        let target = graph.bits(at, address_bits);
        touched ^= usize::try_from(target / 8).ok().and_then(|at| graph.file.get(at)).copied().unwrap_or_default();
        at += u64::from(address_bits);
    }
    black_box(touched);
}
