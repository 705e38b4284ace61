//! Reading: the whole graph is checked and unpacked at load, so that a lookup cannot go wrong.
//!
//! Upstream reads the header only; a file that is damaged behind it loads there and then gives wrong answers.

use std::collections::HashMap;

use super::bits::{Reader, bit_length};

/// A list of words in memory, each with its index in ascending order.
#[derive(Clone, Debug)]
pub struct Dawg {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    words: u64,
}

/// Why a file was refused. Variant names serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum DawgError {
    /// Ends within the header or a node.
    #[error("word list is cut off")]
    Truncated,
    /// The header's size is not that of the file.
    #[error("word list says it has {stated} octets, but has {actual}")]
    WrongSize {
        /// According to the header.
        stated: u64,
        /// In truth.
        actual: u64,
    },
    /// A header field out of range.
    #[error("word list has an impossible header")]
    BadHeader,
    /// An edge with a number that is no character, or edges out of order.
    #[error("word list has edges that are no characters or out of order")]
    BadEdge,
    /// Nodes that overlap, leave gaps, or are pointed at in their middle.
    #[error("word list has nodes that overlap or leave gaps")]
    BadLayout,
    /// A way back to the start.
    #[error("word list has a cycle")]
    Cycle,
    /// Skip counts or the number of words do not add up.
    #[error("word list has counts that do not add up")]
    BadCounts,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    terminal: bool,
    first_edge: u32,
    edge_count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    character: char,
    /// Words before those that go this way, counted from the edge's node.
    skip: u32,
    target: u32,
}

const ROOT: u32 = 0;

impl Dawg {
    /// Checks and unpacks a file.
    #[expect(clippy::needless_pass_by_value, reason = "the file's octets are not needed after this")]
    pub fn from_bytes(file: Vec<u8>) -> Result<Self, DawgError> {
        let mut loader = Loader::start(&file)?;
        loader.load_nodes()?;
        loader.check_layout()?;
        let dawg = Self { nodes: loader.nodes, edges: loader.edges, words: loader.header.words };
        dawg.check_counts()?;
        Ok(dawg)
    }

    /// How many words.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.words
    }

    /// Whether there is no word.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// The word's place among all words in ascending order.
    #[must_use]
    pub fn index_of(&self, word: &str) -> Option<u64> {
        let (mut node, mut index) = (self.node(ROOT)?, 0);
        for character in word.chars() {
            let edges = self.edges_of(node);
            let edge = edges.get(edges.binary_search_by_key(&character, |edge| edge.character).ok()?)?;
            index += u64::from(edge.skip);
            node = self.node(edge.target)?;
        }
        node.terminal.then_some(index)
    }

    /// All words in ascending order.
    pub fn words(&self) -> impl Iterator<Item = String> {
        let mut word = String::new();
        // Edges yet to be taken, and how long the word was before each.
        let mut open: Vec<(usize, Option<Edge>)> = vec![(0, None)];
        std::iter::from_fn(move || {
            while let Some((length, edge)) = open.pop() {
                word.truncate(length);
                if let Some(edge) = edge {
                    word.push(edge.character);
                }
                let node = self.node(edge.map_or(ROOT, |edge| edge.target))?;
                open.extend(self.edges_of(node).iter().rev().map(|edge| (word.len(), Some(*edge))));
                if node.terminal {
                    return Some(word.clone());
                }
            }
            None
        })
    }

    fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.get(number as usize)
    }

    fn edges_of(&self, node: &Node) -> &[Edge] {
        let start = node.first_edge as usize;
        self.edges.get(start..start + node.edge_count as usize).unwrap_or_default()
    }

    /// Walks depth first without recursion: refuses cycles, and compares each stored skip with the words really before it.
    fn check_counts(&self) -> Result<(), DawgError> {
        #[derive(Clone, Copy)]
        enum State {
            New,
            Open,
            Done(u64),
        }
        let mut states = vec![State::New; self.nodes.len()];
        let mut stack = vec![ROOT];
        while let Some(&number) = stack.last() {
            let (Some(node), Some(state)) = (self.node(number), states.get(number as usize).copied()) else {
                return Err(DawgError::BadLayout);
            };
            if let State::Done(_) = state {
                stack.pop();
                continue;
            }
            if let State::New = state {
                set(&mut states, number, State::Open);
                for edge in self.edges_of(node) {
                    match states.get(edge.target as usize) {
                        Some(State::New) => stack.push(edge.target),
                        Some(State::Done(_)) => {}
                        Some(State::Open) | None => return Err(DawgError::Cycle),
                    }
                }
                continue;
            }
            let mut count = u64::from(node.terminal);
            for edge in self.edges_of(node) {
                if u64::from(edge.skip) != count {
                    return Err(DawgError::BadCounts);
                }
                match states.get(edge.target as usize) {
                    Some(State::Done(below)) => count += below,
                    // A target that was still new when this node opened and is open now lies above it.
                    _ => return Err(DawgError::Cycle),
                }
            }
            // Keeps every sum far from overflow: the header's number has 35 bits at most.
            if count > self.words {
                return Err(DawgError::BadCounts);
            }
            set(&mut states, number, State::Done(count));
            stack.pop();
        }
        match states.first() {
            Some(State::Done(count)) if *count == self.words => Ok(()),
            _ => Err(DawgError::BadCounts),
        }
    }
}

fn set<T>(slots: &mut [T], number: u32, value: T) {
    if let Some(slot) = slots.get_mut(number as usize) {
        *slot = value;
    }
}

/// What a file says of itself in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bits of a character.
    pub character_bits: u32,
    /// Bits of the place of a node.
    pub address_bits: u32,
    /// How many words.
    pub words: u64,
    /// How many nodes.
    pub nodes: u64,
    /// How many edges were added while it was built; those that turned out to be copies are counted too.
    pub edges_added: u64,
    /// Bits of the field that tells a node's bits per skip.
    pub(super) skip_length_bits: u32,
    /// Where the root begins.
    pub(super) root: u64,
}

impl Header {
    /// Reads and checks it; the size that it states must be that of the file.
    pub fn read(file: &[u8]) -> Result<Self, DawgError> {
        let mut reader = Reader::at(file, 0);
        let mut fixed = |bits| reader.bits(bits).ok_or(DawgError::Truncated);
        let stated = fixed(32)?;
        let actual = file.len() as u64;
        if stated != actual {
            return Err(DawgError::WrongSize { stated, actual });
        }
        let (character_bits, address_bits) = (fixed(8)? as u32, fixed(8)? as u32);
        let mut number = || reader.variable().ok_or(DawgError::Truncated);
        let (words, nodes, edges_added) = (number()?, number()?, number()?);
        // A node with one edge takes two bits and a character, one with none eleven bits.
        let most_nodes = actual * 8 / (2 + u64::from(character_bits)).min(11);
        // A Unicode character has 21 bits, a bit address in a 32-bit size 35.
        let fits = character_bits <= 21 && address_bits <= 35 && words <= u64::from(u32::MAX);
        if !fits || nodes == 0 || nodes > most_nodes {
            return Err(DawgError::BadHeader);
        }
        let skip_length_bits = bit_length(u64::from(bit_length(words)));
        Ok(Self { character_bits, address_bits, words, nodes, edges_added, skip_length_bits, root: reader.position() })
    }
}

struct Loader<'a> {
    file: &'a [u8],
    header: Header,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// Bit offset of each known node, and where those that were read end.
    offsets: Vec<u64>,
    ends: Vec<u64>,
    numbers: HashMap<u64, u32>,
}

impl<'a> Loader<'a> {
    fn start(file: &'a [u8]) -> Result<Self, DawgError> {
        let header = Header::read(file)?;
        let numbers = HashMap::from([(header.root, ROOT)]);
        let offsets = vec![header.root];
        Ok(Self { file, header, nodes: Vec::new(), edges: Vec::new(), offsets, ends: Vec::new(), numbers })
    }

    /// Reads every node that can be reached, in order of discovery.
    fn load_nodes(&mut self) -> Result<(), DawgError> {
        while let Some(&offset) = self.offsets.get(self.nodes.len()) {
            self.load_node(offset)?;
        }
        Ok(())
    }

    fn load_node(&mut self, offset: u64) -> Result<(), DawgError> {
        let mut reader = Reader::at(self.file, offset);
        let cut = DawgError::Truncated;
        let terminal = reader.bit().ok_or(cut)?;
        let first_edge = u32::try_from(self.edges.len()).map_err(|_| DawgError::BadHeader)?;
        if reader.bit().ok_or(cut)? {
            let character = self.character(&mut reader)?;
            let target = self.number(reader.position())?;
            self.edges.push(Edge { character, skip: u32::from(terminal), target });
        } else {
            let single = reader.bit().ok_or(cut)?;
            let (count, skip_bits) = if single {
                (1, 0)
            } else {
                let count = reader.variable().ok_or(cut)?;
                (count, reader.bits(self.header.skip_length_bits).ok_or(cut)? as u32)
            };
            if skip_bits > 32 {
                return Err(DawgError::BadCounts);
            }
            for k in 0..count {
                let character = self.character(&mut reader)?;
                let before = self.edges.get(first_edge as usize..).and_then(<[Edge]>::last);
                if before.is_some_and(|before| before.character >= character) {
                    return Err(DawgError::BadEdge);
                }
                let skip = if k == 0 { u64::from(terminal) } else { reader.bits(skip_bits).ok_or(cut)? };
                let skip = u32::try_from(skip).map_err(|_| DawgError::BadCounts)?;
                let address = reader.bits(self.header.address_bits).ok_or(cut)?;
                let target = self.number(address)?;
                self.edges.push(Edge { character, skip, target });
            }
        }
        // Nodes that overlap could name far more edges than the file has room for.
        if self.edges.len() as u64 * u64::from(self.header.character_bits) > self.file.len() as u64 * 8 {
            return Err(DawgError::BadLayout);
        }
        let edge_count = u32::try_from(self.edges.len()).map_err(|_| DawgError::BadHeader)? - first_edge;
        self.nodes.push(Node { terminal, first_edge, edge_count });
        self.ends.push(reader.position());
        Ok(())
    }

    fn character(&self, reader: &mut Reader<'_>) -> Result<char, DawgError> {
        let code = reader.bits(self.header.character_bits).ok_or(DawgError::Truncated)?;
        u32::try_from(code).ok().and_then(char::from_u32).ok_or(DawgError::BadEdge)
    }

    fn number(&mut self, offset: u64) -> Result<u32, DawgError> {
        if let Some(&number) = self.numbers.get(&offset) {
            return Ok(number);
        }
        if self.offsets.len() as u64 >= self.header.nodes || offset < self.header.root {
            return Err(DawgError::BadLayout);
        }
        let number = u32::try_from(self.offsets.len()).map_err(|_| DawgError::BadHeader)?;
        self.numbers.insert(offset, number);
        self.offsets.push(offset);
        Ok(number)
    }

    /// The nodes must fill the file from the root to its end, each beginning where the one before ends.
    fn check_layout(&self) -> Result<(), DawgError> {
        let mut spans: Vec<_> = self.offsets.iter().zip(&self.ends).collect();
        spans.sort_unstable();
        let mut position = self.header.root;
        for (&start, &end) in spans {
            if start != position {
                return Err(DawgError::BadLayout);
            }
            position = end;
        }
        let padding = (self.file.len() as u64 * 8).saturating_sub(position);
        let zero = Reader::at(self.file, position).bits(padding.min(8) as u32) == Some(0);
        if padding >= 8 || !zero || self.nodes.len() as u64 != self.header.nodes {
            return Err(DawgError::BadLayout);
        }
        Ok(())
    }
}
