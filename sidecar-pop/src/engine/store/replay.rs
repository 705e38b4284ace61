//! What the log says since the base, put together at once: a fraction of the time that one name after the other takes, and what is served
//! after a start waits for it.

use std::sync::Arc;

use tapir_table::{Bulk, Codes, Cursor as _, KeyBuf, ReadError, Scan, TableFile};

use crate::zone::Size;
use crate::zone::layers::Layers;
use crate::zone::tally::Tally;

/// Names that are read in a row before one is searched for.
const ROW: usize = 128;

/// Changes in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Replay {
    octets: Vec<u8>,
    /// Where the key stands, and how long it is.
    changes: Vec<(usize, u8, Codes)>,
}

impl Replay {
    /// A name says this from here on.
    pub(super) fn push(&mut self, key: &KeyBuf, codes: Codes) {
        let key = key.as_bytes();
        // Keys are shorter than 255 octets.
        self.changes.push((self.octets.len(), u8::try_from(key.len()).unwrap_or(u8::MAX), codes));
        self.octets.extend(key);
    }

    /// The base, which has so many records, with all of them, and how much that is. What the base says anyway is left out.
    pub(super) fn onto(self, base: &Arc<TableFile>, tally: Tally) -> Result<(Layers, Size), ReadError> {
        let Self { octets, mut changes } = self;
        let key = |(at, length, _): &(usize, u8, Codes)| octets.get(*at..*at + usize::from(*length)).unwrap_or_default();
        // Of one name they stay in their order.
        changes.sort_by(|one, other| key(one).cmp(key(other)));
        let mut layers = Layers::new(Arc::clone(base));
        let (mut size, mut fresh, mut under) = (Size::of(base, tally), Bulk::new(), Under::new(base));
        for (index, change) in changes.iter().enumerate() {
            let name = key(change);
            let newer = changes.get(index + 1).is_some_and(|next| key(next) == name);
            if newer {
                continue;
            }
            let (old, new) = (under.find(name)?, change.2);
            if old != new
                && let Ok(name) = KeyBuf::from_key(name)
            {
                size.change(old, new);
                fresh.push(&name, new);
            }
        }
        layers.fresh = fresh.finish();
        Ok((layers, size))
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
    use tapir_table::{Code, Palette, TableWriter};

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
            replay.push(&key(number), codes);
        }
        let (layers, counted) = replay.onto(&base, tally).unwrap();
        assert_eq!(counted, size);
        for number in 0..4500 {
            let name = key(number);
            assert_eq!(layers.get(name.as_bytes()).unwrap(), expected.get(name.as_bytes()).unwrap(), "{name}");
        }
        assert!(layers.fresh.get(key(1000).as_bytes()).is_none(), "what the base says anyway");
        assert!(layers.fresh.len() < expected.fresh.len());
    }
}
