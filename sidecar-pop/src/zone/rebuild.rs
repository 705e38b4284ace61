//! A zone made anew while the old one is served and goes on changing.
//!
//! A builder emits everything once, writes it down and notes where it differs from what was published when it began. What was
//! touched meanwhile is decided again when the new zone takes over, so both together are one change from what is published then.
//! Merging works the same way with nothing decided: base and older changes become a new base.

use std::io::Write;
use std::sync::Arc;

use tapir_table::{Bulk, Codes, Cursor, Diff, Overlay, ReadError, TableFile, TableWriter, Tree, WriteError};

use super::emit::Emit;
use super::judge::{Judge, Source};
use super::layers::Layers;
use super::tally::Tally;
use super::touch::{Changed, Touch, TouchError, Touched};

/// Why a new base could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// A source or the zone cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk does not take it.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Told so from elsewhere.
    #[error("the rebuild was given up")]
    GivenUp,
}

/// Names after which a builder looks whether it should go on.
const LOOK_EVERY: usize = 4096;

/// Emits everything into `writer`. Returns what `published` says of every name that will be different (`same` tells which codes mean the same),
/// and how much was written. `goes_on` is asked now and then.
pub fn rebuild<J, C, W>(
    emit: Emit<'_, J, C>,
    published: &Layers,
    mut same: impl FnMut(Codes, Codes) -> bool,
    writer: &mut TableWriter<W>,
    goes_on: impl Fn() -> bool,
) -> Result<(Tree<Codes>, Tally), RebuildError>
where
    J: Judge,
    C: Cursor<Value = J::Value>,
    W: Write,
{
    // In order and often all of it: written once, and packed.
    let mut differs = Bulk::new();
    let mut diff = Diff::new(published.cursor(), emit);
    let (mut tally, mut count) = (Tally::default(), 0);
    while diff.step()? {
        let change = diff.change();
        if !same(change.old, change.new) {
            differs.push(diff.key(), change.old);
        }
        if change.new != Codes::SILENT {
            writer.push(diff.key(), change.new)?;
            tally.add(change.new);
        }
        count += 1;
        if count % LOOK_EVERY == 0 && !goes_on() {
            return Err(RebuildError::GivenUp);
        }
    }
    Ok((differs.finish(), tally))
}

/// Writes base and older changes into `writer`: how much that is. When that is finished, [`Layers::rebase`] goes over to it.
pub fn merge<W: Write>(layers: &Layers, writer: &mut TableWriter<W>, goes_on: impl Fn() -> bool) -> Result<Tally, RebuildError> {
    let mut zone = Overlay::new(layers.base.scan(), layers.frozen.cursor());
    let (mut tally, mut count) = (Tally::default(), 0);
    while zone.advance()? {
        writer.push(zone.key(), zone.value())?;
        tally.add(zone.value());
        count += 1;
        if count % LOOK_EVERY == 0 && !goes_on() {
            return Err(RebuildError::GivenUp);
        }
    }
    Ok(tally)
}

/// A zone that was made anew and is not published so far.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// What [`rebuild`] wrote.
    pub base: Arc<TableFile>,
    /// What it returned.
    pub differs: Tree<Codes>,
}

impl Rebuilt {
    /// Takes over from `published`. `meanwhile` holds the names in which that differs from what it was when the builder began,
    /// with any value. `touched` are all names of which sources said something else since then, in ascending order: they are
    /// decided again, by the `judge` and from the `sources` that the new zone was made with and that know of it by now.
    pub fn swap<J: Judge, S: Source<Value = J::Value>>(
        self,
        (judge, sources, room): (&J, &[S], usize),
        touched: impl IntoIterator<Item = Touched>,
        published: &Layers,
        meanwhile: &Tree<Codes>,
        budget: usize,
    ) -> Result<Changed, TouchError> {
        let mut touch = Touch::new(judge, sources, room, &Layers::new(self.base), budget);
        touch.touch(touched)?;
        let Changed { layers, before: again } = touch.finish();
        // What was published of a name is what the builder saw, except where something happened since.
        let mut before = self.differs;
        for names in [meanwhile, &again] {
            let mut names = names.cursor();
            while names.advance()? {
                before.insert(names.key(), published.get(names.key().as_bytes())?);
            }
        }
        Ok(Changed { layers, before })
    }
}
