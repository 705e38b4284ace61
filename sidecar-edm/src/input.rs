//! The dnstap socket. It is always drained: what cannot be processed is dropped and counted, the resolver never waits.

mod connection;
mod frames;
mod listener;
mod socket;

pub use connection::{End, HANDSHAKE_LIMIT};
pub use frames::{FrameQueue, Frames, QueuedFrame, frame_queue};
pub use listener::{Listener, MAX_CONNECTIONS, SocketState};
