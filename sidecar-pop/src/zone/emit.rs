//! From everything that is known to the smallest zone that means it, in one pass.
//!
//! Sources come merged, in tree order. What is inherited lies on a stack: one frame for each listed name above the present one
//! that says something about names below it. A name that is answered like its surroundings is not in the zone. Where it is not and
//! a wildcard covers it, the names between it and what was emitted last come first: they stand before it in the order and behind
//! everything else, so nothing is held back and nothing is sorted.

use std::cell::Cell;

use tapir_table::{Code, Codes, Cursor, KeyBuf, Merge, ReadError};

use super::judge::{Judge, SourceCursor, answered_below, is_within, published};

/// Walks through the zone that sources and policy make. Needs as much memory as a name has listed ancestors.
#[derive(Debug)]
pub struct Emit<'a, J: Judge, C: Cursor<Value = J::Value> = SourceCursor<<J as Judge>::Value>> {
    judge: &'a J,
    names: &'a mut Merge<C>,
    /// Octets that a key may take.
    room: usize,
    /// Only this name and what is below it.
    within: KeyBuf,
    /// Names between are emitted from here on.
    floor: usize,
    /// Names that may still be read.
    budget: Option<&'a Cell<usize>>,
    /// The first `depth` are in use; the others keep their memory.
    frames: Vec<Frame<J::Inherited>>,
    depth: usize,
    /// So many stand above everything that is emitted.
    base: usize,
    stage: Stage,
    /// What has to stand for the name that was read last.
    wanted: Codes,
    /// Octets that it shares with the name that was emitted last.
    common: usize,
    key: KeyBuf,
    shared: usize,
    value: Codes,
}

/// A name above the present one that says something about names below it.
#[derive(Clone, Debug)]
pub(super) struct Frame<I> {
    /// Octets of its key.
    pub(super) length: usize,
    pub(super) inherited: I,
    /// What follows for names below it.
    pub(super) below: Code,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    /// The next name is to be read.
    Next,
    /// Names between come, of more than so many octets, and then the name itself.
    Between(usize),
    End,
}

impl<I: Default> Frame<I> {
    /// Above everything.
    pub(super) fn root() -> Self {
        Self { length: 0, inherited: I::default(), below: Code::SILENT }
    }
}

impl<'a, J: Judge, C: Cursor<Value = J::Value>> Emit<'a, J, C> {
    /// The whole zone. `room` is the number of octets that a key may take beside the name of the zone. The cursors are walked
    /// through from where they stand, which is their beginning.
    #[must_use]
    pub fn new(judge: &'a J, names: &'a mut Merge<C>, room: usize) -> Self {
        Self {
            judge,
            names,
            room,
            within: KeyBuf::ROOT,
            floor: 0,
            budget: None,
            frames: vec![Frame::root()],
            depth: 1,
            base: 1,
            stage: Stage::Start,
            wanted: Codes::SILENT,
            common: 0,
            key: KeyBuf::ROOT,
            shared: 0,
            value: Codes::SILENT,
        }
    }

    /// Only `within` and what is below it. `frames` are those of what is above it, the shortest first. Ends early when the
    /// budget is used up.
    pub(super) fn within(
        mut self,
        within: &KeyBuf,
        frames: Vec<Frame<J::Inherited>>,
        budget: &'a Cell<usize>,
    ) -> Result<Self, ReadError> {
        self.within = *within;
        self.floor = within.borders().take_while(|border| *border < within.len()).last().unwrap_or_default();
        self.frames.extend(frames);
        self.base = self.frames.len();
        self.depth = self.base;
        self.budget = Some(budget);
        self.names.seek(within.as_bytes())?;
        Ok(self)
    }

    /// Reads on to the next name that has to be in the zone; false at the end.
    fn read(&mut self) -> Result<bool, ReadError> {
        loop {
            if let Some(budget) = self.budget {
                let Some(left) = budget.get().checked_sub(1) else { return Ok(false) };
                budget.set(left);
            }
            if !self.names.advance()? {
                return Ok(false);
            }
            if self.stage == Stage::Start {
                if !is_within(self.names.key(), &self.within) {
                    return Ok(false);
                }
                self.stage = Stage::Next;
            } else {
                let shared = self.names.shared();
                if shared < self.within.len() {
                    return Ok(false);
                }
                self.common = self.common.min(shared);
                while self.depth > 1 && self.frames.get(self.depth - 1).is_some_and(|frame| frame.length > shared) {
                    self.depth -= 1;
                }
            }
            if self.judge_name() {
                return Ok(true);
            }
        }
    }

    /// Whether the name has to be in the zone.
    fn judge_name(&mut self) -> bool {
        let (length, hits) = (self.names.key().len(), self.names.hits());
        let Some(parent) = self.depth.checked_sub(1).and_then(|top| self.frames.get(top)) else { return false };
        let around = parent.below;
        let own = self.judge.own(&parent.inherited, hits);
        let mut below = around;
        if self.judge.reaches(hits) {
            if self.frames.len() == self.depth {
                self.frames.push(Frame::root());
            }
            let (above, free) = self.frames.split_at_mut(self.depth);
            let (Some(parent), Some(frame)) = (above.last(), free.first_mut()) else { return false };
            frame.length = length;
            frame.inherited.clone_from(&parent.inherited);
            self.judge.descend(&mut frame.inherited, hits);
            frame.below = answered_below(around, self.judge.below(&frame.inherited));
            below = frame.below;
            self.depth += 1;
        }
        self.wanted = published(self.names.key(), self.room, around, Codes { own, below }, false);
        if self.wanted == Codes::SILENT {
            return false;
        }
        // Where nothing covers the name, nothing is missing between it and what is above it.
        self.stage = Stage::Between(if around.is_silent() { length } else { self.common.max(self.floor) });
        true
    }

    /// Emits the next name between, or the name itself.
    fn next_between(&mut self, from: usize) {
        let key = *self.names.key();
        for border in key.borders().skip_while(|border| *border <= from).take_while(|border| *border < key.len()) {
            // Those that are answered differently from their surroundings were emitted when it was their turn.
            let frames = self.frames.get(..self.depth).unwrap_or_default();
            let around = frames.iter().rev().find(|frame| frame.length < border).map_or(Code::SILENT, |frame| frame.below);
            if !around.is_silent() {
                self.stand(key.truncated(border), Codes::new(around, around));
                self.stage = Stage::Between(border);
                return;
            }
        }
        self.stand(key, self.wanted);
        self.stage = Stage::Next;
    }

    fn stand(&mut self, key: KeyBuf, value: Codes) {
        self.shared = self.common;
        self.common = key.len();
        (self.key, self.value) = (key, value);
    }
}

impl<J: Judge, C: Cursor<Value = J::Value>> Cursor for Emit<'_, J, C> {
    type Value = Codes;

    fn advance(&mut self) -> Result<bool, ReadError> {
        match self.stage {
            Stage::End => return Ok(false),
            Stage::Between(_) => {}
            Stage::Start | Stage::Next => {
                if !self.read()? {
                    self.stage = Stage::End;
                    return Ok(false);
                }
            }
        }
        if let Stage::Between(from) = self.stage {
            self.next_between(from);
        }
        Ok(true)
    }

    /// Takes as long as the way there: what is inherited comes from what stands before.
    fn seek(&mut self, key: &[u8]) -> Result<bool, ReadError> {
        self.names.seek(self.within.as_bytes())?;
        self.depth = self.base;
        (self.stage, self.common, self.key) = (Stage::Start, 0, KeyBuf::ROOT);
        while self.advance()? {
            if self.key.as_bytes() >= key {
                self.shared = 0;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn key(&self) -> &KeyBuf {
        &self.key
    }

    fn shared(&self) -> usize {
        self.shared
    }

    fn value(&self) -> Codes {
        self.value
    }
}
