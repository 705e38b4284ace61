//! Names that carry addresses themselves make no event: they would take a client's address to Core in plain text. And a crash leaves no memory behind.

mod address;
mod memory;
mod zones;

pub use address::embeds;
pub use memory::hide_memory;
pub use zones::{Zone, zone};
