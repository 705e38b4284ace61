//! The operator's processes on a real API server, named by what they prove. Logs of what fails are below `target/rig`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::panic_in_result_fn)]

#[path = "rig/clock.rs"]
mod clock;
#[path = "rig/connections.rs"]
mod connections;
#[path = "rig/crash_points.rs"]
mod crash_points;
#[path = "rig/crashes.rs"]
mod crashes;
#[path = "rig/ending.rs"]
mod ending;
#[path = "rig/enrolled.rs"]
mod enrolled;
#[path = "rig/equality.rs"]
mod equality;
#[path = "rig/fleet.rs"]
mod fleet;
#[path = "rig/high_availability.rs"]
mod high_availability;
#[path = "rig/kubelet.rs"]
mod kubelet;
#[path = "rig/limits.rs"]
mod limits;
#[path = "rig/malformed.rs"]
mod malformed;
#[path = "rig/moves.rs"]
mod moves;
#[path = "rig/readiness.rs"]
mod readiness;
#[path = "rig/rollout.rs"]
mod rollout;
#[path = "rig/secrets.rs"]
mod secrets;
#[path = "rig/storm.rs"]
mod storm;
#[path = "rig/suspend.rs"]
mod suspend;
#[path = "rig/validation.rs"]
mod validation;
#[path = "rig/versions.rs"]
mod versions;
