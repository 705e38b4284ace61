//! Writing: the same octets as the upstream compiler's for the same words.

use std::collections::HashMap;

use super::bits::{Writer, bit_length, variable_octets};

/// Why no file was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Words must rise strictly; a word that stands twice does not.
    #[error("word {0} (from 0) does not come after the one before it in code point order")]
    NotAscending(usize),
    /// Beyond what the format's header can tell.
    #[error("word list is too large for the format")]
    TooLarge,
}

/// Compiles words that come in strictly ascending order.
pub fn compile<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Vec<u8>, CompileError> {
    let mut builder = Builder::new();
    for (position, word) in words.into_iter().enumerate() {
        builder.add(position, word)?;
    }
    builder.finish()
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Node {
    terminal: bool,
    edges: Vec<(char, usize)>,
}

/// Incremental minimisation (Daciuk and others, 2000): nodes of the newest word stay open, others are shared where equal.
struct Builder {
    nodes: Vec<Node>,
    registered: HashMap<Node, usize>,
    /// Nodes of the previous word from the root, and its characters.
    path: Vec<usize>,
    previous: Vec<char>,
    words: u64,
    edges_added: u64,
}

const ROOT: usize = 0;

impl Builder {
    fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
            registered: HashMap::new(),
            path: vec![ROOT],
            previous: Vec::new(),
            words: 0,
            edges_added: 0,
        }
    }

    fn add(&mut self, position: usize, word: &str) -> Result<(), CompileError> {
        let word: Vec<char> = word.chars().collect();
        if self.words > 0 && word <= self.previous {
            return Err(CompileError::NotAscending(position));
        }
        let common = word.iter().zip(&self.previous).take_while(|(a, b)| a == b).count();
        self.share_below(common);
        for &character in word.iter().skip(common) {
            let child = self.nodes.len();
            self.nodes.push(Node::default());
            self.edges_added += 1;
            let parent = self.path.last().copied().unwrap_or(ROOT);
            if let Some(parent) = self.nodes.get_mut(parent) {
                parent.edges.push((character, child));
            }
            self.path.push(child);
        }
        if let Some(last) = self.path.last().and_then(|last| self.nodes.get_mut(*last)) {
            last.terminal = true;
        }
        self.previous = word;
        self.words += 1;
        Ok(())
    }

    /// Closes the open nodes deeper than `depth`, deepest first.
    fn share_below(&mut self, depth: usize) {
        while self.path.len() > depth + 1 {
            let (Some(child), Some(&parent)) = (self.path.pop(), self.path.last()) else {
                return;
            };
            let Some(node) = self.nodes.get(child).cloned() else {
                return;
            };
            let shared = *self.registered.entry(node).or_insert(child);
            if let Some((_, target)) = self.nodes.get_mut(parent).and_then(|parent| parent.edges.last_mut()) {
                *target = shared;
            }
            // Children are always the newest nodes, so one that turned out to be a copy is the last.
            if shared != child && child + 1 == self.nodes.len() {
                self.nodes.pop();
            }
        }
    }

    fn finish(mut self) -> Result<Vec<u8>, CompileError> {
        self.share_below(0);
        // The header's numbers have four groups of seven bits at most.
        if self.edges_added >= 1 << 28 || self.words >= 1 << 28 {
            return Err(CompileError::TooLarge);
        }
        Layout::of(&self).write(&self)
    }
}

/// Nodes in file order: depth first, each at its first visit.
struct Layout {
    order: Vec<usize>,
    /// Place in `order`, by node.
    place: Vec<usize>,
    /// Words reachable, by node.
    counts: Vec<u64>,
    character_bits: u32,
}

const UNPLACED: usize = usize::MAX;

impl Layout {
    fn of(builder: &Builder) -> Self {
        let nodes = &builder.nodes;
        let mut this =
            Self { order: Vec::new(), place: vec![UNPLACED; nodes.len()], counts: vec![0; nodes.len()], character_bits: 0 };
        let mut open = vec![ROOT];
        while let Some(number) = open.pop() {
            let (Some(place), Some(node)) = (this.place.get_mut(number), nodes.get(number)) else {
                continue;
            };
            if *place != UNPLACED {
                continue;
            }
            *place = this.order.len();
            this.order.push(number);
            for (character, target) in node.edges.iter().rev() {
                this.character_bits = this.character_bits.max(bit_length(u64::from(u32::from(*character))));
                open.push(*target);
            }
        }
        this.count(nodes);
        this
    }

    /// Depth first again, this time upwards.
    fn count(&mut self, nodes: &[Node]) {
        let mut open = vec![(ROOT, false)];
        let mut done = vec![false; nodes.len()];
        while let Some((number, below_is_done)) = open.pop() {
            let Some(node) = nodes.get(number).filter(|_| done.get(number) == Some(&false)) else {
                continue;
            };
            if below_is_done {
                let below: u64 = node.edges.iter().map(|(_, target)| self.count_of(*target)).sum();
                if let (Some(count), Some(done)) = (self.counts.get_mut(number), done.get_mut(number)) {
                    *count = below + u64::from(node.terminal);
                    *done = true;
                }
            } else {
                open.push((number, true));
                open.extend(node.edges.iter().map(|(_, target)| (*target, false)));
            }
        }
    }

    fn count_of(&self, node: usize) -> u64 {
        self.counts.get(node).copied().unwrap_or_default()
    }

    fn place_of(&self, node: usize) -> usize {
        self.place.get(node).copied().unwrap_or_default()
    }

    fn falls_through(&self, number: usize, node: &Node) -> bool {
        matches!(node.edges.as_slice(), [(_, target)] if self.place_of(*target) == self.place_of(number) + 1)
    }

    fn write(&self, builder: &Builder) -> Result<Vec<u8>, CompileError> {
        let numbers = [builder.words, builder.registered.len() as u64 + 1, builder.edges_added];
        let header = 48 + numbers.iter().map(|number| 8 * u64::from(variable_octets(*number))).sum::<u64>();
        let skip_length_bits = bit_length(u64::from(bit_length(builder.words)));
        let nodes = || self.order.iter().filter_map(|&number| Some((number, builder.nodes.get(number)?)));

        let mut address_bits = 1;
        let (addresses, size) = loop {
            let mut addresses = vec![0; builder.nodes.len()];
            let mut position = header;
            for (number, node) in nodes() {
                if let Some(address) = addresses.get_mut(number) {
                    *address = position;
                }
                position += self.size(number, node, address_bits, skip_length_bits);
            }
            let needed = bit_length(position);
            if needed <= address_bits {
                break (addresses, position.div_ceil(8));
            }
            address_bits = needed;
        };

        let mut writer = Writer::default();
        writer.bits(u64::from(u32::try_from(size).map_err(|_| CompileError::TooLarge)?), 32);
        writer.bits(u64::from(self.character_bits), 8);
        writer.bits(u64::from(address_bits), 8);
        for number in numbers {
            writer.variable(number);
        }
        for (number, node) in nodes() {
            self.write_node(&mut writer, number, node, &addresses, address_bits, skip_length_bits);
        }
        Ok(writer.into_bytes())
    }

    fn size(&self, number: usize, node: &Node, address_bits: u32, skip_length_bits: u32) -> u64 {
        let character = u64::from(self.character_bits);
        let edge = character + u64::from(address_bits);
        let edges = node.edges.len() as u64;
        if self.falls_through(number, node) {
            2 + character
        } else if edges == 1 {
            3 + edge
        } else {
            let skips = u64::from(bit_length(self.count_of(number))) * edges.saturating_sub(1);
            3 + 8 * u64::from(variable_octets(edges)) + u64::from(skip_length_bits) + edges * edge + skips
        }
    }

    fn write_node(
        &self,
        writer: &mut Writer,
        number: usize,
        node: &Node,
        addresses: &[u64],
        address_bits: u32,
        skip_length_bits: u32,
    ) {
        writer.bits(u64::from(node.terminal), 1);
        if let ([(character, _)], true) = (node.edges.as_slice(), self.falls_through(number, node)) {
            writer.bits(1, 1);
            writer.bits(u64::from(u32::from(*character)), self.character_bits);
            return;
        }
        let single = node.edges.len() == 1;
        writer.bits(0, 1);
        writer.bits(u64::from(single), 1);
        let skip_bits = bit_length(self.count_of(number));
        if !single {
            writer.variable(node.edges.len() as u64);
            writer.bits(u64::from(skip_bits), skip_length_bits);
        }
        let mut skip = u64::from(node.terminal);
        for (k, (character, target)) in node.edges.iter().enumerate() {
            writer.bits(u64::from(u32::from(*character)), self.character_bits);
            if k > 0 {
                writer.bits(skip, skip_bits);
            }
            skip += self.count_of(*target);
            writer.bits(addresses.get(*target).copied().unwrap_or_default(), address_bits);
        }
    }
}
