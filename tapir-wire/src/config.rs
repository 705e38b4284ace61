//! Configuration files that the operator renders and the sidecars read.
//!
//! Each carries `format: N`. In the reader's own format (or an older one) an unknown key is an error, because it is a typing
//! mistake; in a newer format it is a warning, because a newer operator may drive an older sidecar during a rollout.

pub mod edm;
pub mod pop;
