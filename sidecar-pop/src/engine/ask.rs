//! Answers of the engine: what it holds, for others to walk through.

use tapir_wire::config::pop::List;

use super::Engine;
use super::observe::Core;
use crate::admin::Question;
use crate::knowledge::listings::Knowledge;
use crate::status::rows::CoreRow;

impl Engine {
    /// Who asked may have gone meanwhile.
    pub(super) fn answer(&self, question: Question) {
        match question {
            Question::Knowledge(reply) => {
                let sources = self.world.as_ref().map(|world| {
                    let classes = world.judge.origins.iter().map(|origin| (origin.list, origin.records));
                    let named = world.names.iter().zip(&world.sources).zip(classes);
                    named
                        .map(|((name, source), (list, records)): (_, (List, bool))| (name.clone(), source.clone(), list, records))
                });
                _ = reply.send(Knowledge::new(sources.into_iter().flatten()));
            }
            Question::Observations(reply) => {
                let sources = self.cores.iter().map(|(name, core)| (name.clone(), core.observations.clone()));
                _ = reply.send(sources.collect());
            }
            Question::Bump(reply) => {
                self.published.send_modify(|_| {});
                _ = reply.send(());
            }
        }
    }
}

pub(super) fn core_row(core: &Core) -> CoreRow {
    CoreRow { entries: core.observations.live().len() as u64, refused: core.refused, updated_at: core.updated_at }
}
