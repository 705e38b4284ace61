//! Changes of a feed on the disk, beside the table that they are changes to.
//!
//! ```text
//! length u32 · crc32 · from u32 · to u32 · timers 3 × u32 · time i64 · length u32 of the palette · palette · (key length u8 · key · codes 2 × u16)*
//! ```
//! Only appended to. What a killed process left torn ends the log.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tapir_table::{Codes, KeyBuf, Palette};

use super::held::{code, palette_octets};

/// Largest log that is read: what the largest lists of changes take.
const LARGEST: u64 = 1 << 30;

/// One transfer of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) timers: [u32; 3],
    pub(super) at: Timestamp,
    pub(super) palette: Arc<Palette>,
    pub(super) list: Vec<(KeyBuf, Codes)>,
}

impl Step {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut octets = vec![0; 8];
        for number in [self.from, self.to].into_iter().chain(self.timers) {
            octets.extend(number.to_be_bytes());
        }
        octets.extend(self.at.as_second().to_be_bytes());
        let palette = palette_octets(&self.palette);
        octets.extend(u32::try_from(palette.len()).unwrap_or(u32::MAX).to_be_bytes());
        octets.extend(palette);
        for (key, codes) in &self.list {
            octets.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
            octets.extend(key.as_bytes());
            octets.extend(codes.own.number().to_be_bytes());
            octets.extend(codes.below.number().to_be_bytes());
        }
        let length = u32::try_from(octets.len() - 8).unwrap_or(u32::MAX);
        let checksum = crc32fast::hash(octets.get(8..).unwrap_or_default());
        for (to, from) in octets.iter_mut().zip(length.to_be_bytes().into_iter().chain(checksum.to_be_bytes())) {
            *to = from;
        }
        octets
    }

    fn parse(mut rest: &[u8]) -> Option<Self> {
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at_checked(count)?;
            rest = left;
            Some(taken)
        };
        let mut numbers = [0; 5];
        for number in &mut numbers {
            *number = u32::from_be_bytes(take(4)?.try_into().ok()?);
        }
        let [from, to, timers @ ..] = numbers;
        let at = Timestamp::from_second(i64::from_be_bytes(take(8)?.try_into().ok()?)).ok()?;
        let length = usize::try_from(u32::from_be_bytes(take(4)?.try_into().ok()?)).ok()?;
        let palette = Arc::new(Palette::read(take(length)?)?);
        let mut list = Vec::new();
        while let Some(&[length]) = take(1) {
            let key = KeyBuf::from_key(take(usize::from(length))?).ok()?;
            let own = code(take(2)?.try_into().ok()?)?;
            list.push((key, Codes::new(own, code(take(2)?.try_into().ok()?)?)));
        }
        Some(Self { from, to, timers, at, palette, list })
    }
}

/// All steps that are whole.
pub(super) fn read(path: &Path) -> Vec<Step> {
    let is_readable = fs::metadata(path).is_ok_and(|metadata| metadata.len() <= LARGEST);
    let octets = if is_readable { fs::read(path).unwrap_or_default() } else { Vec::new() };
    let mut rest = octets.as_slice();
    let mut steps = Vec::new();
    while let Some((step, left)) = next(rest) {
        steps.push(step);
        rest = left;
    }
    steps
}

fn next(octets: &[u8]) -> Option<(Step, &[u8])> {
    let (length, rest) = octets.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let (content, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    if crc32fast::hash(content) != u32::from_be_bytes(*checksum) {
        return None;
    }
    Some((Step::parse(content)?, rest))
}

#[cfg(test)]
mod tests {
    use tapir_table::{Code, RecordSet};

    use super::*;

    #[test]
    fn whole_steps_are_read_whatever_stands_behind_them() {
        let mut palette = Palette::default();
        let set = palette.intern(RecordSet::new(vec![(1, vec![192, 0, 2, 1])]).unwrap()).unwrap();
        let list = vec![
            (KeyBuf::from_text("a.example", 200).unwrap(), Codes::new(set, Code::SILENT)),
            (KeyBuf::from_text("b.example", 200).unwrap(), Codes::SILENT),
        ];
        let at = Timestamp::from_second(1_795_219_200).unwrap();
        let one = Step { from: 1, to: 2, timers: [3, 4, 5], at, palette: Arc::new(palette), list };
        let two = Step { from: 2, to: u32::MAX, list: Vec::new(), ..one.clone() };
        let octets = [one.write(), two.write()].concat();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(read(&path).is_empty());
        for end in 0..=octets.len() {
            fs::write(&path, &octets[..end]).unwrap();
            let whole = usize::from(end >= one.write().len()) + usize::from(end == octets.len());
            assert_eq!(read(&path), [one.clone(), two.clone()][..whole], "{end}");
        }
        for bit in 0..octets.len() * 8 {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            assert!(read(&path).len() < 2, "{bit}");
        }
    }
}
