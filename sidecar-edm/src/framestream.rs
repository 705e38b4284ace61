//! Frame Streams, bidirectional, as the `fstrm` library defines it: what a resolver speaks on the dnstap socket.
//!
//! Pure: octets in, [`Action`]s out. Time limits and sockets are the business of [`crate::input`].

mod control;
mod decoder;
mod session;

pub use control::{CONTENT_TYPE, Control, ControlError, ControlType, MAX_CONTROL_LENGTH};
pub use decoder::{Decoder, Frame, FrameError, MAX_DATA_LENGTH};
pub use session::{Action, Phase, Session, SessionError};
