//! What is there at the start.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::cursor::{Cursor, Place};
use super::record;
use super::segment::{self, Segment};
use crate::disk;
use crate::events::blocks::{End, HEADER};
use crate::events::writes;

/// Where the newest segment that was damaged is kept, for somebody to look at.
const BROKEN: &str = "broken";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) segments: VecDeque<Segment>,
    pub(super) read: Place,
    pub(super) waiting: u64,
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
        let Some(mut segment) = Segment::open(folder, *number)? else {
            set_aside(folder, *number)?;
            continue;
        };
        // What was done with ends with a block.
        let mut resumes = *number != found.read.number || found.read.offset <= HEADER as u64;
        let (mut done, mut records) = (0, 0);
        let read = found.read;
        let extent = segment.scan(|offset, payload| {
            let Some(events) = record::count(payload) else { return false };
            if *number == read.number && offset < read.offset {
                done += u64::from(events);
            } else if *number == read.number && offset == read.offset {
                resumes = true;
                done += u64::from(read.skip.min(events));
            }
            records += u64::from(events);
            true
        })?;
        segment.records = records;
        mend(folder, &mut segment, extent.good, extent.end, *number == last)?;
        if *number == read.number && !resumes && read.offset != extent.good {
            // It lies beyond what there is, or within a block: sending some events twice loses none.
            let beyond = read.offset > extent.good;
            found.read = Place { number: *number, offset: if beyond { extent.good } else { HEADER as u64 }, skip: 0 };
            done = if beyond { segment.records } else { 0 };
            cursor.write(found.read)?;
            cursor.sync()?;
        }
        // What was handed out before is what lies before the place; the events that are skipped are told by the place.
        let skip = if *number == found.read.number { u64::from(found.read.skip) } else { 0 };
        segment.handed = done.saturating_sub(skip);
        found.waiting += segment.records - done;
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
            std::fs::copy(segment::path(folder, segment.number), folder.join(BROKEN))?;
            tracing::warn!(
                file = segment::name(segment.number),
                readable = good,
                "a file of waiting events is damaged; what can be read of it is taken, and a copy is kept as {BROKEN}"
            );
        }
    }
    segment.store.cut(good)
}

/// A file of which nothing can be taken.
fn set_aside(folder: &Path, number: u64) -> io::Result<()> {
    tracing::warn!(file = segment::name(number), "a file of waiting events is not readable; it is kept as {BROKEN}");
    writes::rename(&segment::path(folder, number), &folder.join(BROKEN))
}
