//! Sources that POP goes and gets: files, feeds, lists on web servers, the edge's other POPs.
//!
//! Each runs on its own and tells the engine what it has through a bounded channel ([`Told`]); none of them knows of another, of the
//! policy or of the zone. What comes from outside is judged here: what the engine is told is whole, in order, and fits the zone.

mod aside;
mod begun;
pub mod bootstrap;
pub mod collect;
mod failures;
pub mod file;
pub mod https;
pub mod lists;
pub mod locals;
mod news;
pub mod others;
pub mod peers;
pub mod record;
mod rejected;
pub mod rpz;
pub mod store;
mod teller;

pub(crate) use aside::again_and_again;
pub(crate) use failures::Failed;
pub use failures::Failures;
pub use news::{Health, Meta, NewsSender, SourceNews, Told, channel};
pub use rejected::Rejected;
