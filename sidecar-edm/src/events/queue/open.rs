//! What is there at the start.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use super::cursor::{Cursor, Place};
use super::record;
use super::segment::{self, Segment};
use crate::disk;
use crate::events::blocks::{self, End, Extent, HEADER};
use crate::events::{BROKEN, MOST_BROKEN, writes};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) segments: VecDeque<Segment>,
    pub(super) read: Place,
    pub(super) next_number: u64,
    pub(super) cursor: Option<Cursor>,
    /// Events that could not be read: one for each file of which nobody knows how many.
    pub(super) unreadable: u64,
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
            found.unreadable += 1;
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
        let (extent, held_back) = match scanned {
            Err(error) if writes::is_damage(&error) => (Extent { good, end: End::Corrupt }, true),
            scanned => (scanned?, false),
        };
        segment.records = records;
        let damaged = if held_back {
            leave(folder, &mut segment, extent.good);
            true
        } else {
            mend(folder, &mut segment, extent.good, extent.end, *number == last)?
        };
        found.unreadable += u64::from(damaged);
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
    keep_few(folder);
    found.next_number = last + 1;
    found.cursor = Some(cursor);
    Ok(found)
}

/// What the disk does not give back now it may give back later, or to somebody who looks at it.
fn leave(folder: &Path, segment: &mut Segment, good: u64) {
    (segment.end, segment.sealed) = (good, true);
    let file = segment::name(segment.number);
    // Not every file system has hard links; what can be read of it is worth more than what somebody may look at.
    let linked = writes::link(&folder.join(&file), &broken(folder, segment.number));
    let link_error = linked.err().map(|error| error.to_string());
    tracing::warn!(
        file,
        readable = good,
        link_error,
        "the disk does not give back a file of waiting events; it is kept as {BROKEN}"
    );
}

/// Cuts what is not whole, so that nothing good stands behind it. Whether it was damaged: the end may be torn where the process or the machine ended.
fn mend(folder: &Path, segment: &mut Segment, good: u64, end: End, is_last: bool) -> io::Result<bool> {
    segment.end = good;
    segment.sealed = !is_last;
    let damaged = match end {
        End::Whole => return Ok(false),
        End::Torn if is_last => false,
        End::Torn | End::Corrupt => {
            // For a person alone: a disk that does not give it back, or has no room for it, is no reason to stop.
            let copied = std::fs::copy(segment::path(folder, segment.number), broken(folder, segment.number));
            tracing::warn!(
                file = segment::name(segment.number),
                readable = good,
                copy_error = copied.err().map(|error| error.to_string()),
                "a file of waiting events is damaged; what can be read of it is taken, and a copy is kept as {BROKEN}"
            );
            true
        }
    };
    writes::cut(&writes::open(&segment::path(folder, segment.number))?, good)?;
    Ok(damaged)
}

/// A file of which nothing can be taken.
fn set_aside(folder: &Path, number: u64) -> io::Result<()> {
    tracing::warn!(file = segment::name(number), "a file of waiting events is not readable; it is kept as {BROKEN}");
    let path = segment::path(folder, number);
    writes::rename(&path, &broken(folder, number))?;
    // Two names of one file stay both.
    writes::remove(&path)
}

fn broken(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{BROKEN}-{number:010}"))
}

/// The newest ones. One that does not go now goes at another start.
fn keep_few(folder: &Path) {
    let files = disk::list(folder, |name| name.starts_with(BROKEN)).unwrap_or_default();
    for file in files.iter().rev().skip(MOST_BROKEN) {
        if let Err(error) = writes::remove(&folder.join(&file.name)) {
            tracing::warn!(file = file.name, %error, "a damaged file of waiting events cannot be removed");
        }
    }
}
