//! What is done with: everything before a place. Two slots in a file of their own, written in turn, so that one is always whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::events::writes;

const FILE: &str = "cursor";
const MAGIC: [u8; 4] = *b"tec1";
const SLOT: usize = 40;

/// A place in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Number of the segment.
    pub(super) number: u64,
    /// Where a block begins in it.
    pub(super) offset: u64,
    /// So many events of that block.
    pub(super) skip: u32,
}

/// The file.
#[derive(Debug)]
pub(super) struct Cursor {
    file: File,
    serial: u64,
    written: Place,
    unsynced: bool,
}

impl Cursor {
    /// Opens the file, and tells what it says: none where it is new or damaged.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Option<Place>)> {
        let path = folder.join(FILE);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(path)?;
        let mut octets = Vec::new();
        file.by_ref().take(2 * SLOT as u64).read_to_end(&mut octets)?;
        let newest = octets.as_chunks::<SLOT>().0.iter().filter_map(read).max_by_key(|(serial, _)| *serial);
        let (serial, place) = newest.unzip();
        let cursor = Self { file, serial: serial.unwrap_or(0), written: place.unwrap_or_default(), unsynced: false };
        Ok((cursor, place))
    }

    /// Writes another place down.
    pub(super) fn write(&mut self, place: Place) -> io::Result<()> {
        if place == self.written {
            return Ok(());
        }
        let serial = self.serial.wrapping_add(1);
        writes::write_at(&self.file, &slot(serial, place), serial % 2 * SLOT as u64)?;
        (self.serial, self.written, self.unsynced) = (serial, place, true);
        Ok(())
    }

    /// What was written survives the end of the machine.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.unsynced {
            writes::sync(&self.file)?;
            self.unsynced = false;
        }
        Ok(())
    }
}

fn slot(serial: u64, place: Place) -> [u8; SLOT] {
    let mut octets = [0; SLOT];
    octets[..4].copy_from_slice(&MAGIC);
    octets[4..8].copy_from_slice(&place.skip.to_le_bytes());
    octets[8..16].copy_from_slice(&serial.to_le_bytes());
    octets[16..24].copy_from_slice(&place.number.to_le_bytes());
    octets[24..32].copy_from_slice(&place.offset.to_le_bytes());
    let checksum = crc32fast::hash(&octets[..32]);
    octets[32..36].copy_from_slice(&checksum.to_le_bytes());
    octets
}

fn read(octets: &[u8; SLOT]) -> Option<(u64, Place)> {
    let long = |at: usize| octets[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk));
    let skip = octets[4..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk));
    let place = Place { number: long(16), offset: long(24), skip };
    (slot(long(8), place) == *octets).then(|| (long(8), place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_torn_the_place_before_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let place = |number| Place { number, offset: 36 * number, skip: 3 };
        let (mut cursor, none) = Cursor::open(folder.path()).unwrap();
        assert_eq!(none, None);
        for number in 1..5 {
            cursor.write(place(number)).unwrap();
            cursor.sync().unwrap();
            assert_eq!(Cursor::open(folder.path()).unwrap().1, Some(place(number)));
        }
        let path = folder.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        // The fourth is in the first slot.
        for at in 0..2 * SLOT {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            std::fs::write(&path, torn).unwrap();
            let told = Cursor::open(folder.path()).unwrap().1;
            assert_eq!(told, Some(place(if at < SLOT { 3 } else { 4 })), "{at}");
        }
        std::fs::write(&path, [7; 99]).unwrap();
        assert_eq!(Cursor::open(folder.path()).unwrap().1, None);
    }
}
