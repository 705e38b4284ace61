//! The palette of a zone while it grows, and two palettes beside each other.
//!
//! A zone that is made anew gets a palette of its own with what is in use by then: sets that nobody asks for any more give their places back.
//! So a code means something together with its palette only, and what is compared across two of them is compared by what it means.

use std::sync::{Arc, Mutex, PoisonError};

use tapir_table::{Code, Codes, Palette, RecordSet};

/// A palette that several threads add to. What is there keeps its code.
#[derive(Clone, Debug, Default)]
pub struct Sets(Arc<Mutex<Arc<Palette>>>);

impl Sets {
    /// Goes on with this one.
    #[must_use]
    pub fn of(palette: Palette) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(palette))))
    }

    /// As it is by now. Costs one reference count, and the next set that is new a copy.
    #[must_use]
    pub fn now(&self) -> Arc<Palette> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sets().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The code of this set, which is added if it is new; `None` where there is no room.
    #[must_use]
    pub fn code(&self, set: &RecordSet) -> Option<Code> {
        let mut palette = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = palette.sets().len() >= usize::from(palette.room());
        match palette.find(set) {
            Some(code) => Some(code),
            // Nothing is copied in vain.
            None if full => None,
            None => Arc::make_mut(&mut palette).intern(set.clone()).ok(),
        }
    }
}

/// Tells whether codes of a zone and codes of another mean the same.
#[derive(Debug)]
pub struct Same {
    before: Arc<Palette>,
    now: Sets,
    /// Codes of before for those of now, as far as they were asked for.
    found: Vec<Option<Code>>,
}

impl Same {
    /// Nothing of `before` is used that is not in it yet.
    #[must_use]
    pub const fn new(before: Arc<Palette>, now: Sets) -> Self {
        Self { before, now, found: Vec::new() }
    }

    /// Whether they do.
    pub fn codes(&mut self, before: Codes, now: Codes) -> bool {
        self.code(before.own, now.own) && self.code(before.below, now.below)
    }

    fn code(&mut self, before: Code, now: Code) -> bool {
        let Some(index) = now.set_index().map(usize::from) else { return before == now };
        if before.set_index().is_none() {
            return false;
        }
        if index >= self.found.len() {
            // It was added before anybody could name it, and so were those before it.
            let palette = self.now.now();
            let rest = palette.sets().get(self.found.len()..).unwrap_or_default();
            self.found.extend(rest.iter().map(|set| self.before.find(set)));
        }
        self.found.get(index).copied().flatten() == Some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(number: u8) -> RecordSet {
        RecordSet::new(vec![(1, vec![192, 0, 2, number])]).unwrap()
    }

    #[test]
    fn what_is_there_stays_and_what_has_no_room_has_no_code() {
        let sets = Sets::of(Palette::with_room(2));
        let one = sets.code(&set(1)).unwrap();
        let before = sets.now();
        let two = sets.code(&set(2)).unwrap();
        assert_eq!((before.sets().len(), sets.len()), (1, 2), "who has it does not see what comes");
        assert_eq!(sets.code(&set(3)), None);
        assert_eq!([sets.code(&set(1)), sets.code(&set(2))], [Some(one), Some(two)]);
        assert_eq!(sets.now().get(two), Some(&set(2)));
    }

    #[test]
    fn codes_are_the_same_where_they_mean_the_same() {
        let before = Sets::default();
        let [a, b] = [1, 2].map(|number| before.code(&set(number)).unwrap());
        let now = Sets::default();
        let mut same = Same::new(before.now(), now.clone());
        let of = |code| Codes::new(code, code);
        let new = now.code(&set(2)).unwrap();
        assert_eq!(new, a, "another meaning");
        assert!(same.codes(of(b), of(new)) && !same.codes(of(a), of(new)));
        let third = now.code(&set(3)).unwrap();
        assert!(!same.codes(of(b), of(third)) && !same.codes(of(Code::DROP), of(third)) && !same.codes(of(b), of(Code::DROP)));
        assert!(same.codes(of(Code::DROP), of(Code::DROP)) && !same.codes(of(Code::DROP), of(Code::NXDOMAIN)));
        let one = now.code(&set(1)).unwrap();
        assert!(same.codes(Codes::new(a, b), Codes::new(one, new)) && !same.codes(Codes::new(a, b), Codes::new(new, one)));
    }
}
