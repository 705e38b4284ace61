//! How a connection ended.

use strum::{EnumIter, IntoStaticStr};

/// Label of the metric `tapir_edm_input_connections_closed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum End {
    /// With STOP and FINISH.
    Finished,
    /// The sender went without STOP, between two frames.
    Closed,
    /// The sender went inside a frame.
    Cut,
    /// No progress in the handshake.
    HandshakeTimeout,
    /// Nothing came for longer than is allowed.
    Idle,
    /// TLS could not be agreed upon.
    Tls,
    /// What came is not Frame Streams with dnstap.
    Protocol,
    /// The operating system ended it.
    Broken,
    /// One connection too many.
    Limit,
    /// EDM had no thread for it, or a fault of its own.
    Failed,
    /// EDM shuts down.
    Shutdown,
}
