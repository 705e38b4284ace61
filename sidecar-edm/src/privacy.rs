//! Names that carry addresses themselves make no event: they would take a client's address to Core in plain text.

mod address;
mod zones;

pub use address::embeds;
pub use zones::is_special_use;
