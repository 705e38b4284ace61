//! Names that made an event already: in memory as fingerprints, on disk as a log of them.
//!
//! ```text
//! Table (one cache line for a look-up)  <--replay--  seen-N.log, seen-N+1.log, ... (marks, and marks taken back)
//! ```
//! **Generations.** A mark belongs to the generation in which it was made, and each generation has its file. The newest [`GENERATIONS`] are
//! remembered; the next one begins when the present one is full or old, and the oldest goes as a whole. So memory and disk are bounded, a name
//! is forgotten some time after it was *last* asked for, and nothing is ever rewritten: a name that is asked for while its mark is of the older
//! half is marked anew ([`Table::find`] says when).
//!
//! **False positives.** A name that was never seen is taken for one that was with a probability below 16 · 2⁻⁵⁶ < 2.3 · 10⁻¹⁶: its place must
//! hold one of at most 16 others with the same 56 bits. Beside those 56 bits the place itself stands for some 16 bits with a million names. The
//! hash is keyed with a secret of this instance, so nobody outside can look for two names that meet.
//!
//! **The clock.** Names are forgotten by age only when the clock has gone right for an hour: one that is set ahead for a moment, or wrong when a
//! machine starts, costs nothing.
//!
//! **Crashes.** What is appended survives the end of the process, and a second later that of the machine. A torn end is cut.

mod fingerprint;
mod log;
mod siphash;
mod steady;
mod table;

pub use fingerprint::{Fingerprint, Secret};
pub(super) use log::seconds;
pub use log::{Kind, Log, Opened};
pub use steady::Steady;
pub use table::{Found, Table};

/// How many generations are remembered, the present one included.
pub const GENERATIONS: u64 = 8;
