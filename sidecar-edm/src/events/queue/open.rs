//! What is there at the start.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::cursor::{Cursor, Place};
use super::record;
use super::segment::{self, Segment};
use crate::disk;
use crate::events::BROKEN;
use crate::events::blocks::{self, End, Extent, HEADER};
use crate::events::writes;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) segments: VecDeque<Segment>,
    pub(super) read: Place,
    pub(super) next_number: u64,
    pub(super) cursor: Option<Cursor>,
}

/// Reads all segments. Those that are damaged are set aside; what can be read of them is taken.
pub(super) fn open(folder: &Path) -> io::Result<Found> {
    disk::make_folder(folder)?;
    disk::sweep(folder)?;
    let (mut cursor, place) = Cursor::open(folder)?;
    let place = place.filter(|place| place.number <= segment::LAST);
    let mut found = Found { read: place.unwrap_or_default(), ..Found::default() };
    let numbers = segment::numbers(folder)?;
    let last = numbers.last().copied().unwrap_or(0).max(found.read.number);
    for number in &numbers {
        if *number < found.read.number {
            writes::remove(&segment::path(folder, *number))?;
            continue;
        }
        let opened = match Segment::open(folder, *number) {
            Err(error) if writes::is_damage(&error) => None,
            opened => opened?,
        };
        let Some(mut segment) = opened else {
            set_aside(folder, *number)?;
            continue;
        };
        // What was done with ends with a block.
        let mut resumes = *number != found.read.number || found.read.offset <= HEADER as u64;
        let (mut done, mut records, mut good) = (0, 0, HEADER as u64);
        let read = found.read;
        let scanned = segment.scan(|offset, payload| {
            let Some(events) = record::count(payload) else { return false };
            if *number == read.number && offset < read.offset {
                done += u64::from(events);
            } else if *number == read.number && offset == read.offset {
                resumes = true;
                done += u64::from(read.skip.min(events));
            }
            records += u64::from(events);
            good = offset + blocks::size(payload.len()) as u64;
            true
        });
        let extent = match scanned {
            Err(error) if writes::is_damage(&error) => Extent { good, end: End::Corrupt },
            scanned => scanned?,
        };
        segment.records = records;
        mend(folder, &mut segment, extent.good, extent.end, *number == last)?;
        if *number == read.number && !resumes && (read.offset, read.skip) != (extent.good, 0) {
            // It lies beyond what there is, or within a block: sending some events twice loses none. At the end there is no block yet of
            // which anything could be done: the next one must not be taken for the one that was there.
            let beyond = read.offset >= extent.good;
            found.read = Place { number: *number, offset: if beyond { extent.good } else { HEADER as u64 }, skip: 0 };
            done = if beyond { segment.records } else { 0 };
            cursor.write(found.read)?;
            cursor.sync()?;
        }
        // What was handed out before is what lies before the place; the events that are skipped are told by the place.
        let skip = if *number == found.read.number { u64::from(found.read.skip) } else { 0 };
        segment.handed = done.saturating_sub(skip);
        found.segments.push_back(segment);
    }
    found.next_number = last + 1;
    found.cursor = Some(cursor);
    Ok(found)
}

/// Cuts what is not whole, so that nothing good stands behind it.
fn mend(folder: &Path, segment: &mut Segment, good: u64, end: End, is_last: bool) -> io::Result<()> {
    segment.end = good;
    segment.sealed = !is_last;
    match end {
        End::Whole => return Ok(()),
        End::Torn if is_last => {}
        End::Torn | End::Corrupt => {
            // For a person alone: a disk that does not give it back, or has no room for it, is no reason to stop.
            let copied = std::fs::copy(segment::path(folder, segment.number), folder.join(BROKEN));
            tracing::warn!(
                file = segment::name(segment.number),
                readable = good,
                copy_error = copied.err().map(|error| error.to_string()),
                "a file of waiting events is damaged; what can be read of it is taken, and a copy is kept as {BROKEN}"
            );
        }
    }
    writes::cut(&writes::open(&segment::path(folder, segment.number))?, good)
}

/// A file of which nothing can be taken.
fn set_aside(folder: &Path, number: u64) -> io::Result<()> {
    tracing::warn!(file = segment::name(number), "a file of waiting events is not readable; it is kept as {BROKEN}");
    writes::rename(&segment::path(folder, number), &folder.join(BROKEN))
}
