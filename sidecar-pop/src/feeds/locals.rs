//! What the records of a feed mean, as codes, with a palette that grows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tapir_table::{Code, Codes, MAX_SETS, Palette, RecordSet};

use crate::dns::records::kind::CNAME;

/// What one record of a feed says of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// An action.
    Action(Code),
    /// Data to answer with: type, and wire form without pointers.
    Data(u16, Vec<u8>),
}

/// The palette of one source. What a code means does not change until the whole is put together anew.
#[derive(Clone, Debug, Default)]
pub struct Locals {
    palette: Palette,
    /// Something could not be kept as it is, so changes to it cannot be checked.
    lossy: bool,
}

/// A change that does not fit what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a change does not fit the copy that is held")]
pub struct Misfit;

impl Locals {
    /// Goes on with what a table has.
    #[must_use]
    pub fn of(palette: &Palette) -> Self {
        Self { palette: palette.clone(), lossy: false }
    }

    /// All sets so far.
    #[must_use]
    pub const fn palette(&self) -> &Palette {
        &self.palette
    }

    /// Whether few places are left, most of them taken since there were so many sets: what is in use is to be put together anew.
    #[must_use]
    pub fn is_crowded(&self, then: usize) -> bool {
        let sets = self.palette.sets().len();
        sets * 4 >= usize::from(MAX_SETS) * 3 && sets >= then * 2
    }

    /// The codes of what codes of another palette mean: only what is asked for takes a place here.
    pub fn of_other(&mut self, codes: Codes, other: &Palette) -> Codes {
        let mut of = |code: Code| {
            let Some(set) = other.get(code) else { return code };
            if let Some(known) = self.palette.find(set) {
                return known;
            }
            self.palette.intern(set.clone()).unwrap_or(Code::NXDOMAIN)
        };
        Codes::new(of(codes.own), of(codes.below))
    }

    /// Whether something could not be kept as it is.
    #[must_use]
    pub const fn is_lossy(&self) -> bool {
        self.lossy
    }

    /// The code of this data. What cannot be kept blocks all the same: that says the least that is wrong.
    pub fn code(&mut self, records: Vec<(u16, Vec<u8>)>) -> Code {
        let code = RecordSet::new(records).and_then(|set| self.palette.intern(set)).ok();
        self.lossy |= code.is_none();
        code.unwrap_or(Code::NXDOMAIN)
    }

    /// What two records of one name in one source make, in whatever order they come: an exemption is absolute, then what blocks
    /// more; data is put together.
    pub fn both(&mut self, one: Code, other: Code) -> Code {
        if one == other || other.is_silent() {
            return one;
        }
        if one.is_silent() {
            return other;
        }
        if let (Some(_), Some(_)) = (one.set_index(), other.set_index()) {
            let (first, second) = (self.records(one), self.records(other));
            let alias = |records: &[(u16, Vec<u8>)]| records.iter().any(|(kind, _)| *kind == CNAME);
            // An alias stands alone (RFC 1034 section 3.6.2); of two, the smaller.
            return match (alias(&first), alias(&second)) {
                (false, false) => self.code([first, second].concat()),
                (is_first, is_second) => {
                    self.lossy = true;
                    let keep_first = if is_first && is_second { first <= second } else { is_first };
                    if keep_first { one } else { other }
                }
            };
        }
        self.lossy = true;
        if rank(one) >= rank(other) { one } else { other }
    }

    /// A record is added to what a name has.
    pub fn with(&mut self, held: Code, meaning: &Meaning) -> Result<Code, Misfit> {
        match meaning {
            Meaning::Action(code) if held.is_silent() => Ok(*code),
            Meaning::Data(kind, data) if held.is_silent() => Ok(self.code(vec![(*kind, data.clone())])),
            Meaning::Data(kind, data) if held.set_index().is_some() => {
                let mut records = self.records(held);
                let added = (*kind, data.clone());
                if *kind == CNAME || records.iter().any(|record| record.0 == CNAME || *record == added) {
                    return Err(Misfit);
                }
                records.push(added);
                Ok(self.code(records))
            }
            _ => Err(Misfit),
        }
    }

    /// A record is taken from what a name has.
    pub fn without(&mut self, held: Code, meaning: &Meaning) -> Result<Code, Misfit> {
        match meaning {
            Meaning::Action(code) if *code == held => Ok(Code::SILENT),
            Meaning::Data(kind, data) if held.set_index().is_some() => {
                let mut records = self.records(held);
                let before = records.len();
                records.retain(|(known, content)| known != kind || content != data);
                match records.len() {
                    length if length == before => Err(Misfit),
                    0 => Ok(Code::SILENT),
                    _ => Ok(self.code(records)),
                }
            }
            _ => Err(Misfit),
        }
    }

    fn records(&self, code: Code) -> Vec<(u16, Vec<u8>)> {
        self.palette.get(code).map(|set| set.records().map(|(kind, data)| (kind, data.to_vec())).collect()).unwrap_or_default()
    }
}

/// The same for what is sorted elsewhere.
#[derive(Clone, Debug, Default)]
pub struct SharedLocals(Arc<Mutex<Locals>>);

impl SharedLocals {
    /// For as long as the guard lives.
    pub fn lock(&self) -> MutexGuard<'_, Locals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Locals::both`].
    #[must_use]
    pub fn both(&self, one: Codes, other: Codes) -> Codes {
        if one == other {
            return one;
        }
        let mut locals = self.lock();
        Codes::new(locals.both(one.own, other.own), locals.both(one.below, other.below))
    }
}

const fn rank(code: Code) -> u8 {
    match code {
        Code::SILENT => 0,
        Code::TCP_ONLY => 1,
        Code::NODATA => 3,
        Code::NXDOMAIN => 4,
        Code::DROP => 5,
        Code::PASSTHRU => 6,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u16 = 1;

    fn address(last: u8) -> Meaning {
        Meaning::Data(A, vec![192, 0, 2, last])
    }

    #[test]
    fn what_is_added_and_taken_away_leads_back() {
        let mut locals = Locals::default();
        let one = locals.with(Code::SILENT, &address(1)).unwrap();
        let both = locals.with(one, &address(2)).unwrap();
        assert_ne!(one, both);
        assert_eq!(locals.with(both, &address(2)), Err(Misfit));
        assert_eq!(locals.without(both, &address(3)), Err(Misfit));
        assert_eq!(locals.without(both, &address(2)), Ok(one));
        assert_eq!(locals.without(one, &address(1)), Ok(Code::SILENT));
        assert_eq!(locals.with(one, &Meaning::Action(Code::DROP)), Err(Misfit));
        assert_eq!(locals.without(Code::DROP, &Meaning::Action(Code::NODATA)), Err(Misfit));
        assert_eq!(locals.without(Code::DROP, &Meaning::Action(Code::DROP)), Ok(Code::SILENT));
        assert!(!locals.is_lossy());
    }

    #[test]
    fn order_means_nothing() {
        let mut locals = Locals::default();
        let mut codes = vec![Code::SILENT, Code::PASSTHRU, Code::TCP_ONLY, Code::NODATA, Code::NXDOMAIN, Code::DROP];
        codes.extend([1, 2].map(|last| locals.code(vec![(A, vec![192, 0, 2, last])])));
        codes.extend([b"\x01a\0", b"\x01b\0"].map(|name| locals.code(vec![(CNAME, name.to_vec())])));
        for &one in &codes {
            for &other in &codes {
                assert_eq!(locals.both(one, other), locals.both(other, one), "{one:?} {other:?}");
                assert_eq!(locals.both(one, Code::SILENT), one);
            }
        }
        assert_eq!(locals.both(Code::PASSTHRU, Code::DROP), Code::PASSTHRU);
    }

    #[test]
    fn what_is_not_in_use_any_more_gives_its_place_back() {
        let mut locals = Locals::default();
        let codes: Vec<Code> = (0..3100_u16).map(|number| locals.code(vec![(16, number.to_be_bytes().to_vec())])).collect();
        assert!(locals.is_crowded(1) && !locals.is_crowded(1600));
        let mut anew = Locals::default();
        let both = anew.of_other(Codes::new(codes[3099], codes[7]), locals.palette());
        assert_eq!(anew.of_other(Codes::new(codes[7], Code::DROP), locals.palette()), Codes::new(both.below, Code::DROP));
        assert_eq!(anew.palette().sets().len(), 2);
        assert_eq!(anew.palette().get(both.own), locals.palette().get(codes[3099]));
    }

    #[test]
    fn more_data_than_there_is_room_for_blocks() {
        let mut locals = Locals::default();
        for number in 0..5000_u16 {
            let code = locals.code(vec![(16, number.to_be_bytes().to_vec())]);
            assert_eq!(code.set_index().is_some(), number < tapir_table::MAX_SETS, "{number}");
            assert!(code.set_index().is_some() || code == Code::NXDOMAIN);
        }
        assert!(locals.is_lossy());
        assert_eq!(Locals::of(locals.palette()).code(vec![(16, vec![0, 7])]), Code::set(7).unwrap());
    }
}
