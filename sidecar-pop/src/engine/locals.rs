//! Places for local data: a zone has room for so many different sets ([`MAX_SETS`](tapir_table::MAX_SETS)), and gets them all back whenever it is
//! made anew.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use super::world::Unplaced;
use crate::status::Trouble;

/// Where something has no room although all was made anew, it is tried again so long after that, if anything changed.
const RETRY: Duration = Duration::from_secs(60);

/// How it was when the zone was made.
#[derive(Debug, Default)]
pub(super) struct Made {
    at: Option<Instant>,
    /// Sets of local data.
    sets: usize,
    /// Sources of which some had no room.
    lost: usize,
}

impl Engine {
    /// A zone took over that was made anew.
    pub(super) fn placed(&mut self, unplaced: &Unplaced) {
        let Some(world) = &mut self.world else { return };
        world.made();
        self.made = Made { at: Some(Instant::now()), sets: self.sets.len(), lost: unplaced.names.len() };
        let of = |source: &Arc<str>| unplaced.names.iter().find(|(known, _)| known == source).map_or(0, |(_, names)| *names);
        self.telemetry.metrics.unplaced(world.names.iter().map(|source| (Arc::clone(source), of(source))));
        let text = unplaced.text(self.room);
        if let Some(error) = &text {
            tracing::error!(error, "local data has no room in the zone");
        }
        self.telemetry.trouble(Trouble::LocalData, text);
        // What changed while it was made may have come to nothing for what is gone by now.
        self.look_for_room();
    }

    /// Names were decided, which may have taken places: before there are none the zone is made anew.
    pub(super) fn look_for_room(&mut self) {
        let Some(world) = &self.world else { return };
        if self.running.as_mut().and_then(super::Running::rebuild).is_some() {
            return;
        }
        let (sets, room) = (self.sets.len(), usize::from(self.room));
        let is_crowded = sets * 4 >= room * 3 && sets >= self.made.sets * 2;
        let has_lost = world.lost() > self.made.lost;
        let tries_again = self.made.lost > 0 && self.made.at.is_none_or(|at| at.elapsed() >= RETRY);
        self.wanted.rebuild |= is_crowded || has_lost || tries_again;
    }
}

impl Unplaced {
    fn text(&self, room: u16) -> Option<String> {
        let names = self.names.iter().filter(|(_, names)| *names > 0);
        let mut parts: Vec<String> = names.map(|(source, names)| format!("{names} names of {source}")).collect();
        if self.redirects > 0 {
            parts.push(format!("{} redirects of deny and doubt", self.redirects));
        }
        (!parts.is_empty()).then(|| {
            format!(
                "local data: the zone has room for {room} different sets of records, so NXDOMAIN is the answer in place of local data for {}; let \
                 sources ask for fewer different redirects",
                parts.join(", ")
            )
        })
    }
}
