//! What is decided about one name and everything above it.

use tapir_table::{Code, Codes, Hit, KeyBuf, ReadError};

use super::emit::Frame;
use super::judge::{Judge, Source, answered_below};

/// One name of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Octets of its key.
    pub(super) length: usize,
    /// How its surroundings are answered.
    pub(super) around: Code,
    /// How it should be answered, and names below it that are not listed.
    pub(super) wanted: Codes,
}

/// A name and everything above it, from the top down.
#[derive(Debug)]
pub(super) struct Path<I> {
    pub(super) steps: Vec<Step>,
    /// What is inherited, of the names above it that say something.
    pub(super) frames: Vec<Frame<I>>,
}

impl<I: Clone + Default> Path<I> {
    /// Asks all sources.
    pub(super) fn of<J, S>(judge: &J, sources: &[S], key: &KeyBuf) -> Result<Self, ReadError>
    where
        J: Judge<Inherited = I>,
        S: Source<Value = J::Value>,
    {
        let mut said: Vec<(usize, Hit<J::Value>)> = Vec::new();
        let mut of_one = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            source.path(key.as_bytes(), &mut of_one)?;
            said.extend(of_one.drain(..).map(|(length, value)| (length, Hit { index, value })));
        }
        // Stable: at each name, sources keep their order.
        said.sort_by_key(|(length, _)| *length);
        let mut said = said.into_iter().peekable();
        let (mut hits, mut inherited, mut around) = (Vec::new(), I::default(), Code::SILENT);
        let mut path = Self { steps: Vec::new(), frames: Vec::new() };
        for length in key.borders() {
            hits.clear();
            while let Some((_, hit)) = said.next_if(|(at, _)| *at <= length) {
                hits.push(hit);
            }
            let mut step = Step { length, around, wanted: Codes::new(around, around) };
            if !hits.is_empty() {
                step.wanted.own = judge.own(&inherited, &hits);
                if judge.reaches(&hits) {
                    judge.descend(&mut inherited, &hits);
                    around = answered_below(around, judge.below(&inherited));
                    step.wanted.below = around;
                    if length < key.len() {
                        path.frames.push(Frame { length, inherited: inherited.clone(), below: around });
                    }
                }
            }
            path.steps.push(step);
        }
        Ok(path)
    }
}
