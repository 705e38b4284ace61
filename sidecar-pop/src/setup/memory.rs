//! How much memory observations may take.

use std::fs;

/// A live observation takes some thirty octets: at least room for half a million.
const LEAST: usize = 16 << 20;
/// Where there is no limit that one could go by: room for some two million.
const USUAL: usize = 64 << 20;
/// Limits of the container, as the versions of cgroups tell them.
const FILES: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
/// A number beyond is no limit.
const NO_LIMIT: u64 = 1 << 50;

/// Share of what the container may take. What follows from observations takes several times as much in the worst case: names of a hundred labels
/// below a blocked top-level domain (`tests/memory.rs`).
const SHARE: u64 = 6;

/// What was said, or a share of what the container may take.
pub(super) fn for_observations(said: Option<u64>) -> usize {
    let octets = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    match said {
        Some(said) => octets(said),
        None => limit().map_or(USUAL, |limit| octets(limit / SHARE).max(LEAST)),
    }
}

fn limit() -> Option<u64> {
    let read = |file: &&str| fs::read_to_string(file).ok()?.trim().parse().ok();
    FILES.iter().find_map(read).filter(|limit| *limit < NO_LIMIT)
}
