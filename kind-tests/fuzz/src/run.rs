//! Runs one target for a while.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Target;
use crate::mutate::{Dice, mutated};

/// Inputs that are kept in memory.
const MOST_INPUTS: usize = 2000;
/// Longest that one input may take, on a machine that does much else and without optimisation.
const LONGEST: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Inputs that were read.
    pub runs: u64,
    /// Kinds of outcome.
    pub kinds: usize,
    /// The longest that one took.
    pub slowest: Duration,
    /// Inputs that made a panic or took too long: where each was written to, and what happened.
    pub failures: Vec<(PathBuf, String)>,
}

/// Where inputs of a target are kept.
#[must_use]
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// Inputs that are kept, in order of their names.
#[must_use]
pub fn kept(target: &Target) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(folder(target)).into_iter().flatten().flatten().map(|entry| entry.path());
    let files: BTreeSet<_> = files.filter(|path| path.is_file()).collect();
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Others for each target.
pub(crate) fn dice(target: &Target, seed: u64) -> Dice {
    let octets = target.name.bytes();
    Dice::new(seed ^ octets.fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3)))
}

/// Reads what is kept, then what becomes of it, for so long; ends at the first failure.
#[must_use]
pub fn run(target: &Target, time: Duration, seed: u64) -> Outcome {
    let (begun, mut outcome, mut known) = (Instant::now(), Outcome::default(), BTreeSet::new());
    let mut inputs = Vec::new();
    let mut first: Vec<_> = kept(target).into_iter().chain((target.seeds)()).rev().collect();
    let mut dice = dice(target, seed);
    loop {
        let is_first = !first.is_empty();
        let input = match first.pop() {
            Some(input) => input,
            None if begun.elapsed() >= time => return outcome,
            None => mutated(&mut dice, &inputs),
        };
        let began = Instant::now();
        let read = catch_unwind(AssertUnwindSafe(|| (target.read)(&input)));
        outcome.runs += 1;
        let took = began.elapsed();
        outcome.slowest = outcome.slowest.max(took);
        match read {
            Ok(_) if took > LONGEST => {
                outcome.failures.push((write(target, &input), format!("took {took:?}")));
                return outcome;
            }
            Ok(kind) => {
                let is_new = known.insert(kind);
                if is_first || (is_new && inputs.len() < MOST_INPUTS) {
                    inputs.push(input);
                }
                outcome.kinds = known.len();
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
                outcome.failures.push((write(target, &input), text.unwrap_or("a panic").to_owned()));
                return outcome;
            }
        }
    }
}

/// The next run begins with it, until somebody has mended the reader.
fn write(target: &Target, input: &[u8]) -> PathBuf {
    let file = folder(target).join(format!("failed-{:08x}", crc32fast::hash(input)));
    std::fs::create_dir_all(folder(target)).unwrap();
    std::fs::write(&file, input).unwrap();
    file
}
