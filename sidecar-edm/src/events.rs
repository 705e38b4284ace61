//! new_qname events: which names are new, and their way to Core (`spec/edm.md` chapter 10).
//!
//! ```text
//! connection threads --offer--> Events (seen, limits) --> queue --> Publisher --JWS over MQTT--> Core
//! ```
//! [`Events::offer`] is called for each response whose name is not on the list. It never waits for disk or network.

mod candidate;
mod counters;
mod gate;
mod publisher;
mod settings;

pub use candidate::{Candidate, Outcome};
pub use counters::Counters;
pub use gate::{Events, Held};
pub use publisher::{Broker, Publisher};
pub use settings::Settings;
