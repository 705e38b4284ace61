//! What EDM is told: the file, what command line and environment lay over it, and the files that it names.
//!
//! What the keys are and what they may say is [`tapir_wire::config::edm`]'s. Here it becomes what the program works with: where resolvers
//! connect ([`endpoint`]), who this edge is and where Core is ([`identity`]), which names are left out ([`names`]).

pub mod endpoint;
mod file;
pub mod identity;
pub mod names;

pub use file::{ConfigFile, Unread};
