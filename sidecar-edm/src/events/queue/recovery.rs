//! The way of the queue back to a disk that took nothing, or could not be read.

use std::path::Path;
use std::sync::Arc;
use std::{io, mem};

use super::cursor::Cursor;
use super::segment::{self, Segment};
use super::writer::{Place, Present, RETRY, Writer, first_block};
use super::{open, record};
use crate::events::{blocks, writes};

impl Writer {
    /// Tries the disk again if that is due.
    pub(super) fn recover(&mut self, now: u64) {
        if !self.is_retry_due(now) {
            return;
        }
        let Some(folder) = self.folder.clone() else { return };
        match self.try_again(&folder, now) {
            Ok(()) => self.retry_at = None,
            Err(error) => {
                tracing::debug!(%error, "the disk takes no events yet");
                self.retry_at = Some(now + RETRY);
            }
        }
    }

    /// Longer than that it is never waited for: the clock was set back.
    fn is_retry_due(&self, now: u64) -> bool {
        self.retry_at.is_some_and(|at| now >= at || at - now > RETRY)
    }

    fn try_again(&mut self, folder: &Path, now: u64) -> io::Result<()> {
        self.remove_leftovers()?;
        if !self.is_open {
            self.open_folder(folder, now)?;
        }
        if self.cursor.is_none() {
            self.cursor = Some(Cursor::open(folder)?.0);
        }
        if let Some(number) = self.unsafe_one {
            let segment = self.queue.lock().segments.iter().find(|segment| segment.number == number).cloned();
            if let Some(segment) = segment {
                segment.written(folder, now)?;
            }
            self.unsafe_one = None;
        }
        self.bring_to_disk(folder, now)
    }

    /// What is in memory alone gets files of its own.
    fn bring_to_disk(&mut self, folder: &Path, now: u64) -> io::Result<()> {
        self.present.take_if(|present| present.is_in_memory());
        let in_memory = |segment: &&Segment| segment.in_memory_octets() > 0;
        let segments: Vec<Segment> = self.queue.lock().segments.iter().filter(in_memory).cloned().collect();
        for segment in segments {
            let store = segment.written(folder, now)?;
            let mut state = self.queue.lock();
            if let Some(known) = state.segments.iter_mut().find(|known| known.number == segment.number) {
                known.store = store;
            }
        }
        Ok(())
    }

    /// Reads what is in the folder. What has come meanwhile is behind it; what of that is on its way at this moment is sent again.
    pub(super) fn open_folder(&mut self, folder: &Path, now: u64) -> io::Result<()> {
        let mut found = open::open(folder)?;
        if self.forgets_found {
            for segment in mem::take(&mut found.segments) {
                writes::remove(&segment::path(folder, segment.number))?;
            }
            self.forgets_found = false;
        }
        let mut next = found.next_number.max(1);
        let mut segments = found.segments;
        self.present = segments.back().filter(|last| !last.sealed).and_then(|last| {
            let file = Arc::new(writes::open(&segment::path(folder, last.number)).ok()?);
            Some(Present { number: last.number, place: Place::Disk(file), end: last.end })
        });
        let meanwhile: Vec<Segment> = self.queue.lock().segments.iter().cloned().collect();
        let mut read = Vec::new();
        for segment in &meanwhile {
            let mut pieces = Vec::new();
            segment.scan(|offset, payload| {
                pieces.push((offset, record::pieces(payload).map(<[u8]>::to_vec).collect()));
                true
            })?;
            read.push((segment.number, pieces));
        }
        let mut state = self.queue.lock();
        for (number, pieces) in read {
            let (octets, events) = in_blocks(&state.undone(number, pieces).concat());
            if events > 0 {
                // What comes next has to stand behind these.
                self.present = None;
                segments.push_back(Segment::of_blocks(next, octets, events));
                next += 1;
            }
        }
        state.replace(segments, found.read);
        state.unreadable += found.unreadable;
        drop(state);
        (self.cursor, self.next_number, self.is_open) = (found.cursor, next, true);
        self.queue.notify();
        if meanwhile.is_empty() { Ok(()) } else { self.bring_to_disk(folder, now) }
    }
}

/// Records as blocks, and how many they are.
fn in_blocks(mut records: &[u8]) -> (Vec<u8>, u64) {
    let (mut octets, mut events) = (Vec::new(), 0);
    loop {
        let (size, count) = first_block(records);
        let Some((block, rest)) = records.split_at_checked(size).filter(|_| size > 0) else { return (octets, events) };
        blocks::push(&mut octets, block);
        (records, events) = (rest, events + count);
    }
}
