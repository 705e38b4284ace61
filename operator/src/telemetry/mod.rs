//! What the operator says of itself: logs and metrics.

mod edges;
pub mod events;
pub mod logging;
pub mod metrics;
pub mod writes;
