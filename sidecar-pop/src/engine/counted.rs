//! Counts what the policy decides, while it does.

use tapir_table::{Code, Hit};

use super::world::World;
use crate::metrics::{Deciding, Occasion, Pass};
use crate::zone::judge::Judge;
use crate::zone::known::Known;
use crate::zone::weigh::{Weigh, Word};

/// One pass over names. What it decided counts when that is told: a pass that nobody wants any more decided nothing.
#[derive(Debug)]
pub(super) struct Counted<'a> {
    judge: &'a Weigh,
    deciding: &'a Deciding,
    pass: Pass,
}

impl<'a> Counted<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        Self { judge: &world.judge, deciding: &world.deciding, pass: world.deciding.pass() }
    }

    pub(super) fn tell(&self, occasion: Occasion) {
        self.deciding.tell(&self.pass, occasion);
    }
}

impl Judge for Counted<'_> {
    type Value = Known;
    type Inherited = Vec<Word>;

    fn reaches(&self, hits: &[Hit<Known>]) -> bool {
        self.judge.reaches(hits)
    }

    fn own(&self, inherited: &Vec<Word>, hits: &[Hit<Known>]) -> Code {
        let decision = self.judge.decision(inherited, hits);
        self.pass.count(&decision);
        self.judge.published(&decision)
    }

    fn descend(&self, inherited: &mut Vec<Word>, hits: &[Hit<Known>]) {
        self.judge.descend(inherited, hits);
    }

    fn below(&self, inherited: &Vec<Word>) -> Code {
        self.judge.below(inherited)
    }
}
