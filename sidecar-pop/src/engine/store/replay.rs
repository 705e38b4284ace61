//! What the log says since the base, put together at once: a fraction of the time that one name after the other takes, and what is served
//! after a start waits for it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tapir_table::{
    Bulk, Code, Codes, Cursor as _, KeyBuf, Palette, PaletteError, ReadError, RecordSet, Scan, Staged, TableFile, TableWriter,
};

use super::super::builder::Target;
use crate::state::failpoint::pass;
use crate::zone::Size;
use crate::zone::layers::Layers;
use crate::zone::tally::Tally;

/// Names that are read in a row before one is searched for.
const ROW: usize = 128;

/// Changes in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Replay {
    octets: Vec<u8>,
    changes: Vec<Change>,
    /// All local data that was ever in them, which may be more than one zone has room for.
    sets: Vec<RecordSet>,
    known: HashMap<RecordSet, u32>,
}

/// Where the key stands, how long it is, and what is said.
#[derive(Clone, Copy, Debug)]
struct Change(usize, u8, Meant);

/// Codes that need no palette: local data stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meant {
    own: Saying,
    below: Saying,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saying {
    Plain(Code),
    /// Of all that was ever in them.
    Set(u32),
}

/// Base and changes.
#[derive(Debug)]
pub(super) struct Together {
    pub(super) layers: Layers,
    /// Records of their base.
    pub(super) tally: Tally,
    /// How much all of it is.
    pub(super) size: Size,
    pub(super) palette: Palette,
    /// Where their base is.
    pub(super) place: Place,
}

/// Where a base is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is that of before.
    Before,
    /// In the file that was said.
    File,
    /// In no file.
    Memory,
}

/// A table, its records, and what its codes mean.
type Anew = (TableFile, Tally, Palette);

/// What the codes of one record mean.
#[derive(Debug)]
pub(super) struct Meaning(Vec<u32>);

impl Meaning {
    /// These.
    pub(super) fn of(&self, codes: Codes) -> Meant {
        // Whoever read the record looked whether its codes mean something.
        let of = |code: Code| match code.set_index() {
            None => Saying::Plain(code),
            Some(index) => self.0.get(usize::from(index)).map_or(Saying::Plain(Code::NXDOMAIN), |set| Saying::Set(*set)),
        };
        Meant { own: of(codes.own), below: of(codes.below) }
    }
}

impl Replay {
    /// What codes with this palette mean.
    pub(super) fn meaning(&mut self, palette: &Palette) -> Meaning {
        let mut number = |set: &RecordSet| {
            *self.known.entry(set.clone()).or_insert_with(|| {
                self.sets.push(set.clone());
                u32::try_from(self.sets.len() - 1).unwrap_or(u32::MAX)
            })
        };
        Meaning(palette.sets().iter().map(&mut number).collect())
    }

    /// A name says this from here on.
    pub(super) fn push(&mut self, key: &KeyBuf, meant: Meant) {
        let key = key.as_bytes();
        // Keys are shorter than 255 octets.
        self.changes.push(Change(self.octets.len(), u8::try_from(key.len()).unwrap_or(u8::MAX), meant));
        self.octets.extend(key);
    }

    fn key(&self, Change(at, length, _): &Change) -> &[u8] {
        self.octets.get(*at..*at + usize::from(*length)).unwrap_or_default()
    }

    fn codes(&self, meant: Meant, palette: &mut Palette) -> Result<Codes, PaletteError> {
        let mut code = |saying| match saying {
            Saying::Plain(code) => Ok(code),
            Saying::Set(number) => match self.sets.get(number as usize) {
                Some(set) => palette.intern(set.clone()),
                None => Ok(Code::NXDOMAIN),
            },
        };
        Ok(Codes::new(code(meant.own)?, code(meant.below)?))
    }

    /// The base, which has so many records, with all of them: layers, records of their base, how much that is, and the palette. What the base says
    /// anyway is left out. Where base and changes together have more local data than there is room for, since the base has what is not in use any
    /// more, all is written anew: that is the base then, and stands in `file`, or in memory where the disk takes none.
    pub(super) fn onto(mut self, base: &Arc<TableFile>, tally: Tally, room: u16, file: &Path) -> io::Result<Together> {
        let mut changes = std::mem::take(&mut self.changes);
        // Of one name they stay in their order.
        changes.sort_by(|one, other| self.key(one).cmp(self.key(other)));
        let mut last = Vec::with_capacity(changes.len());
        for (index, change) in changes.iter().enumerate() {
            if changes.get(index + 1).is_none_or(|next| self.key(next) != self.key(change)) {
                last.push(*change);
            }
        }
        drop(changes);
        let mut palette = base.palette().clone().roomy(room);
        let codes: Result<Vec<Codes>, _> = last.iter().map(|Change(.., meant)| self.codes(*meant, &mut palette)).collect();
        let Ok(codes) = codes else {
            let (anew, place) = match self.in_file(base, &last, room, file) {
                Ok(anew) => (anew, Place::File),
                Err(error) => {
                    tracing::warn!(%error, "the kept zone is put together in memory, the disk takes no file");
                    (self.in_memory(base, &last, room)?, Place::Memory)
                }
            };
            let (table, tally, palette) = anew;
            let size = Size::of(&table, tally);
            return Ok(Together { layers: Layers::new(Arc::new(table)), tally, size, palette, place });
        };
        let mut layers = Layers::new(Arc::clone(base));
        let (mut size, mut fresh, mut under) = (Size::of(base, tally), Bulk::new(), Under::new(base));
        for (change, new) in last.iter().zip(codes) {
            let name = self.key(change);
            let old = under.find(name).map_err(io::Error::other)?;
            if old != new
                && let Ok(name) = KeyBuf::from_key(name)
            {
                size.change(old, new);
                fresh.push(&name, new);
            }
        }
        layers.fresh = fresh.finish();
        Ok(Together { layers, tally, size, palette, place: Place::Before })
    }

    fn in_file(&self, base: &Arc<TableFile>, changes: &[Change], room: u16, path: &Path) -> io::Result<Anew> {
        pass(path)?;
        let (target, tally, palette) = self.anew(base, changes, room, Target::File(Staged::create(path)?))?;
        pass(path)?;
        let Target::File(staged) = target else { return Err(io::ErrorKind::NotFound.into()) };
        Ok((TableFile::open(staged.finish()?).map_err(io::Error::other)?, tally, palette))
    }

    /// As much as that takes.
    fn in_memory(&self, base: &Arc<TableFile>, changes: &[Change], room: u16) -> io::Result<Anew> {
        let (target, tally, palette) = self.anew(base, changes, room, Target::Memory(Vec::new()))?;
        let Target::Memory(octets) = target else { return Err(io::ErrorKind::NotFound.into()) };
        Ok((TableFile::from_memory(octets).map_err(io::Error::other)?, tally, palette))
    }

    /// All of it, with a palette that has what is in use: no more than the zone had when it was published.
    fn anew(&self, base: &Arc<TableFile>, changes: &[Change], room: u16, to: Target) -> io::Result<(Target, Tally, Palette)> {
        let mut writer = TableWriter::new(to).map_err(io::Error::other)?;
        let (mut palette, mut tally) = (Palette::with_room(room), Tally::default());
        let (mut scan, mut changes) = (base.scan(), changes.iter().peekable());
        let mut more = scan.advance().map_err(io::Error::other)?;
        loop {
            let change = changes.peek().map(|change| self.key(change));
            let is_change = change.is_some_and(|name| !more || name <= scan.key().as_bytes());
            let (key, codes) = if is_change {
                let Some(change) = changes.next() else { break };
                if more && self.key(change) == scan.key().as_bytes() {
                    more = scan.advance().map_err(io::Error::other)?;
                }
                let key = KeyBuf::from_key(self.key(change)).map_err(io::Error::other)?;
                (key, self.codes(change.2, &mut palette).map_err(io::Error::other)?)
            } else if more {
                let (key, Codes { own, below }) = (*scan.key(), scan.value());
                let mut of = |code: Code| base.palette().get(code).map_or(Ok(code), |set| palette.intern(set.clone()));
                let codes = of(own).and_then(|own| Ok(Codes::new(own, of(below)?))).map_err(io::Error::other)?;
                more = scan.advance().map_err(io::Error::other)?;
                (key, codes)
            } else {
                break;
            };
            if codes != Codes::SILENT {
                writer.push(&key, codes).map_err(io::Error::other)?;
                tally.add(codes);
            }
        }
        let (target, _) = writer.finish(0, &palette).map_err(io::Error::other)?;
        Ok((target, tally, palette))
    }
}

/// Looks for names in ascending order.
struct Under {
    scan: Scan,
    /// Whether the scan stands at a name.
    found: bool,
}

impl Under {
    fn new(base: &Arc<TableFile>) -> Self {
        Self { scan: base.scan(), found: true }
    }

    fn find(&mut self, name: &[u8]) -> Result<Codes, ReadError> {
        let mut passed = 0;
        while self.found && self.scan.key().as_bytes() < name {
            passed += 1;
            self.found = if passed > ROW { self.scan.seek(name)? } else { self.scan.advance()? };
        }
        let same = self.found && self.scan.key().as_bytes() == name;
        Ok(if same { self.scan.value() } else { Codes::SILENT })
    }
}

#[cfg(test)]
mod tests {
    use tapir_table::MAX_SETS;

    use super::*;

    const LISTED: Codes = Codes::LISTED;

    fn key(number: usize) -> KeyBuf {
        KeyBuf::from_text(&format!("name{number:05}.example"), 245).unwrap()
    }

    #[test]
    fn all_at_once_is_one_after_the_other() {
        let mut writer = TableWriter::new(Vec::new()).unwrap();
        (0..3000).step_by(2).for_each(|number| writer.push(&key(number), LISTED).unwrap());
        let octets = writer.finish(0, &Palette::default()).unwrap().0;
        let base = Arc::new(TableFile::from_memory(octets).unwrap());
        let drop = Codes::new(Code::DROP, Code::SILENT);
        // Close together and far apart, new ones and those of the base, changed, taken out, put back, and said once more.
        let changes: Vec<(usize, Codes)> = [0, 1, 2, 3, 1000, 1001, 2998, 2999, 3500]
            .into_iter()
            .map(|number| (number, drop))
            .chain([(2, Codes::SILENT), (1001, Codes::SILENT), (1000, LISTED), (4, LISTED), (4000, Codes::SILENT), (3, LISTED)])
            .chain((1500..2500).map(|number| (number, if number % 3 == 0 { Codes::SILENT } else { drop })))
            .collect();
        let mut expected = Layers::new(Arc::clone(&base));
        let tally = Tally::of(&base).unwrap();
        let (mut size, mut replay) = (Size::of(&base, tally), Replay::default());
        for (number, codes) in changes {
            size.change(expected.get(key(number).as_bytes()).unwrap(), codes);
            expected.fresh.insert(&key(number), codes);
            let meant = replay.meaning(&Palette::default()).of(codes);
            replay.push(&key(number), meant);
        }
        let Together { layers, tally: of_base, size: counted, place, .. } =
            replay.onto(&base, tally, MAX_SETS, Path::new("")).unwrap();
        assert_eq!(place, Place::Before);
        assert_eq!((of_base, counted), (tally, size));
        for number in 0..4500 {
            let name = key(number);
            assert_eq!(layers.get(name.as_bytes()).unwrap(), expected.get(name.as_bytes()).unwrap(), "{name}");
        }
        assert!(layers.fresh.get(key(1000).as_bytes()).is_none(), "what the base says anyway");
        assert!(layers.fresh.len() < expected.fresh.len());
    }

    #[test]
    fn what_the_base_has_and_is_not_in_use_any_more_takes_no_room() {
        let set = |number: u8| RecordSet::new(vec![(1, vec![192, 0, 2, number])]).unwrap();
        let palette = |numbers: std::ops::Range<u8>| {
            let mut palette = Palette::with_room(3);
            let codes: Vec<Code> = numbers.map(|number| palette.intern(set(number)).unwrap()).collect();
            (palette, codes)
        };
        let codes = |own| Codes::new(own, Code::SILENT);
        let (of_base, old) = palette(0..3);
        let mut writer = TableWriter::new(Vec::new()).unwrap();
        (0..4).for_each(|number| writer.push(&key(number), codes(old[number % 3])).unwrap());
        let base = Arc::new(TableFile::from_memory(writer.finish(0, &of_base).unwrap().0).unwrap());
        // All but one name get something else, or nothing; a new one comes.
        let (of_record, new) = palette(3..5);
        let of = || {
            let mut replay = Replay::default();
            let meaning = replay.meaning(&of_record);
            for (number, code) in [(0, new[0]), (1, Code::SILENT), (2, new[1]), (9, new[0]), (10, Code::DROP)] {
                replay.push(&key(number), meaning.of(codes(code)));
            }
            replay
        };
        let folder = tempfile::tempdir().unwrap();
        // The second has no folder: as on a disk that takes nothing.
        for (file, expected) in [("base", Place::File), ("none/base", Place::Memory)] {
            let tally = Tally::of(&base).unwrap();
            let Together { layers, tally, size, palette, place } = of().onto(&base, tally, 3, &folder.path().join(file)).unwrap();
            assert_eq!((place, folder.path().join(file).exists()), (expected, expected == Place::File));
            let says = |number: usize| layers.get(key(number).as_bytes()).unwrap();
            let means = |number: usize| palette.get(says(number).own).cloned();
            assert_eq!([0, 2, 3, 9].map(means), [3, 4, 0, 3].map(|number| Some(set(number))));
            assert_eq!([1, 4, 10].map(says), [Codes::SILENT, Codes::SILENT, codes(Code::DROP)]);
            assert_eq!((tally, palette.sets().len()), (Tally::of(&layers.base).unwrap(), 3));
            assert_eq!(size, Size::of(&layers.base, tally));
            assert_eq!(size.names, 5);
        }
    }
}
