//! What is kept: small inputs, each of which a reader answers in a way in which it answers no other.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Target;
use crate::mutate::mutated;
use crate::run::{dice, folder, kept};

/// Inputs of one target that this keeps.
pub const MOST: usize = 40;
/// Longest input that is kept.
pub const LONGEST: usize = 1024;
/// Octets of all that is kept for one target.
pub const OCTETS: usize = 8 * 1024;
/// Kinds of outcome beyond these are not looked for.
const MOST_KINDS: usize = 2000;
/// How often one input is read while it is made smaller.
const TRIES: usize = 600;

/// Looks for so long, and adds what reaches something that neither the seeds nor what is kept already reaches. Tells the new files.
#[must_use]
pub fn grow(target: &Target, time: Duration, seed: u64) -> Vec<PathBuf> {
    let (begun, mut dice) = (Instant::now(), dice(target, seed));
    let before = kept(target);
    let mut inputs: Vec<_> = before.iter().cloned().chain((target.seeds)()).collect();
    let known: std::collections::BTreeSet<_> = inputs.iter().filter_map(|input| kind(target, input)).collect();
    let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    while begun.elapsed() < time {
        let input = mutated(&mut dice, &inputs);
        // What fails is for the tests to tell, and for people to add.
        let Some(kind) = kind(target, &input).filter(|kind| !known.contains(kind)) else { continue };
        let is_smaller = found.get(&kind).map_or(found.len() < MOST_KINDS, |other| other.len() > input.len());
        if is_smaller {
            if !found.contains_key(&kind) {
                inputs.push(input.clone());
            }
            found.insert(kind, input);
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|(_, input)| input.len());
    let room = MOST.saturating_sub(before.len());
    // Not the smallest alone: those are refused at the door.
    let step = found.len().div_ceil(room.max(1)).max(1);
    let some = found.iter().step_by(step).take(room).map(|(kind, input)| smaller(target, kind, input));
    let mut small: Vec<_> = some.filter(|input| input.len() <= LONGEST).collect();
    small.sort_by_key(Vec::len);
    let mut octets = before.iter().map(Vec::len).sum::<usize>();
    let mut files = Vec::new();
    std::fs::create_dir_all(folder(target)).unwrap();
    for input in small {
        octets += input.len();
        if octets > OCTETS {
            break;
        }
        let file = folder(target).join(format!("kept-{:08x}", crc32fast::hash(&input)));
        std::fs::write(&file, input).unwrap();
        files.push(file);
    }
    files
}

/// What becomes of it; none where the reader panics.
fn kind(target: &Target, input: &[u8]) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| (target.read)(input))).ok()
}

/// Without all that can be left out while the same becomes of it.
fn smaller(target: &Target, kind: &str, input: &[u8]) -> Vec<u8> {
    let (mut input, mut tries) = (input.to_vec(), 0);
    let mut width = input.len().div_ceil(2);
    while width > 0 {
        let mut at = 0;
        while at < input.len() && tries < TRIES {
            let without = [&input[..at], &input[(at + width).min(input.len())..]].concat();
            tries += 1;
            if self::kind(target, &without).as_deref() == Some(kind) {
                input = without;
            } else {
                at += width;
            }
        }
        width /= 2;
    }
    input
}
