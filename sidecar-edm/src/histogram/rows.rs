//! Rows of counters, half a cache line each.

use std::collections::HashMap;

use super::counters::{Answer, COLUMNS, Counters};
use super::sketches::Handle;
use crate::memory::Charge;

/// Rows that are added at once: what is there never moves.
const CHUNK: usize = 2048;

/// The counters' lower halves, the sketches of both families, and the place of the entry in its list: none where the row was moved away.
///
/// Aligned, so that none lies on two lines of the cache.
#[derive(Clone, Debug, Default)]
#[repr(align(32))]
pub(super) struct Row {
    low: [u16; COLUMNS],
    pub(super) clients: [Handle; 2],
    pub(super) place: u32,
}

#[derive(Debug)]
pub(super) struct Rows {
    chunks: Vec<Box<[Row]>>,
    len: u32,
    /// What does not fit into 16 bits. One entry for 65 536 answers at most.
    high: HashMap<(u32, usize), u64>,
    charge: Charge,
}

impl Rows {
    pub(super) fn new(charge: Charge) -> Self {
        Self { chunks: Vec::new(), len: 0, high: HashMap::new(), charge }
    }

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) const fn octets(&self) -> usize {
        self.charge.octets()
    }

    pub(super) fn add(&mut self, place: u32) -> u32 {
        let number = self.len;
        if self.chunks.len() * CHUNK == number as usize {
            self.charge.add(CHUNK * size_of::<Row>());
            self.chunks.push(vec![Row::default(); CHUNK].into());
        }
        self.len += 1;
        if let Some(row) = self.get_mut(number) {
            row.place = place;
        }
        number
    }

    pub(super) fn get(&self, number: u32) -> Option<&Row> {
        self.chunks.get(number as usize / CHUNK)?.get(number as usize % CHUNK)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Row> {
        self.chunks.get_mut(number as usize / CHUNK)?.get_mut(number as usize % CHUNK)
    }

    pub(super) fn count(&mut self, number: u32, answer: Answer) {
        let Some(row) = self.chunks.get_mut(number as usize / CHUNK).and_then(|chunk| chunk.get_mut(number as usize % CHUNK))
        else {
            return;
        };
        for column in answer.columns() {
            if let Some(low) = row.low.get_mut(column) {
                *low = low.wrapping_add(1);
                if *low == 0 {
                    *self.high.entry((number, column)).or_default() += 1 << 16;
                }
            }
        }
    }

    pub(super) fn counters(&self, number: u32) -> Counters {
        let low = self.get(number).map_or([0; COLUMNS], |row| row.low);
        std::array::from_fn(|column| {
            let high = self.high.get(&(number, column)).copied().unwrap_or_default();
            high + low.get(column).copied().map_or(0, u64::from)
        })
    }

    pub(super) fn add_counters(&mut self, number: u32, counters: &Counters) {
        for (column, value) in counters.iter().enumerate() {
            let Some(low) = self.get_mut(number).and_then(|row| row.low.get_mut(column)) else { continue };
            let sum = value + u64::from(*low);
            *low = sum as u16;
            if sum >> 16 > 0 {
                *self.high.entry((number, column)).or_default() += sum >> 16 << 16;
            }
        }
    }
}
