//! From a file to a table: where it has many words on two processors, each of which takes parts of them until there are none left.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{thread, vec};

use tapir_wire::dawg::{Part, Scan};

use super::entry::canonical;
use super::load::{ListError, MAX_NAMES};
use super::table::{Builder, Half, Made, Table};

/// Fewer words take less than a thread.
const FEW: u64 = 10_000;
/// So many that both end at about the same time.
const PARTS: u64 = 16;
/// Octets of words that one takes before it looks again how many both have.
const AT_ONCE: u64 = 64 << 10;

/// The table of all words, and how many of them no name can ever hit. Refused where they have more octets than `most`, of which each thread
/// may have taken [`AT_ONCE`] more by then.
pub(super) fn table(file: &[u8], most: u64, refused: impl Fn() -> ListError + Sync) -> Result<(Table, u64), ListError> {
    let scan = Scan::new(file, MAX_NAMES)?;
    let is_large = scan.words() >= FEW;
    let parts = match scan.parts(if is_large { PARTS } else { 1 }) {
        Ok(parts) => Mutex::new(parts.into_iter()),
        Err(error) => return Err(scan.check_layout().err().unwrap_or(error).into()),
    };
    let builder = Builder::new(scan.words());
    let work = Work { builder: &builder, parts, text: AtomicU64::new(0), most, refused };
    let (first, second) = thread::scope(|scope| {
        let named = thread::Builder::new().name("list".to_owned());
        // Where there is no thread to be had, it is all done here.
        let beside = is_large.then(|| named.spawn_scoped(scope, || work.half(true)).ok()).flatten();
        let layout = scan.check_layout().inspect_err(|_| work.stop());
        let here = work.half(false);
        let beside = beside.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        layout?;
        Ok::<_, ListError>((here?, beside.transpose()?.unwrap_or_default()))
    })?;
    let unmatchable = first.1 + second.1;
    Ok((builder.finish([first.0, second.0]), unmatchable))
}

struct Work<'a, R> {
    builder: &'a Builder,
    parts: Mutex<vec::IntoIter<Part<'a>>>,
    /// Octets of the words that were taken.
    text: AtomicU64,
    most: u64,
    refused: R,
}

impl<R: Fn() -> ListError> Work<'_, R> {
    fn next(&self) -> Option<Part<'_>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    /// It is in vain.
    fn stop(&self) {
        while self.next().is_some() {}
    }

    fn half(&self, second: bool) -> Result<(Made, u64), ListError> {
        let mut taker = Taker { half: self.builder.half(second), wire: Vec::new(), unmatchable: 0, spent: 0, left: 0 };
        while let Some(part) = self.next() {
            self.take(part, &mut taker).inspect_err(|_| self.stop())?;
        }
        Ok((taker.half.finish(), taker.unmatchable))
    }

    fn take(&self, part: Part<'_>, taker: &mut Taker<'_>) -> Result<(), ListError> {
        let mut number = part.first();
        part.each(|word| {
            let octets = word.len() as u64;
            if octets > taker.left {
                let spent = self.text.fetch_add(taker.spent + octets, Ordering::Relaxed) + taker.spent + octets;
                let left = self.most.checked_sub(spent).ok_or_else(&self.refused)?;
                (taker.spent, taker.left) = (0, left.min(AT_ONCE));
            } else {
                (taker.spent, taker.left) = (taker.spent + octets, taker.left - octets);
            }
            match canonical(word, &mut taker.wire) {
                Ok(suffix) if taker.half.add(number, &taker.wire, suffix) => {}
                Ok(_) => return Err(ListError::TooMuchText),
                Err(_) => taker.unmatchable += 1,
            }
            number += 1;
            Ok(())
        })
    }
}

/// Takes words.
struct Taker<'a> {
    half: Half<'a>,
    wire: Vec<u8>,
    unmatchable: u64,
    /// Octets of words that the other one does not know of yet, and how many more it takes before it tells.
    spent: u64,
    left: u64,
}
