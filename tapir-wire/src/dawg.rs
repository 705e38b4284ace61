//! Word lists as minimal acyclic graphs (DAWG), the file format of Core's lists of well-known domains.

mod bits;
mod compile;
mod domain_set;
mod read;
mod scan;
mod walk;

pub use compile::{CompileError, compile};
pub use domain_set::{DomainMatch, DomainSet};
pub use read::{Dawg, DawgError, Header};
pub use scan::scan;
pub use walk::{Octets, WalkError, walk};
