//! What changed from one version of a zone to another.

use std::sync::Arc;

use tapir_table::{Codes, Cursor, Palette, ReadError, Tree, TreeCursor, Value, Written};

/// A name's codes before and now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Before.
    pub old: Codes,
    /// Now.
    pub new: Codes,
}

impl Changed {
    /// What is gone.
    #[must_use]
    pub fn removed(self) -> Codes {
        differing(self.old, self.new)
    }

    /// What is new.
    #[must_use]
    pub fn added(self) -> Codes {
        differing(self.new, self.old)
    }
}

fn differing(one: Codes, other: Codes) -> Codes {
    let mut codes = one;
    if one.own == other.own {
        codes.own = Codes::SILENT.own;
    }
    if one.below == other.below {
        codes.below = Codes::SILENT.below;
    }
    codes
}

impl Value for Changed {
    const KIND: u8 = 9;
    const ALWAYS_INLINE: bool = true;

    fn write(&self, to: &mut Written) {
        self.old.write(to);
        self.new.write(to);
    }

    fn read(from: &[u8], at: &mut usize) -> Option<Self> {
        Some(Self { old: Codes::read(from, at)?, new: Codes::read(from, at)? })
    }
}

/// The versions that a step leads from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Serial before.
    pub from: u32,
    /// Serial behind it.
    pub to: u32,
}

/// Steps from one version to another, the oldest first, each beginning with the version that the one before leads to.
pub trait Steps {
    /// Walks through the names that a step changes.
    type Cursor: Cursor<Value = Changed>;

    /// Goes on to the next step; `None` at the end.
    fn advance(&mut self) -> Result<Option<Step>, ReadError>;

    /// Local data that codes of the present step mean, where it is not that of the zone.
    fn palette(&self) -> Option<Arc<Palette>> {
        None
    }

    /// The changes of the present step, from the beginning. Called twice: once for what is gone, once for what is new.
    fn changes(&self) -> Result<Self::Cursor, ReadError>;
}

/// No steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSteps;

impl Steps for NoSteps {
    type Cursor = TreeCursor<Changed>;

    fn advance(&mut self) -> Result<Option<Step>, ReadError> {
        Ok(None)
    }

    fn changes(&self) -> Result<Self::Cursor, ReadError> {
        Ok(Tree::new().cursor())
    }
}

/// Several steps as one (RFC 1995 section 5): what came and went in between is not told.
#[derive(Clone, Debug)]
pub struct Condensed {
    step: Option<Step>,
    changes: Tree<Changed>,
    palette: Option<Arc<Palette>>,
}

impl Condensed {
    /// All steps at once; `None` if more than `limit` changes are to be looked at, or one palette has no room for all their local data.
    pub fn of<T: Steps>(mut steps: T, limit: usize) -> Result<Option<Self>, ReadError> {
        let (mut whole, mut changes, mut seen) = (None::<Step>, Tree::new(), 0);
        let mut palette: Option<Arc<Palette>> = None;
        while let Some(step) = steps.advance()? {
            let present = steps.palette();
            if let (Some(before), Some(now)) = (&palette, &present)
                && !Arc::ptr_eq(before, now)
                && !now.sets().starts_with(before.sets())
            {
                return Ok(None);
            }
            palette = present;
            whole = Some(Step { from: whole.map_or(step.from, |whole| whole.from), to: step.to });
            let mut cursor = steps.changes()?;
            while cursor.advance()? {
                seen += 1;
                if seen > limit {
                    return Ok(None);
                }
                let Changed { old, new } = cursor.value();
                let before = changes.get(cursor.key().as_bytes());
                let old = before.map_or(old, |before: Changed| before.old);
                if old == new {
                    changes.remove(cursor.key().as_bytes());
                } else {
                    changes.insert(cursor.key(), Changed { old, new });
                }
            }
        }
        Ok(Some(Self { step: whole, changes, palette }))
    }

    /// Names that differ.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether none does.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl Steps for Condensed {
    type Cursor = TreeCursor<Changed>;

    fn advance(&mut self) -> Result<Option<Step>, ReadError> {
        Ok(self.step.take())
    }

    fn palette(&self) -> Option<Arc<Palette>> {
        self.palette.clone()
    }

    fn changes(&self) -> Result<Self::Cursor, ReadError> {
        Ok(self.changes.cursor())
    }
}
