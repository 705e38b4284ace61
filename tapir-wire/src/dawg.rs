//! Word lists as minimal acyclic graphs (DAWG), the file format of Core's lists of well-known domains.

mod bits;
mod compile;
mod domain_set;
mod graph;
mod layout;
mod read;
mod scan;
mod walk;
mod words;

pub use compile::{CompileError, compile};
pub use domain_set::{DomainMatch, DomainSet};
pub use read::{Dawg, DawgError, Header};
pub use scan::{Scan, scan};
pub use walk::{Octets, WalkError, walk};
pub use words::Part;
