//! Files of histograms on their way to Core: kept on disk until Core has them, sent one at a time, signed.
//!
//! ```text
//! minute --Store (own thread)--> outbox/ --Sender--> 201: sent/   400, 401, 422: refused/<status>/   anything else: again, later
//! ```
//! Names and folders are upstream's. Departures from it: files are synced; each folder has bounds in octets, number and age, and its oldest go
//! first, counted; after a failure the next file's turn comes after a pause that grows; what Core refuses for good leaves the way of the others.
//! What was refused with 401 is tried again after an hour and whenever identity or address change: Core says 401 also when it cannot reach
//! the keys of its nodes, or when a clock is wrong. Where sending is forbidden, what Core does not have is removed, and nothing is
//! sent before that is done.

mod answer;
mod body;
mod connection;
mod counters;
mod folders;
mod forbidden;
mod request;
mod sender;
mod store;
mod target;

pub use answer::Refusal;
pub use counters::Counters;
pub use folders::{Bounds, Folders, PresentBounds};
pub use sender::{Pace, Sender, SenderState};
pub use store::Store;
pub use target::{Target, TargetError, trusting};
