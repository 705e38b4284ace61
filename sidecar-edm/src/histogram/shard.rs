//! What one thread counts between two rotations.

use std::hint::black_box;
use std::sync::Arc;

use super::counters::Answer;
use super::murmur3::hash;
use super::rows::Rows;
use super::sketch::Threshold;
use super::sketches::{Handle, Sketches};
use crate::list::{Entry, GROUP, List};
use crate::memory::{Budget, Charge};

/// How clients are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Up to how many clients of a family a row tells no more than their number.
    pub threshold: Threshold,
    /// No row ever tells more than their number: the columns of sketches are NULL.
    pub counts_only: bool,
}

/// An answer for a name of the list.
#[derive(Clone, Copy)]
pub struct Hit<'a> {
    /// The entry that was hit, of the shard's list.
    pub entry: Entry,
    /// What is counted.
    pub answer: Answer,
    /// Octets of the client's address as received; of a length that no address has where there is none.
    pub client: &'a [u8],
}

impl std::fmt::Debug for Hit<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Hit").field("entry", &self.entry).field("answer", &self.answer).finish_non_exhaustive()
    }
}

/// Rows by entry. Belongs to one thread.
pub struct Shard {
    pub(super) list: Arc<List>,
    pub(super) settings: Settings,
    /// Row of each entry, counted from 1: there from the first hit on.
    index: Vec<u32>,
    pub(super) rows: Rows,
    pub(super) sketches: Sketches,
    pub(super) answers: u64,
    charge: Charge,
}

impl Shard {
    /// An empty one.
    #[must_use]
    pub fn new(list: Arc<List>, settings: Settings, budget: &Arc<Budget>) -> Self {
        Self {
            list,
            settings,
            index: Vec::new(),
            rows: Rows::new(Charge::new(budget)),
            sketches: Sketches::new(settings.threshold, Charge::new(budget)),
            answers: 0,
            charge: Charge::new(budget),
        }
    }

    /// The list whose entries it counts.
    #[must_use]
    pub const fn list(&self) -> &Arc<List> {
        &self.list
    }

    /// How it counts clients.
    #[must_use]
    pub const fn settings(&self) -> Settings {
        self.settings
    }

    /// What its rows take in memory.
    #[must_use]
    pub const fn octets_of_rows(&self) -> usize {
        self.charge.octets() + self.rows.octets()
    }

    /// What its sketches take in memory.
    #[must_use]
    pub const fn octets_of_sketches(&self) -> usize {
        self.sketches.octets()
    }

    /// How many answers it counted.
    #[must_use]
    pub const fn answers(&self) -> u64 {
        self.answers
    }

    /// How many entries were hit.
    #[must_use]
    pub const fn rows(&self) -> u32 {
        self.rows.len()
    }

    /// Counts one answer.
    pub fn count(&mut self, hit: Hit<'_>) {
        let row = self.row(hit.entry);
        self.count_in(row, hit, hash_of(hit.client));
    }

    /// Counts many, several at once.
    pub fn count_all(&mut self, hits: &[Hit<'_>]) {
        for hits in hits.chunks(GROUP) {
            // Each asks the memory for one thing of all of them, so that its answers overlap, and needs what the one before asked for.
            let mut rows = [0; GROUP];
            for (hit, row) in hits.iter().zip(&mut rows) {
                *row = self.index.get(hit.entry.number as usize).copied().unwrap_or_default();
            }
            let mut hashes = [None; GROUP];
            for (hit, hash) in hits.iter().zip(&mut hashes) {
                *hash = hash_of(hit.client);
            }
            let mut handles = [Handle::default(); GROUP];
            for ((hit, row), (hash, handle)) in hits.iter().zip(&mut rows).zip(hashes.iter().zip(&mut handles)) {
                *row = if *row == 0 { self.row(hit.entry) } else { *row - 1 };
                let family = hash.map_or(0, |(family, _)| family);
                *handle = self.rows.get(*row).and_then(|row| row.clients.get(family)).copied().unwrap_or_default();
            }
            let touch =
                |(handle, hash): (&Handle, &Option<(usize, u64)>)| self.sketches.touch(*handle, hash.unwrap_or_default().1);
            black_box(handles.iter().zip(&hashes).take(hits.len()).map(touch).fold(0, |touched, word| touched ^ word));
            for (hit, (row, hash)) in hits.iter().zip(rows.into_iter().zip(hashes)) {
                self.count_in(row, *hit, hash);
            }
        }
    }

    fn count_in(&mut self, row: u32, hit: Hit<'_>, hash: Option<(usize, u64)>) {
        self.answers += 1;
        self.rows.count(row, hit.answer);
        if let Some((family, hash)) = hash
            && let Some(handle) = self.rows.get_mut(row).and_then(|row| row.clients.get_mut(family))
        {
            *handle = self.sketches.insert(*handle, hash);
        }
    }

    /// The entry's row, made if it has none.
    pub(super) fn row(&mut self, entry: Entry) -> u32 {
        if self.index.is_empty() {
            let entries = usize::try_from(self.list.words()).unwrap_or(usize::MAX);
            self.charge.add(entries * size_of::<u32>());
            self.index = vec![0; entries];
        }
        let Some(row) = self.index.get_mut(entry.number as usize) else {
            // Not an entry of this list: nothing that could be counted.
            return u32::MAX;
        };
        if *row == 0 {
            *row = self.rows.add(entry.place()) + 1;
        }
        *row - 1
    }

    /// Adds another shard's row to an entry of this one's list.
    pub(super) fn absorb(&mut self, entry: Entry, other: &Self, from: u32) {
        let row = self.row(entry);
        self.rows.add_counters(row, &other.rows.counters(from));
        let Some(there) = other.rows.get(from).cloned() else { return };
        for (family, handle) in there.clients.into_iter().enumerate() {
            if handle != Handle::default()
                && let Some(here) = self.rows.get_mut(row).and_then(|row| row.clients.get_mut(family))
            {
                *here = self.sketches.merge(*here, &other.sketches, handle);
            }
        }
    }
}

/// Which sketch, and what is put into it: IPv4 within IPv6 is IPv4 here, but hashed as it came (`edm.md` 4.5).
fn hash_of(client: &[u8]) -> Option<(usize, u64)> {
    const WITHIN_IPV6: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    match client.len() {
        4 => Some((0, hash(client))),
        16 => Some((usize::from(!client.starts_with(&WITHIN_IPV6)), hash(client))),
        _ => None,
    }
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shard").field("rows", &self.rows.len()).field("answers", &self.answers).finish_non_exhaustive()
    }
}
