//! All words of a file in order, without the file in memory: for lists that are larger than what there is of it.
//!
//! What is walked through is checked on the way: every node lies in the file, characters rise, nothing is deeper than a word can be
//! long (so there is no way back to the start), every way leads to a word (so the work is bounded by their number), each skip count is the
//! number of words that really came before, and in the end there were as many as the header says. Words that were handed out before an
//! error was found are part of a list that is refused: whoever takes them throws them away.

use std::io;

use super::DawgError;
use super::bits::bit_length;

/// Longest word, in characters.
const DEPTH: usize = 255;
/// Parts of the file that are in memory at once.
const WINDOWS: usize = 16;
const WINDOW: usize = 64 << 10;

/// Octets that are read at any place.
pub trait Octets {
    /// How many there are.
    fn size(&self) -> io::Result<u64>;

    /// Fills `to` with what stands from `at` on.
    fn read_exact_at(&self, to: &mut [u8], at: u64) -> io::Result<()>;
}

impl Octets for [u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, to: &mut [u8], at: u64) -> io::Result<()> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let from = start.checked_add(to.len()).and_then(|end| self.get(start..end));
        to.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Octets for std::fs::File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, to: &mut [u8], at: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, to, at)
    }
}

/// Why a walk ended early.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The file is no word list, or a damaged one.
    #[error(transparent)]
    Dawg(#[from] DawgError),
    /// It cannot be read.
    #[error("reading the word list")]
    Io(#[from] io::Error),
    /// More than the caller wants.
    #[error("word list has {words} words, more than the {limit} that are taken")]
    TooMany {
        /// According to the header.
        words: u64,
        /// Of the caller.
        limit: u64,
    },
}

/// Calls `each` with every word in ascending order: how many there were. It takes `limit` words at most.
pub fn walk<O: Octets + ?Sized, E: From<WalkError>>(
    octets: &O,
    limit: u64,
    mut each: impl FnMut(&str) -> Result<(), E>,
) -> Result<u64, E> {
    let mut walk = Walk::start(octets)?;
    if walk.words > limit {
        return Err(WalkError::TooMany { words: walk.words, limit }.into());
    }
    let root = walk.bits.at;
    walk.enter(root, 0)?;
    loop {
        if let Some(length) = walk.found.take() {
            each(walk.word.get(..length).unwrap_or_default())?;
        }
        if !walk.step()? {
            break;
        }
    }
    if walk.emitted == walk.words { Ok(walk.words) } else { Err(WalkError::from(DawgError::BadCounts).into()) }
}

/// A node whose edges are not all taken.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Where its next edge stands.
    at: u64,
    left: u64,
    /// Words before it.
    base: u64,
    terminal: bool,
    /// The edge leads to what follows it.
    falls_through: bool,
    is_first: bool,
    skip_bits: u32,
    before: Option<char>,
    /// Octets of the word up to here.
    length: usize,
}

struct Walk<'a, O: ?Sized> {
    bits: Bits<'a, O>,
    character_bits: u32,
    address_bits: u32,
    skip_length_bits: u32,
    words: u64,
    root: u64,
    emitted: u64,
    stack: Vec<Frame>,
    word: String,
    /// A word ends here that was not handed out yet.
    found: Option<usize>,
}

impl<'a, O: Octets + ?Sized> Walk<'a, O> {
    fn start(octets: &'a O) -> Result<Self, WalkError> {
        let size = octets.size()?;
        let mut bits = Bits::new(octets, size);
        let stated = bits.take(32)?;
        if stated != size {
            return Err(DawgError::WrongSize { stated, actual: size }.into());
        }
        let (character_bits, address_bits) = (bits.take(8)? as u32, bits.take(8)? as u32);
        let (words, nodes, _edges_while_building) = (bits.variable()?, bits.variable()?, bits.variable()?);
        if character_bits > 21 || address_bits > 35 || words > u64::from(u32::MAX) || nodes == 0 {
            return Err(DawgError::BadHeader.into());
        }
        let skip_length_bits = bit_length(u64::from(bit_length(words)));
        let root = bits.at;
        Ok(Self {
            bits,
            character_bits,
            address_bits,
            skip_length_bits,
            words,
            root,
            emitted: 0,
            stack: Vec::new(),
            word: String::new(),
            found: None,
        })
    }

    /// Reads the head of a node to which `base` words lead.
    fn enter(&mut self, at: u64, base: u64) -> Result<(), WalkError> {
        if at < self.root {
            return Err(DawgError::BadLayout.into());
        }
        if self.stack.len() > DEPTH {
            return Err(DawgError::Cycle.into());
        }
        self.bits.at = at;
        let terminal = self.bits.take(1)? == 1;
        let falls_through = self.bits.take(1)? == 1;
        let (mut left, mut skip_bits) = (1, 0);
        if !falls_through && self.bits.take(1)? == 0 {
            left = self.bits.variable()?;
            skip_bits = self.bits.take(self.skip_length_bits)? as u32;
        }
        let dead_end = left == 0 && !terminal && !self.stack.is_empty();
        if skip_bits > 32 || dead_end {
            return Err(DawgError::BadCounts.into());
        }
        if terminal {
            self.emitted += 1;
            self.found = Some(self.word.len());
            if self.emitted > self.words {
                return Err(DawgError::BadCounts.into());
            }
        }
        let (at, length) = (self.bits.at, self.word.len());
        self.stack.push(Frame { at, left, base, terminal, falls_through, is_first: true, skip_bits, before: None, length });
        Ok(())
    }

    /// Takes the next edge; false at the end.
    fn step(&mut self) -> Result<bool, WalkError> {
        while self.stack.pop_if(|frame| frame.left == 0).is_some() {}
        let (base, at) = {
            let Some(frame) = self.stack.last_mut() else { return Ok(false) };
            self.bits.at = frame.at;
            let code = self.bits.take(self.character_bits)?;
            let character = u32::try_from(code).ok().and_then(char::from_u32).ok_or(DawgError::BadEdge)?;
            if frame.before.is_some_and(|before| before >= character) {
                return Err(DawgError::BadEdge.into());
            }
            let skip = if frame.is_first { u64::from(frame.terminal) } else { self.bits.take(frame.skip_bits)? };
            let address = if frame.falls_through { self.bits.at } else { self.bits.take(self.address_bits)? };
            (frame.left, frame.is_first, frame.before, frame.at) = (frame.left - 1, false, Some(character), self.bits.at);
            self.word.truncate(frame.length);
            self.word.push(character);
            (frame.base + skip, address)
        };
        if base != self.emitted {
            return Err(DawgError::BadCounts.into());
        }
        self.enter(at, base)?;
        Ok(true)
    }
}

/// Bits of a file, read through a few windows.
struct Bits<'a, O: ?Sized> {
    octets: &'a O,
    size: u64,
    at: u64,
    windows: Vec<(u64, Vec<u8>)>,
    /// The one that was used last, and the one that goes next.
    last: usize,
    oldest: usize,
}

impl<'a, O: Octets + ?Sized> Bits<'a, O> {
    const fn new(octets: &'a O, size: u64) -> Self {
        Self { octets, size, at: 0, windows: Vec::new(), last: 0, oldest: 0 }
    }

    fn take(&mut self, count: u32) -> Result<u64, WalkError> {
        let (mut value, mut missing) = (0, count);
        while missing > 0 {
            let octet = self.octet(self.at / 8)?;
            let used = (self.at % 8) as u32;
            let now = (8 - used).min(missing);
            let part = (u32::from(octet) >> (8 - used - now)) & ((1 << now) - 1);
            value = value << now | u64::from(part);
            self.at += u64::from(now);
            missing -= now;
        }
        Ok(value)
    }

    fn variable(&mut self) -> Result<u64, WalkError> {
        let mut value = 0;
        for _ in 0..5 {
            let octet = self.take(8)?;
            value = value << 7 | (octet & 0x7f);
            if octet & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DawgError::Truncated.into())
    }

    fn octet(&mut self, at: u64) -> Result<u8, WalkError> {
        if at >= self.size {
            return Err(DawgError::Truncated.into());
        }
        let start = at - at % WINDOW as u64;
        let place = (at - start) as usize;
        if self.windows.get(self.last).is_none_or(|(from, _)| *from != start) {
            self.last = match self.windows.iter().position(|(from, _)| *from == start) {
                Some(index) => index,
                None => self.load(start)?,
            };
        }
        let octet = self.windows.get(self.last).and_then(|(_, window)| window.get(place)).copied();
        octet.ok_or_else(|| DawgError::Truncated.into())
    }

    fn load(&mut self, start: u64) -> Result<usize, WalkError> {
        let length = (self.size - start).min(WINDOW as u64) as usize;
        let mut window = vec![0; length];
        self.octets.read_exact_at(&mut window, start)?;
        if self.windows.len() < WINDOWS {
            self.windows.push((start, window));
            return Ok(self.windows.len() - 1);
        }
        let index = self.oldest;
        self.oldest = (self.oldest + 1) % WINDOWS;
        if let Some(slot) = self.windows.get_mut(index) {
            *slot = (start, window);
        }
        Ok(index)
    }
}
