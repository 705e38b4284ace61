//! The sketches of many rows in few pieces of memory.
//!
//! A sketch lives in a block of 2^k words: as the set of its hashes, as a list of registers, or with all registers. It moves to a larger
//! block when it has to; blocks that it leaves are used again.

use super::blocks::{ADDRESS_BITS, Blocks};
use super::sketch::{REGISTERS, Sketch, Threshold, register};
use crate::memory::Charge;

/// Where a sketch is: its form and the size of its block above, the address of the block below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Handle(u32);

const REGISTERS_FORM: u32 = 1 << 31;

/// Sizes of blocks, as powers of two. Hashes begin with two words; up to 32 of them are looked for one after the other; more are a hash table, with their number in the first word.
const LAST_LINEAR: u32 = 5;
/// Registers begin as a list with room for 32, and then one of 64.
const FIRST_LIST: u32 = 3;
/// More are a map: a bit for each register, and the values of those that are set, in their order. There is room for 256 of them in 32 words.
const MAP: u32 = 5;
const BITS: usize = REGISTERS / 64;
/// 64 words have all registers.
const ALL: u32 = 6;

impl Handle {
    const EMPTY: Self = Self(0);
    pub(super) const LOST: Self = Self(u32::MAX);

    const fn size(self) -> u32 {
        (self.0 & !REGISTERS_FORM) >> ADDRESS_BITS
    }

    const fn address(self) -> u32 {
        self.0 & ((1 << ADDRESS_BITS) - 1)
    }

    const fn has_registers(self) -> bool {
        self.0 & REGISTERS_FORM != 0
    }

    const fn with_registers(self) -> Self {
        Self(self.0 | REGISTERS_FORM)
    }
}

pub(super) struct Sketches {
    blocks: Blocks,
    threshold: Threshold,
}

impl Sketches {
    pub(super) fn new(threshold: Threshold, charge: Charge) -> Self {
        Self { blocks: Blocks::new(charge), threshold }
    }

    pub(super) const fn octets(&self) -> usize {
        self.blocks.octets()
    }

    /// Adds a client; gives where the sketch is now.
    pub(super) fn insert(&mut self, handle: Handle, hash: u64) -> Handle {
        if handle == Handle::LOST || hash == 0 {
            handle
        } else if handle.has_registers() {
            register(hash).map_or(handle, |(register, value)| self.set(handle, register, value))
        } else {
            self.insert_hash(handle, hash)
        }
    }

    /// Adds another sketch's clients.
    pub(super) fn merge(&mut self, mut handle: Handle, other: &Self, from: Handle) -> Handle {
        if from == Handle::LOST {
            return self.lose(handle);
        }
        if !from.has_registers() {
            return other.hashes(from).fold(handle, |handle, hash| self.insert(handle, hash));
        }
        if !handle.has_registers() {
            handle = self.change_form(handle);
        }
        other.each_register(from, |register, value| handle = self.set(handle, register, value));
        handle
    }

    /// None for one that was given up.
    pub(super) fn take_out(&self, handle: Handle) -> Option<Sketch> {
        if handle == Handle::LOST {
            return None;
        }
        if handle.has_registers() {
            let mut registers = Box::new([0; REGISTERS]);
            self.each_register(handle, |register, value| {
                if let Some(slot) = registers.get_mut(usize::from(register)) {
                    *slot = value;
                }
            });
            return Some(Sketch::Registers(registers));
        }
        let hashes: Vec<u64> = self.hashes(handle).collect();
        Some(if hashes.is_empty() { Sketch::Empty } else { Sketch::Explicit(hashes) })
    }

    /// Reads the word that an insertion will need, so that the memory's answers for several overlap.
    pub(super) fn touch(&self, handle: Handle, hash: u64) -> u64 {
        let register = (hash & 0x3ff) as usize;
        let word = match handle.size() {
            ALL if handle.has_registers() => register / 16,
            MAP if handle.has_registers() => register / 64,
            _ => 0,
        };
        self.block(handle).get(word).copied().unwrap_or_default()
    }

    fn insert_hash(&mut self, handle: Handle, hash: u64) -> Handle {
        let most = self.threshold.clients();
        let block = self.block_mut(handle);
        let size = block.len();
        if handle.size() <= LAST_LINEAR {
            let free = match block.iter().position(|slot| *slot == hash || *slot == 0) {
                Some(place) if block.get(place) == Some(&hash) => return handle,
                Some(place) => place,
                None => size,
            };
            if free >= most {
                let handle = self.change_form(handle);
                return self.insert(handle, hash);
            }
            if let Some(slot) = block.get_mut(free) {
                *slot = hash;
                return handle;
            }
        } else if let Some((count, slots)) = block.split_first_mut() {
            let mut place = (hash >> 20) as usize % slots.len();
            while let Some(slot) = slots.get_mut(place) {
                if *slot == hash {
                    return handle;
                }
                if *slot == 0 {
                    break;
                }
                place = (place + 1) % slots.len();
            }
            if *count as usize >= most {
                let handle = self.change_form(handle);
                return self.insert(handle, hash);
            }
            if (*count as usize + 1) * 4 <= size * 3 {
                *count += 1;
                if let Some(slot) = slots.get_mut(place) {
                    *slot = hash;
                }
                return handle;
            }
        }
        let Some(larger) = self.allocate(handle.size() + 1) else { return self.lose(handle) };
        let hashes: Vec<u64> = self.hashes(handle).collect();
        self.release(handle);
        let moved = hashes.into_iter().fold(larger, |larger, hash| self.insert_hash(larger, hash));
        self.insert_hash(moved, hash)
    }

    fn change_form(&mut self, handle: Handle) -> Handle {
        if handle == Handle::LOST {
            return handle;
        }
        let hashes: Vec<u64> = self.hashes(handle).collect();
        self.release(handle);
        match self.allocate(FIRST_LIST) {
            Some(list) => hashes.into_iter().fold(list.with_registers(), |list, hash| self.insert(list, hash)),
            None => self.lose(Handle::EMPTY),
        }
    }

    /// Raises a register.
    fn set(&mut self, handle: Handle, register: u16, value: u8) -> Handle {
        if handle == Handle::LOST {
            return handle;
        }
        let block = self.block_mut(handle);
        if handle.size() == ALL {
            let shift = register % 16 * 4;
            if let Some(word) = block.get_mut(usize::from(register / 16)) {
                let old = *word >> shift & 15;
                if old < u64::from(value) {
                    *word += (u64::from(value) - old) << shift;
                }
            }
            return handle;
        }
        if handle.size() == MAP {
            return if set_in_map(block, register, value) { handle } else { self.grow(handle, register, value) };
        }
        let lanes = u64::from(register) << 4 | u64::from(value);
        for word in block.iter_mut() {
            if let Some(lane) = lane_of(*word, register) {
                let old = *word >> lane & 15;
                if old < u64::from(value) {
                    *word += (u64::from(value) - old) << lane;
                }
                return handle;
            }
            // The lanes are filled from below, so the first empty one comes behind all others.
            if *word >> 48 == 0 {
                let lane = (u64::BITS - word.leading_zeros()).next_multiple_of(16);
                *word |= lanes << lane;
                return handle;
            }
        }
        self.grow(handle, register, value)
    }

    /// Moves what has no room for one more register.
    fn grow(&mut self, handle: Handle, register: u16, value: u8) -> Handle {
        let Some(larger) = self.allocate(handle.size() + 1) else { return self.lose(handle) };
        let mut known = Vec::new();
        self.each_register(handle, |register, value| known.push((register, value)));
        self.release(handle);
        let moved =
            known.into_iter().fold(larger.with_registers(), |larger, (register, value)| self.set(larger, register, value));
        self.set(moved, register, value)
    }

    fn hashes(&self, handle: Handle) -> impl Iterator<Item = u64> {
        let block = self.block(handle);
        let count = usize::from(handle.size() > LAST_LINEAR);
        block.iter().skip(count).copied().filter(|hash| *hash != 0)
    }

    fn each_register(&self, handle: Handle, mut each: impl FnMut(u16, u8)) {
        let block = self.block(handle);
        let nibble = |words: &[u64], place: usize| (words.get(place / 16).map_or(0, |word| word >> (place % 16 * 4)) & 15) as u8;
        match handle.size() {
            ALL => (0..REGISTERS).for_each(|register| match nibble(block, register) {
                0 => {}
                value => each(register as u16, value),
            }),
            MAP => {
                let (bits, values) = block.split_at_checked(BITS).unwrap_or_default();
                let mut place = 0;
                for (word, mut left) in bits.iter().copied().enumerate() {
                    while left != 0 {
                        each((word as u32 * 64 + left.trailing_zeros()) as u16, nibble(values, place));
                        (place, left) = (place + 1, left & (left - 1));
                    }
                }
            }
            _ => {
                let lanes = block.iter().flat_map(|word| (0..4).map(move |lane| word >> (lane * 16)));
                lanes.filter(|lane| lane & 15 != 0).for_each(|lane| each((lane >> 4 & 0x3ff) as u16, (lane & 15) as u8));
            }
        }
    }

    fn lose(&mut self, handle: Handle) -> Handle {
        self.release(handle);
        Handle::LOST
    }

    fn block(&self, handle: Handle) -> &[u64] {
        if handle == Handle::EMPTY { &[] } else { self.blocks.get(handle.address(), handle.size()) }
    }

    fn block_mut(&mut self, handle: Handle) -> &mut [u64] {
        if handle == Handle::EMPTY { &mut [] } else { self.blocks.get_mut(handle.address(), handle.size()) }
    }

    fn allocate(&mut self, size: u32) -> Option<Handle> {
        Some(Handle((size << ADDRESS_BITS) | self.blocks.allocate(size)?))
    }

    fn release(&mut self, handle: Handle) {
        if handle != Handle::EMPTY && handle != Handle::LOST {
            self.blocks.release(handle.address(), handle.size());
        }
    }
}

/// Raises a register in a map; false where there is no room for one more.
fn set_in_map(block: &mut [u64], register: u16, value: u8) -> bool {
    let (bits, values) = block.split_at_mut_checked(BITS).unwrap_or_default();
    let (word, bit) = (usize::from(register / 64), 1_u64 << (register % 64));
    let Some(here) = bits.get(word).copied() else { return false };
    if here & bit != 0 && value == 1 {
        return true;
    }
    let below = bits.iter().take(word).map(|word| word.count_ones()).sum::<u32>() + (here & (bit - 1)).count_ones();
    let (at, shift) = (below as usize / 16, below % 16 * 4);
    if here & bit != 0 {
        if let Some(word) = values.get_mut(at) {
            let old = *word >> shift & 15;
            *word += u64::from(value).saturating_sub(old) << shift;
        }
        return true;
    }
    // Values are never zero.
    if values.last().is_none_or(|word| word >> 60 != 0) {
        return false;
    }
    let mut carried = None;
    for word in values.iter_mut().skip(at) {
        let last = *word >> 60;
        *word = match carried {
            None => *word & ((1 << shift) - 1) | u64::from(value) << shift | (*word >> shift << shift) << 4,
            Some(before) => *word << 4 | before,
        };
        carried = Some(last);
    }
    if let Some(word) = bits.get_mut(word) {
        *word |= bit;
    }
    true
}

/// By how much a word has to be shifted to the register's lane.
fn lane_of(word: u64, register: u16) -> Option<u32> {
    const EACH: u64 = 0x0001_0001_0001_0001;
    // A lane is zero where the register is the same; register 0 is told from nothing by its value.
    let differs = ((word >> 4) ^ (EACH * u64::from(register))) & (EACH * 0x3ff);
    let set = word & (EACH * 0xf);
    // The top bit of each lane: not zero. Nothing is carried from lane to lane.
    let not_zero = |lanes: u64| (lanes + EACH * 0x7fff) & (EACH * 0x8000);
    let found = !not_zero(differs) & not_zero(set);
    (found != 0).then(|| found.trailing_zeros() & !15)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::histogram::hash;
    use crate::memory::Budget;
    use crate::vectors;

    fn sketches(threshold: u32, bound: usize) -> Sketches {
        Sketches::new(Threshold::new(threshold).unwrap(), Charge::new(&Budget::new(bound)))
    }

    /// So many addresses, one after the other.
    fn addresses(first: &str, count: u128) -> Vec<u64> {
        match first.parse().unwrap() {
            IpAddr::V4(first) => (0..count).map(|step| hash(&(u32::from(first) + step as u32).to_be_bytes())).collect(),
            IpAddr::V6(first) => (0..count).map(|step| hash(&(u128::from(first) + step).to_be_bytes())).collect(),
        }
    }

    #[test]
    fn recorded_sketches() {
        let vector = vectors::load("hll.json");
        let cases = vector["vectors"].as_array().unwrap();
        assert_eq!(cases.len(), 21);
        for case in cases {
            let name = &case["name"];
            let count = u128::from(case["count"].as_u64().unwrap());
            let hashes = match (case["first_ip"].as_str(), case["raw_hashes_hex"].as_array()) {
                (Some(first), _) => addresses(first, count),
                (_, Some(raw)) => raw.iter().map(|raw| u64::from_str_radix(raw.as_str().unwrap(), 16).unwrap()).collect(),
                _ => Vec::new(),
            };
            assert_eq!(hashes.len() as u128, count, "{name}");
            let threshold = Threshold::new(u32::try_from(case["explicit_threshold"].as_u64().unwrap()).unwrap()).unwrap();
            let mut sketches = sketches(threshold.clients() as u32, 1 << 24);
            let handle = hashes.iter().fold(Handle::EMPTY, |handle, hash| sketches.insert(handle, *hash));
            let sketch = sketches.take_out(handle).unwrap();
            assert_eq!(hex::encode(sketch.to_bytes(threshold)), case["bytes_hex"].as_str().unwrap(), "{name}");
            assert_eq!(sketch.cardinality(), case["cardinality"].as_u64().unwrap(), "{name}");
            assert_eq!(sketch.column(threshold).is_some(), case["written_to_parquet"].as_bool().unwrap(), "{name}");
        }
    }

    #[test]
    fn numbers_of_clients_as_the_specification_has_them() {
        for (clients, expected, kind) in [(304, None, 0x14), (303, None, 0x13), (400, Some(386), 0x14), (20, Some(20), 0x12)] {
            let mut sketches = sketches(20, 1 << 20);
            let handle =
                addresses("10.0.0.1", clients).into_iter().fold(Handle::EMPTY, |handle, hash| sketches.insert(handle, hash));
            let sketch = sketches.take_out(handle).unwrap();
            assert_eq!(sketch.to_bytes(Threshold::default())[0], kind, "{clients}");
            assert!(expected.is_none_or(|expected| sketch.cardinality() == expected), "{clients}: {}", sketch.cardinality());
        }
    }

    #[test]
    fn the_largest_threshold_keeps_every_hash() {
        let hashes = addresses("10.0.0.1", u128::from(Threshold::MAX) + 1);
        let mut sketches = sketches(Threshold::MAX, 1 << 24);
        let (last, all) = hashes.split_last().unwrap();
        let handle = all.iter().chain(all).fold(Handle::EMPTY, |handle, hash| sketches.insert(handle, *hash));
        assert_eq!(sketches.take_out(handle).unwrap().cardinality(), u64::from(Threshold::MAX));
        let handle = sketches.insert(handle, *last);
        assert!(matches!(sketches.take_out(handle), Some(Sketch::Registers(_))));
    }

    #[test]
    fn what_finds_no_room_is_given_up_and_its_block_is_used_again() {
        // One piece of memory, and almost all of it belongs to others.
        let mut sketches = sketches(20, 70_000);
        let hashes = addresses("10.0.0.1", 3);
        let mut others: Vec<Handle> = std::iter::repeat_with(|| sketches.insert(Handle::EMPTY, hashes[0]))
            .take_while(|handle| *handle != Handle::LOST)
            .collect();
        assert_eq!(others.len(), 4096);
        let handle = sketches.insert(others[0], hashes[1]);
        assert!(handle == others[0] && sketches.insert(handle, hashes[1]) == handle);
        let lost = sketches.insert(handle, hashes[2]);
        assert_eq!((lost, sketches.take_out(lost)), (Handle::LOST, None));
        assert_eq!(sketches.insert(lost, hashes[0]), Handle::LOST);
        let again = sketches.insert(Handle::EMPTY, hashes[2]);
        assert_eq!(sketches.take_out(again), Some(Sketch::Explicit(vec![hashes[2]])));
        assert_eq!(sketches.take_out(others[1]), Some(Sketch::Explicit(vec![hashes[0]])));
        // What several leave serves one that is larger.
        for handle in others.split_off(4000) {
            sketches.lose(handle);
        }
        let grown = addresses("10.0.0.1", 20).into_iter().fold(others[1], |handle, hash| sketches.insert(handle, hash));
        assert_eq!(sketches.take_out(grown).unwrap().cardinality(), 20);
    }

    proptest! {
        /// Any hashes, those that set no register or the same ones again and again among them.
        #[test]
        fn the_order_and_the_parts_do_not_matter(
            mut hashes in prop::collection::vec(prop_oneof![any::<u64>(), 0_u64..3000, any::<u64>().prop_map(|hash| hash & !0x3fff00)], 0..700),
            threshold in prop_oneof![Just(1_u32), Just(20), Just(32), Just(33), 1_u32..400],
            cut in 0_usize..700,
        ) {
            let all = |hashes: &[u64], sketches: &mut Sketches| {
                hashes.iter().fold(Handle::EMPTY, |handle, hash| sketches.insert(handle, *hash))
            };
            let mut one = sketches(threshold, 1 << 24);
            let handle = all(&hashes, &mut one);
            let expected = one.take_out(handle).unwrap().to_bytes(one.threshold);
            let (first, second) = hashes.split_at(cut.min(hashes.len()));
            let (mut left, mut right) = (sketches(threshold, 1 << 24), sketches(threshold, 1 << 24));
            let (a, b) = (all(first, &mut left), all(second, &mut right));
            let merged = left.merge(a, &right, b);
            prop_assert_eq!(&left.take_out(merged).unwrap().to_bytes(one.threshold), &expected);
            hashes.sort_unstable();
            let mut sorted = sketches(threshold, 1 << 24);
            let handle = all(&hashes, &mut sorted);
            prop_assert_eq!(sorted.take_out(handle).unwrap().to_bytes(one.threshold), expected);
        }
    }
}
