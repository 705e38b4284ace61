//! Two cursors side by side.
//!
//! Octets are hardly compared: of two names behind the same third, the one that shares more with it comes first. Only where both
//! share as much, what follows decides.

use std::cmp::Ordering;

use crate::cursor::{Cursor, ReadError};
use crate::key::{KeyBuf, common_prefix};

/// Which of two stands on the present name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// Nothing was read so far.
    Before,
    One,
    Other,
    Both,
    End,
}

/// Every name that one of two cursors has, once.
#[derive(Debug)]
pub(crate) struct Pair<A, B> {
    one: A,
    other: B,
    /// Whether each stands on a name.
    alive: [bool; 2],
    /// Octets that their names share while both do.
    common: usize,
    side: Side,
    shared: usize,
}

/// Compares keys that are known to share `from` octets: order, and octets that they share.
pub(crate) fn compare(one: &KeyBuf, other: &KeyBuf, from: usize) -> (Ordering, usize) {
    let rest = |key| <KeyBuf as AsRef<[u8]>>::as_ref(key).get(from..).unwrap_or_default();
    let (one, other): (&[u8], &[u8]) = (rest(one), rest(other));
    let same = common_prefix(one, other);
    (one.get(same).cmp(&other.get(same)), from + same)
}

impl<A: Cursor, B: Cursor> Pair<A, B> {
    pub(crate) const fn new(one: A, other: B) -> Self {
        Self { one, other, alive: [false; 2], common: 0, side: Side::Before, shared: 0 }
    }

    /// Goes on; false at the end.
    #[inline(always)]
    pub(crate) fn advance(&mut self) -> Result<bool, ReadError> {
        if self.side == Side::One {
            self.alive[0] = self.one.advance()?;
            let shared = self.one.shared();
            // The usual case when one has much and the other little: nothing to compare.
            if self.alive[0] & (!self.alive[1] | (shared > self.common)) {
                self.shared = shared;
                return Ok(true);
            }
            self.choose(shared, self.common);
            return Ok(self.side != Side::End);
        }
        self.advance_seldom()
    }

    #[inline(never)]
    fn advance_seldom(&mut self) -> Result<bool, ReadError> {
        match self.side {
            Side::Other => {
                self.alive[1] = self.other.advance()?;
                self.choose(self.common, self.other.shared());
            }
            Side::Both => {
                self.alive = [self.one.advance()?, self.other.advance()?];
                self.choose(self.one.shared(), self.other.shared());
            }
            Side::Before => {
                self.alive = [self.one.advance()?, self.other.advance()?];
                self.choose(0, 0);
            }
            Side::One | Side::End => {}
        }
        Ok(self.side != Side::End)
    }

    /// Whether the present name is in the first alone.
    #[inline(always)]
    pub(crate) fn is_one(&self) -> bool {
        self.side == Side::One
    }

    /// Its value in the first, where it is there.
    #[inline(always)]
    pub(crate) fn value_of_one(&self) -> A::Value {
        self.one.value()
    }

    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<bool, ReadError> {
        self.alive = [self.one.seek(key)?, self.other.seek(key)?];
        self.choose(0, 0);
        self.shared = 0;
        Ok(self.side != Side::End)
    }

    /// Finds out whose turn it is. The numbers are the octets that each side's name shares with the one before.
    fn choose(&mut self, one: usize, other: usize) {
        (self.side, self.shared) = match self.alive {
            [false, false] => (Side::End, 0),
            [true, false] => (Side::One, one),
            [false, true] => (Side::Other, other),
            [true, true] => {
                let (order, common) = match one.cmp(&other) {
                    Ordering::Greater => (Ordering::Less, other),
                    Ordering::Less => (Ordering::Greater, one),
                    Ordering::Equal => compare(self.one.key(), self.other.key(), one),
                };
                self.common = common;
                match order {
                    Ordering::Less => (Side::One, one),
                    Ordering::Greater => (Side::Other, other),
                    Ordering::Equal => (Side::Both, one),
                }
            }
        };
    }

    #[inline(always)]
    pub(crate) fn key(&self) -> &KeyBuf {
        if self.side == Side::Other { self.other.key() } else { self.one.key() }
    }

    #[inline]
    pub(crate) const fn shared(&self) -> usize {
        self.shared
    }

    /// Its value on either side.
    #[inline]
    pub(crate) fn values(&self) -> (Option<A::Value>, Option<B::Value>) {
        match self.side {
            Side::One => (Some(self.one.value()), None),
            Side::Other => (None, Some(self.other.value())),
            Side::Both => (Some(self.one.value()), Some(self.other.value())),
            Side::Before | Side::End => (None, None),
        }
    }
}
