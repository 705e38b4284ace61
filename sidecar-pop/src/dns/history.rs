//! Versions of the zone on disk as steps of an incremental transfer.

use std::sync::Arc;

use tapir_table::{Broken, Bulk, Code, Codes, Palette, ReadError, RecordSet, Tree, TreeCursor};

use super::render::{Changed, Step, Steps};
use crate::state::zone_log::History;
use crate::state::zone_log::record::Record;

/// One version after the other, read when its turn comes; at any time one of them is in memory.
#[derive(Debug)]
pub struct Logged {
    history: History,
    next: usize,
    present: Tree<Changed>,
    /// Local data of the steps so far, and of the zone that they lead to.
    palette: Arc<Palette>,
}

impl Logged {
    /// From the oldest of these versions to the newest, which has this local data.
    #[must_use]
    pub fn new(history: History, palette: Arc<Palette>) -> Self {
        Self { history, next: 0, present: Tree::new(), palette }
    }

    /// Codes of a record by its own: in one palette as long as that has room, since steps may be put together.
    fn meaning(&mut self, own: &Palette) -> Result<Vec<Code>, Broken> {
        for fits in [true, false] {
            if !fits {
                self.palette = Arc::default();
            }
            let find =
                |set: &RecordSet| self.palette.find(set).map_or_else(|| Arc::make_mut(&mut self.palette).intern(set.clone()), Ok);
            if let Ok(codes) = own.sets().iter().map(find).collect() {
                return Ok(codes);
            }
        }
        Err(Broken)
    }

    /// Changes of all of them together.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.history.versions().iter().map(|version| u64::from(version.count)).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Steps for Logged {
    type Cursor = TreeCursor<Changed>;

    fn advance(&mut self) -> Result<Option<Step>, ReadError> {
        let Some(version) = self.history.versions().get(self.next) else { return Ok(None) };
        self.next += 1;
        let content = self.history.content(version)?;
        let record = Record::read(&content).map_err(|_| Broken)?;
        if record.step != version.step {
            return Err(Broken.into());
        }
        let meaning = self.meaning(&record.palette().map_err(|_| Broken)?)?;
        let code = |code: Code| match code.set_index() {
            Some(index) => meaning.get(usize::from(index)).copied().ok_or(Broken),
            None => Ok(code),
        };
        let codes = |codes: Codes| Ok::<_, Broken>(Codes::new(code(codes.own)?, code(codes.below)?));
        let mut present = Bulk::new();
        for change in record.changes() {
            let change = change.map_err(|_| Broken)?;
            // Written down for a restart, and nothing that anyone could see.
            if change.old == change.new {
                continue;
            }
            if !present.push(&change.key, Changed { old: codes(change.old)?, new: codes(change.new)? }) {
                return Err(Broken.into());
            }
        }
        self.present = present.finish();
        Ok(Some(Step { from: record.step.from.0, to: record.step.to.0 }))
    }

    fn palette(&self) -> Option<Arc<Palette>> {
        Some(Arc::clone(&self.palette))
    }

    fn changes(&self) -> Result<Self::Cursor, ReadError> {
        Ok(self.present.cursor())
    }
}

#[cfg(test)]
mod tests {
    use tapir_table::{Cursor as _, KeyBuf};

    use super::*;
    use crate::dns::render::Condensed;
    use crate::state::zone_log::record::{Change, Step as LoggedStep};
    use crate::state::zone_log::{Limits, ZoneLog};
    use crate::zone::Serial;

    fn change(name: &str, old: Code, new: Code) -> Change {
        let codes = |own| Codes::new(own, Code::SILENT);
        Change { key: KeyBuf::from_text(name, 245).unwrap(), old: codes(old), new: codes(new) }
    }

    fn told(mut steps: impl Steps) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(step) = steps.advance().unwrap() {
            told.push(format!("{}>{}", step.from, step.to));
            let mut cursor = steps.changes().unwrap();
            while cursor.advance().unwrap() {
                let name = String::from_utf8_lossy(cursor.key().as_bytes()).into_owned();
                let (old, new) = (cursor.value().old.own.number(), cursor.value().new.own.number());
                told.push(format!("{} {old}>{new}", name.trim_start_matches('\x01')));
            }
        }
        told
    }

    #[test]
    fn what_was_logged_is_told_step_by_step_or_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { octets: 1 << 20, versions: 100, segment: 1 << 16 };
        let (mut log, _) = ZoneLog::open(folder.path(), Serial(u32::MAX), limits).unwrap();
        let steps = [
            (u32::MAX, 1, vec![change("a", Code::SILENT, Code::DROP), change("b", Code::SILENT, Code::DROP)]),
            (1, 2, vec![change("a", Code::DROP, Code::SILENT), change("b", Code::DROP, Code::NODATA)]),
            (2, 5, vec![change("c", Code::NXDOMAIN, Code::SILENT)]),
        ];
        for (from, to, changes) in &steps {
            log.append(LoggedStep { from: Serial(*from), to: Serial(*to), time: 7 }, &changes.iter().collect()).unwrap();
        }
        let since = |serial| Logged::new(log.since(Serial(serial)).unwrap(), Arc::default());
        let all = ["4294967295>1", "a 0>5", "b 0>5", "1>2", "a 5>0", "b 5>3", "2>5", "c 4>0"];
        assert_eq!(told(since(u32::MAX)), all);
        assert_eq!(told(since(1)), all[3..]);
        assert_eq!(since(u32::MAX).len(), 5);
        let condensed = Condensed::of(since(u32::MAX), 5).unwrap().unwrap();
        assert_eq!(told(condensed), ["4294967295>5", "b 0>3", "c 4>0"]);
        assert!(log.since(Serial(3)).is_none());
    }
}
