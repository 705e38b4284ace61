//! Many cursors as one: a tournament in which every name remembers how much it shares with the one that it lost to, so that most
//! rounds compare two numbers.

use std::cmp::Ordering;

use crate::cursor::{Cursor, ReadError};
use crate::key::KeyBuf;
use crate::pair::compare;

/// A cursor that has the present name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<V> {
    /// Its index.
    pub index: usize,
    /// What it says.
    pub value: V,
}

/// Every name that one of many cursors has, once, with all that they say of it.
#[derive(Debug)]
pub struct Merge<C: Cursor> {
    cursors: Vec<C>,
    alive: Vec<bool>,
    /// Octets that each shares with the one that it lost to; the winner: with the name before.
    common: Vec<usize>,
    /// The loser of each round; the round at index 1 is the final, those of index n come from 2n and 2n+1, and at the number of
    /// cursors and beyond stand the cursors themselves.
    losers: Vec<usize>,
    winner: Option<usize>,
    started: bool,
    key: KeyBuf,
    shared: usize,
    hits: Vec<Hit<C::Value>>,
}

impl<C: Cursor> Merge<C> {
    /// Of these.
    #[must_use]
    pub fn new(cursors: Vec<C>) -> Self {
        let count = cursors.len();
        Self {
            cursors,
            alive: vec![false; count],
            common: vec![0; count],
            losers: vec![0; count],
            winner: None,
            started: false,
            key: KeyBuf::ROOT,
            shared: 0,
            hits: Vec::with_capacity(count),
        }
    }

    /// Goes on to the next name; false at the end.
    pub fn advance(&mut self) -> Result<bool, ReadError> {
        if !self.started {
            for (cursor, alive) in self.cursors.iter_mut().zip(&mut self.alive) {
                *alive = cursor.advance()?;
            }
            self.start();
        }
        self.hits.clear();
        let Some(first) = self.winner else { return Ok(false) };
        self.shared = self.common_of(first);
        if let Some(cursor) = self.cursors.get(first) {
            self.key = *cursor.key();
        }
        // The winner moves on at once; what is left of it is the copy of its key.
        while let Some(index) = self.winner {
            let Some(cursor) = self.cursors.get_mut(index) else { break };
            let same =
                self.hits.is_empty() || (self.common.get(index) == Some(&self.key.len()) && cursor.key().len() == self.key.len());
            if !same {
                break;
            }
            self.hits.push(Hit { index, value: cursor.value() });
            let alive = cursor.advance()?;
            let shared = cursor.shared();
            self.set(index, alive, shared);
            self.replay(index);
        }
        Ok(true)
    }

    /// Goes so far that the next name is the first that is not before `key`. Backward too.
    pub fn seek(&mut self, key: &[u8]) -> Result<(), ReadError> {
        for (cursor, alive) in self.cursors.iter_mut().zip(&mut self.alive) {
            *alive = cursor.seek(key)?;
        }
        self.start();
        Ok(())
    }

    /// The name.
    pub const fn key(&self) -> &KeyBuf {
        &self.key
    }

    /// Octets that it shares with the one before.
    pub const fn shared(&self) -> usize {
        self.shared
    }

    /// The cursors that have it, in the order in which they were given.
    pub fn hits(&self) -> &[Hit<C::Value>] {
        &self.hits
    }

    /// The whole tournament.
    fn start(&mut self) {
        self.started = true;
        let count = self.cursors.len();
        // Winners of all rounds, from the last to the first.
        let mut winners: Vec<usize> = (0..2 * count).map(|round| round.saturating_sub(count)).collect();
        for round in (1..count).rev() {
            let (Some(&one), Some(&other)) = (winners.get(2 * round), winners.get(2 * round + 1)) else { continue };
            let (winner, loser) = self.play(one, other);
            if let (Some(to), Some(lost)) = (winners.get_mut(round), self.losers.get_mut(round)) {
                (*to, *lost) = (winner, loser);
            }
        }
        let last = if count == 1 { Some(0) } else { winners.get(1).copied() };
        self.winner = last.filter(|winner| self.alive.get(*winner) == Some(&true));
        if let Some(winner) = self.winner {
            self.set(winner, true, 0);
        }
    }

    /// The rounds from a cursor up to the final. All losers there lost to the name before.
    fn replay(&mut self, mut candidate: usize) {
        let mut round = usize::midpoint(candidate, self.cursors.len());
        while round > 0 {
            let Some(&loser) = self.losers.get(round) else { break };
            let (winner, lost) = self.play_again(candidate, loser);
            candidate = winner;
            if let Some(to) = self.losers.get_mut(round) {
                *to = lost;
            }
            round /= 2;
        }
        self.winner = Some(candidate).filter(|winner| self.alive.get(*winner) == Some(&true));
    }

    /// A round between two of which nothing is known: winner and loser.
    fn play(&mut self, one: usize, other: usize) -> (usize, usize) {
        self.set_common(one, 0);
        self.set_common(other, 0);
        self.play_again(one, other)
    }

    /// A round between two that both know how much they share with the same name before them.
    fn play_again(&mut self, one: usize, other: usize) -> (usize, usize) {
        let alive = |index: usize| self.alive.get(index) == Some(&true);
        match (alive(one), alive(other)) {
            (true, true) => {}
            (false, true) => return (other, one),
            _ => return (one, other),
        }
        let (of_one, of_other) = (self.common_of(one), self.common_of(other));
        match of_one.cmp(&of_other) {
            Ordering::Greater => return (one, other),
            Ordering::Less => return (other, one),
            Ordering::Equal => {}
        }
        let (Some(first), Some(second)) = (self.cursors.get(one), self.cursors.get(other)) else { return (one, other) };
        let (order, common) = compare(first.key(), second.key(), of_one);
        // Equal names: the one that was given first.
        let (winner, loser) = if order.then(one.cmp(&other)).is_lt() { (one, other) } else { (other, one) };
        self.set_common(loser, common);
        (winner, loser)
    }

    fn common_of(&self, index: usize) -> usize {
        self.common.get(index).copied().unwrap_or_default()
    }

    fn set_common(&mut self, index: usize, common: usize) {
        if let Some(to) = self.common.get_mut(index) {
            *to = common;
        }
    }

    fn set(&mut self, index: usize, alive: bool, common: usize) {
        if let Some(to) = self.alive.get_mut(index) {
            *to = alive;
        }
        self.set_common(index, common);
    }
}
