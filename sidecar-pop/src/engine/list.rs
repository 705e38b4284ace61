//! What is held of a source that tells its content: the last whole, and changes since.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use tapir_table::{Code, Codes, Cursor as _, KeyBuf, Palette, ReadError, TableFile, Tree};

use crate::feeds::{Health, Meta, SourceNews};
use crate::zone::judge::Source as _;
use crate::zone::known::Known;
use crate::zone::sets::Sets;
use crate::zone::source::{AnySource, Kept, Meaning};

/// Changes that are kept beside a table at most; who sends more sends the whole anew.
pub(super) const MOST_CHANGES: usize = 1 << 20;

/// A source that is no source of observations.
#[derive(Debug, Default)]
pub(super) struct List {
    /// As it came whole.
    table: Option<Arc<TableFile<Codes>>>,
    /// Changes since; what is silent there is gone.
    pub(super) changes: Tree<Codes>,
    /// Local data that its codes mean.
    own: Arc<Palette>,
    /// Counts up with each whole: changes of one do not fit another.
    pub(super) whole: u64,
    /// About the content.
    pub(super) meta: Meta,
    /// How it is with it; `None` before it was heard of.
    pub(super) health: Option<Health>,
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
    /// Takes news.
    pub(super) fn take(&mut self, news: SourceNews) -> Effect {
        match news {
            SourceNews::Whole { table, palette, meta } => {
                (self.table, self.changes, self.own) = (Some(table), Tree::new(), palette);
                self.whole += 1;
                self.health = Some(Health::good(meta.fetched_at, meta.expires_at));
                self.meta = meta;
                Effect::All
            }
            SourceNews::Changes { list, palette, meta } => {
                self.own = palette;
                self.health = Some(Health::good(meta.fetched_at, meta.expires_at));
                self.meta = meta;
                let mut touched = Vec::with_capacity(list.len());
                for (key, codes) in list {
                    let before = self.says(&key);
                    self.changes.insert(&key, codes);
                    touched.push((key, [before, Known::Listed(codes)]));
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
                let held = self.table.is_some() || !self.changes.is_empty();
                // Where nothing was held, everyone who has this source still has what is held.
                if held {
                    (self.table, self.changes, self.own) = (None, Tree::new(), Arc::default());
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

    /// As one of the sources of a world whose codes mean these sets.
    #[must_use]
    pub(super) fn source(&self, zone: &Sets, lost: &Lost) -> AnySource {
        AnySource::List(Kept { known: meaning(&self.own, zone, lost), ..self.plain() })
    }

    /// The same with its own codes.
    fn plain(&self) -> Kept<Codes> {
        Kept { table: self.table.clone(), changes: self.changes.clone(), known: Arc::new(Known::Listed) }
    }

    /// For whoever wants to know what had no room.
    #[must_use]
    pub(super) fn asking(&self) -> Asking {
        Asking { says: self.plain(), own: Arc::clone(&self.own) }
    }

    /// In its own codes, of which nobody wants to know which local data they mean.
    fn says(&self, key: &KeyBuf) -> Known {
        let codes = self.changes.get(key.as_bytes()).or_else(|| {
            let mut trail = tapir_table::Trail::new();
            self.table.as_ref()?.get(key.as_bytes(), &mut trail).ok()?
        });
        codes.map_or(Known::Nothing, Known::Listed)
    }
}

/// A list as it asks for local data.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    says: Kept<Codes>,
    own: Arc<Palette>,
}

impl Asking {
    /// How many of its names ask for local data that this palette does not have.
    pub(super) fn without(&self, zone: &Palette) -> Result<u64, ReadError> {
        let missing: Vec<bool> = self.own.sets().iter().map(|set| zone.find(set).is_none()).collect();
        let is_missing =
            |code: Code| code.set_index().is_some_and(|index| missing.get(usize::from(index)).copied().unwrap_or(true));
        let (mut names, mut cursor) = (0, self.says.cursor());
        while cursor.advance()? {
            if let Known::Listed(codes) = cursor.value() {
                names += u64::from(is_missing(codes.own) || is_missing(codes.below));
            }
        }
        Ok(names)
    }
}

/// What codes mean whose local data stands in a palette of the source's own: nothing takes a place in the zone's before somebody asks for it.
/// What has no room there blocks and says the least that is wrong, which `lost` tells from then on.
fn meaning(own: &Arc<Palette>, zone: &Sets, lost: &Lost) -> Meaning<Codes> {
    if own.sets().is_empty() {
        return Arc::new(Known::Listed);
    }
    let (own, zone, lost) = (Arc::clone(own), zone.clone(), lost.clone());
    let codes: Vec<AtomicU16> = own.sets().iter().map(|_| AtomicU16::new(UNKNOWN)).collect();
    let of = move |code: Code| {
        let Some(index) = code.set_index().map(usize::from) else { return code };
        let (Some(known), Some(set)) = (codes.get(index), own.sets().get(index)) else { return Code::NXDOMAIN };
        // Who looks at the same time finds the same.
        let known_code = known.load(Ordering::Relaxed);
        if known_code != UNKNOWN {
            return Code::from_number(known_code).unwrap_or(Code::NXDOMAIN);
        }
        let Some(code) = zone.code(set) else {
            lost.0.store(true, Ordering::Relaxed);
            return Code::NXDOMAIN;
        };
        known.store(code.number(), Ordering::Relaxed);
        code
    };
    Arc::new(move |Codes { own, below }| Known::Listed(Codes { own: of(own), below: of(below) }))
}

/// No code of local data.
const UNKNOWN: u16 = 0;

/// Whether local data of a source had no room.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost(Arc<AtomicBool>);

impl Lost {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
