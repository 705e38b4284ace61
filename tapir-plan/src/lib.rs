//! Decisions of the operator: values in, one step out.
//!
//! Nothing in here has a client, a task or a lock. What is decided can be read as a table and is tested as one; who carries a step out is
//! simple and may be ended at any instant, as the next look at the same world gives the same step again.

pub mod clock;
pub mod fleet;
pub mod gate;
pub mod renewal;
pub mod retry;
pub mod rollout;
pub mod webhook_certificate;
