//! Lists of domains as people write them, and as files: `tapir-edm domains`.

mod command;
mod compile;
mod inspect;

pub use command::{Command, run};
pub use compile::{Compiled, LineProblem, LineReason, Refused, Source, compile};
pub use inspect::{Inspection, inspect};
