//! What goes from the queue: because it is done with, because there is too much, or because all has to.

use std::io;

use super::record;
use super::segment::{self, Segment};
use super::writer::{Lost, OnLost, Writer};
use crate::events::writes;

/// Segments at most, however small they are.
const MOST_SEGMENTS: usize = 1024;

impl Writer {
    /// Drops everything. From [`close`](super::Queue::close) on until this was done nothing goes out. What is in a folder that cannot be read yet is
    /// forgotten when it can, and its names count as reported.
    ///
    /// # Errors
    /// While something is still there: then it has to be called again.
    pub fn clear(&mut self, on_lost: &mut OnLost<'_>) -> io::Result<()> {
        (self.present, self.unsynced, self.unsafe_one) = (None, false, None);
        while self.drop_oldest(on_lost)? {}
        self.forgets_found = !self.is_open;
        self.queue.open();
        Ok(())
    }

    pub(super) fn discard(&mut self, number: u64) {
        self.queue.lock().segments.retain(|segment| segment.number != number);
        self.leftovers.insert(number);
        // Where it stays it is tried again.
        let _ = self.remove_leftovers();
    }

    pub(super) fn remove(&self, segment: &Segment) -> io::Result<()> {
        match &self.folder {
            Some(folder) if segment.on_disk() > 0 => writes::remove(&segment::path(folder, segment.number)),
            _ => Ok(()),
        }
    }

    pub(super) fn remove_leftovers(&mut self) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        while let Some(number) = self.leftovers.first() {
            writes::remove(&segment::path(folder, *number))?;
            self.leftovers.pop_first();
        }
        Ok(())
    }

    /// Drops the oldest segments until there is room for so many octets more.
    pub(super) fn make_room(&mut self, octets: u64, on_lost: &mut OnLost<'_>) -> io::Result<()> {
        loop {
            let (held, segments) = {
                let state = self.queue.lock();
                (state.segments.iter().map(Segment::on_disk).sum::<u64>(), state.segments.len())
            };
            let fits = held + octets <= self.bound && segments < MOST_SEGMENTS;
            // The last one is being written: by its size it never is too much.
            if fits || segments < 2 || !self.drop_oldest(on_lost)? {
                return Ok(());
            }
        }
    }

    /// False if there is none.
    fn drop_oldest(&mut self, on_lost: &mut OnLost<'_>) -> io::Result<bool> {
        self.remove_leftovers()?;
        let Some(oldest) = self.queue.lock().segments.front().cloned() else { return Ok(false) };
        let mut blocks = Vec::new();
        let read = oldest.scan(|offset, payload| {
            blocks.push((offset, record::pieces(payload).filter_map(record::print).collect()));
            true
        });
        if let Err(error) = read {
            tracing::warn!(%error, "events that are dropped cannot be read; their names count as reported");
        }
        let mut state = self.queue.lock();
        let prints = state.undone(oldest.number, blocks);
        // Not those that could be read alone: none of them waits any more.
        let events = state.forget_first();
        drop(state);
        // Before the file goes: after a crash between the two they are reported twice, and not never.
        on_lost(Lost { events, prints });
        if oldest.on_disk() > 0 {
            self.leftovers.insert(oldest.number);
            self.remove_leftovers()?;
        }
        Ok(true)
    }
}
