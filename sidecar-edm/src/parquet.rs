//! A small streaming writer of Apache Parquet files (format 2.x): flat schemas, PLAIN values, Snappy, data pages of version 1.
//!
//! Row groups are written as they fill, so memory depends on [`Bounds`] and the schema, not on the number of rows: what is kept of a
//! finished group are its few hundred octets of footer. Every reader knows these encodings; which ones a file uses, Core does not care.

mod column;
mod footer;
mod schema;
mod thrift;
mod writer;

pub use schema::{Column, Kind, Schema};
pub use writer::{Bounds, Value, WriteError, Writer};
