//! The file of one minute's histogram (upstream's schema and names; see `docs` of the aggregate in Core's data set description).
//!
//! [`fn@write`] takes rows from whoever counted them, [`Interval`] gives the file its name and the upload its header, [`labels`] splits an
//! entry of the list into columns. A departure from upstream: the footer names the [`Instance`](crate::instance::Instance) that wrote the
//! file, since Core takes two files of equal octets for one, and two Pods of an edge may well have seen the same in one minute.

mod interval;
mod labels;
mod rows;
mod schema;

pub use interval::{Interval, NameError, until_next_minute};
pub use labels::{LABELS, labels};
pub(crate) use rows::created_by;
pub use rows::{Clients, Minute, Row, Written, write};
pub use schema::SCHEMA;
