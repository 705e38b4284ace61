//! What the operator says of itself: logs and metrics.

pub mod logging;
pub mod metrics;
pub mod writes;
