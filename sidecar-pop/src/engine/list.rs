//! What is held of a source that tells its content: the last whole, and changes since.

use std::sync::Arc;

use tapir_table::{Code, Codes, KeyBuf, Palette, Tree};

use crate::feeds::{Health, Meta, SourceNews};
use crate::zone::known::Known;
use crate::zone::source::{AnySource, Kept, Meaning};

/// Changes that are kept beside a table at most; who sends more sends the whole anew.
pub(super) const MOST_CHANGES: usize = 1 << 20;

/// A source that is no source of observations.
#[derive(Debug)]
pub(super) struct List {
    /// What it says.
    pub(super) kept: Kept<Codes>,
    /// Counts up with each whole: changes of one do not fit another.
    pub(super) whole: u64,
    /// About the content.
    pub(super) meta: Meta,
    /// How it is with it; `None` before it was heard of.
    pub(super) health: Option<Health>,
}

impl Default for List {
    fn default() -> Self {
        Self {
            kept: Kept::nothing(meaning(&Palette::default(), &mut Palette::default())),
            whole: 0,
            meta: Meta::default(),
            health: None,
        }
    }
}

/// What is to be decided again after news.
#[derive(Debug)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// These names: what the source said and says of them.
    Touched(Vec<(KeyBuf, [Known; 2])>),
    /// Everything.
    All,
}

impl List {
    /// Takes news. Local data goes into the zone's palette.
    pub(super) fn take(&mut self, news: SourceNews, zone: &mut Palette) -> Effect {
        match news {
            SourceNews::Whole { table, palette, meta } => {
                self.kept = Kept { table: Some(table), changes: Tree::new(), known: meaning(&palette, zone) };
                self.whole += 1;
                self.health = Some(Health::good(meta.fetched_at, meta.expires_at));
                self.meta = meta;
                Effect::All
            }
            SourceNews::Changes { list, palette, meta } => {
                self.kept.known = meaning(&palette, zone);
                self.health = Some(Health::good(meta.fetched_at, meta.expires_at));
                self.meta = meta;
                let mut touched = Vec::with_capacity(list.len());
                for (key, codes) in list {
                    let before = self.says(&key);
                    self.kept.changes.insert(&key, codes);
                    touched.push((key, [before, (self.kept.known)(codes)]));
                }
                Effect::Touched(touched)
            }
            // Goes to the source's observations, which are no list.
            SourceNews::Observed(_) | SourceNews::Coming => Effect::None,
            SourceNews::Health(health) => {
                self.meta.expires_at = health.expires_at;
                self.health = Some(health);
                Effect::None
            }
            SourceNews::Expired(health) => {
                let held = self.kept.table.is_some() || !self.kept.changes.is_empty();
                // Where nothing was held, everyone who has this source still has what is held.
                if held {
                    self.kept = Self::default().kept;
                    self.whole += 1;
                }
                self.meta = Meta {
                    rejected: std::mem::take(&mut self.meta.rejected),
                    fetched_at: self.meta.fetched_at,
                    ..Meta::default()
                };
                self.health = Some(health);
                if held { Effect::All } else { Effect::None }
            }
        }
    }

    /// As one of the sources of a world.
    #[must_use]
    pub(super) fn source(&self) -> AnySource {
        AnySource::List(self.kept.clone())
    }

    fn says(&self, key: &KeyBuf) -> Known {
        let codes = self.kept.changes.get(key.as_bytes()).or_else(|| {
            let mut trail = tapir_table::Trail::new();
            self.kept.table.as_ref()?.get(key.as_bytes(), &mut trail).ok()?
        });
        codes.map_or(Known::Nothing, |codes| (self.kept.known)(codes))
    }
}

/// What codes mean whose local data stands in a palette of the source's own.
fn meaning(own: &Palette, zone: &mut Palette) -> Meaning<Codes> {
    if own.sets().is_empty() {
        return Arc::new(Known::Listed);
    }
    // Where the zone's palette is full, local data becomes what blocks and says the least that is wrong.
    let codes: Vec<Code> = own.sets().iter().map(|set| zone.intern(set.clone()).unwrap_or(Code::NXDOMAIN)).collect();
    let of = move |code: Code| match code.set_index() {
        Some(index) => codes.get(usize::from(index)).copied().unwrap_or(Code::NXDOMAIN),
        None => code,
    };
    Arc::new(move |Codes { own, below }| Known::Listed(Codes { own: of(own), below: of(below) }))
}
