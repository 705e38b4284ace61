//! The lists of one moment.

use std::sync::Arc;

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
