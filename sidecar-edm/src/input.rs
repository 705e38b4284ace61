//! The dnstap input: sockets, handshakes, frames. The resolver never waits, and whatever it does costs one connection only.
//!
//! ```text
//! accept --socket--> a thread for each connection: read -> [`reader`] finds the frames in the [`buffer`] -> [`sink`], 16 at a time
//!                    and one that stands in for those whose sink does not come back: read -> drop, counted
//! ```
//! There is no queue: the sink works on the frames where they were read. What a connection holds is bounded by two buffers; how far it is
//! behind is measured in [`lag`].

pub mod accept;
pub mod buffer;
mod connections;
mod control;
pub mod counts;
mod end;
pub mod endpoint;
pub mod lag;
mod line;
mod peer;
pub mod reader;
pub mod sink;
mod socket;
mod suspects;
pub mod tls;

pub use accept::{Input, InputState, Limits};
pub use counts::Counts;
pub use end::End;
pub use endpoint::Endpoint;
