//! The lists that are in force.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::{Clients, List};

/// All lists of one moment.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// Well-known domains; none until a good file was read.
    pub well_known: Option<Arc<List>>,
    /// Question names that are left out.
    pub ignored_names: Option<Arc<List>>,
    /// Clients that are left out.
    pub ignored_clients: Arc<Clients>,
}

/// Where readers find the lists without waiting, and where new ones are put.
#[derive(Debug, Default)]
pub struct Current(ArcSwap<Lists>);

impl Current {
    /// The lists of this moment; cheap enough for each group of frames.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Lists>> {
        self.0.load()
    }

    /// Changes some of the lists; whoever loads sees either what was or what is, never a mixture.
    pub fn change(&self, mut change: impl FnMut(&mut Lists)) {
        self.0.rcu(|lists| {
            let mut lists = Lists::clone(lists);
            change(&mut lists);
            lists
        });
    }
}
