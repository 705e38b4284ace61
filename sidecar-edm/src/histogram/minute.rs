//! What all threads counted between two rotations.

use std::sync::Arc;

use super::counters::Counters;
use super::labels::Labels;
use super::shard::{Settings, Shard};
use super::sketches::Handle;

/// One row of a histogram file, but for the time at which the interval began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The entry's labels.
    pub labels: Labels,
    /// The ten counters in the order of their columns.
    pub counters: Counters,
    /// 1: an entry for a name. 2: one for what is below it.
    pub status_bits: u64,
    /// Clients with IPv4 addresses.
    pub v4: Clients,
    /// Clients with IPv6 addresses.
    pub v6: Clients,
}

/// The clients of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// How many, roughly. Zero too where the sketch found no room.
    pub count: u64,
    /// The sketch; NULL where the clients are few, where counts alone are wanted, and where it found no room.
    pub sketch: Option<Vec<u8>>,
}

/// All rows of an interval: one for each name that was hit.
#[derive(Debug, Default)]
pub struct Minute {
    /// One for each list; no name is in two of them.
    parts: Vec<Shard>,
    answers: u64,
}

impl Minute {
    /// Of what the threads counted. Where the list was replaced meanwhile, rows for equal names become one. Where it was counted in different
    /// ways, numbers alone are told.
    #[must_use]
    pub fn of(shards: impl IntoIterator<Item = Shard>) -> Self {
        let mut minute = Self::default();
        for shard in shards {
            minute.add(shard);
        }
        minute
    }

    /// Adds what a thread counted.
    pub fn add(&mut self, mut shard: Shard) {
        self.answers += shard.answers;
        if shard.rows.len() == 0 {
            return;
        }
        // The larger one stays where it is. Not so in later parts: those have no names of the first one's list.
        if let Some(part) = self.parts.first_mut()
            && Arc::ptr_eq(&part.list, &shard.list)
            && part.settings == shard.settings
            && part.rows.len() < shard.rows.len()
        {
            std::mem::swap(part, &mut shard);
        }
        let mut left = false;
        for number in 0..shard.rows.len() {
            let Some(place) = shard.rows.get(number).map(|row| row.place).filter(|place| *place != 0) else { continue };
            let entry = shard.list.at(place);
            let home = self.parts.iter_mut().find_map(|part| {
                let same = Arc::ptr_eq(&part.list, &shard.list);
                let entry = if same { Some(entry) } else { part.list.entry(shard.list.name(entry)) };
                entry.map(|entry| (part, entry))
            });
            match home {
                Some((part, entry)) => {
                    // Who asked for more silence within the minute gets it for all of the minute.
                    part.settings.counts_only |= part.settings != shard.settings;
                    part.absorb(entry, &shard, number);
                    if let Some(row) = shard.rows.get_mut(number) {
                        row.place = 0;
                    }
                }
                None => left = true,
            }
        }
        if left {
            self.parts.push(shard);
        }
    }

    /// How many answers were counted.
    #[must_use]
    pub const fn answers(&self) -> u64 {
        self.answers
    }

    /// How many sketches of its rows were given up for want of room.
    #[must_use]
    pub fn sketches_lost(&self) -> u64 {
        let rows = self.parts.iter().flat_map(|part| (0..part.rows.len()).filter_map(|number| part.rows.get(number)));
        let lost = |row: &super::rows::Row| row.clients.iter().filter(|handle| **handle == Handle::LOST).count() as u64;
        rows.filter(|row| row.place != 0).map(lost).sum()
    }

    /// Whether there is no row: then there is no file.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The rows, each made when it is asked for.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.parts.iter().flat_map(|part| (0..part.rows.len()).filter_map(|number| row(part, number)))
    }
}

fn row(part: &Shard, number: u32) -> Option<Row> {
    let row = part.rows.get(number).filter(|row| row.place != 0)?;
    let entry = part.list.at(row.place);
    let [v4, v6] = row.clients.map(|handle| clients(part, handle));
    Some(Row {
        labels: Labels::of(part.list.name(entry)),
        counters: part.rows.counters(number),
        status_bits: if entry.suffix { 2 } else { 1 },
        v4,
        v6,
    })
}

fn clients(part: &Shard, handle: Handle) -> Clients {
    let Settings { threshold, counts_only } = part.settings;
    let Some(sketch) = part.sketches.take_out(handle) else { return Clients::default() };
    Clients { count: sketch.cardinality(), sketch: sketch.column(threshold).filter(|_| !counts_only) }
}
