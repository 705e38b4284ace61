//! What the large parts of memory take together, and how much that may be.
//!
//! Lists, counters and the table of names seen take what they need, always: their size follows from the configuration. Sketches of clients take
//! what is left below the bound; what finds no room is left out and counted, so that memory ends in a coarser report and never in a killed
//! process. Only a list that the container has no room for is refused before it is built: while it is, the one before is there as well.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// For everything that is not accounted here: program, runtime, buffers, queues (events that wait for the disk are bounded by the bound below), page cache of the files that are written.
const REST: u64 = 32 << 20;
/// However small the container is: some thousands of rows keep their sketches.
const LEAST: u64 = 8 << 20;
/// Where nothing limits the container.
const USUAL: u64 = 96 << 20;
/// Limits of the container, as the versions of cgroups tell them.
const FILES: [&str; 2] = ["sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"];
/// A number beyond is no limit.
const NO_LIMIT: u64 = 1 << 50;

/// Octets that the parts of the process share.
#[derive(Debug)]
pub struct Budget {
    bound: usize,
    /// What must be there may not be more: beyond it the container ends.
    ceiling: usize,
    used: AtomicUsize,
    /// Of what is used, what must be there.
    fixed: AtomicUsize,
    refused: AtomicU64,
}

impl Budget {
    /// With a bound in octets.
    #[must_use]
    pub fn new(bound: usize) -> Arc<Self> {
        Self::with_ceiling(bound, usize::MAX)
    }

    fn with_ceiling(bound: usize, ceiling: usize) -> Arc<Self> {
        let (used, fixed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { bound, ceiling, used, fixed, refused: AtomicU64::new(0) })
    }

    /// With the bounds that fit a container of this limit.
    #[must_use]
    pub fn of_limit(limit: Option<u64>) -> Arc<Self> {
        Self::with_ceiling(bound(limit), ceiling(limit))
    }

    /// With the bound that fits this container.
    #[must_use]
    pub fn of_this_container() -> Arc<Self> {
        Self::of_limit(container_limit(Path::new("/")))
    }

    /// The bound.
    #[must_use]
    pub const fn bound(&self) -> usize {
        self.bound
    }

    /// What is taken now: beyond the bound if what must be there needs more.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How much more may come that must be there. What may be left out makes room for it.
    #[must_use]
    pub fn room(&self) -> usize {
        self.ceiling.saturating_sub(self.fixed.load(Ordering::Relaxed))
    }

    /// How often something found no room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn try_take(&self, octets: usize) -> bool {
        let fits = |used: usize| used.checked_add(octets).filter(|sum| *sum <= self.bound);
        let taken = self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if !taken {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}

/// Octets of a budget; given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    octets: usize,
    fixed: usize,
}

impl Charge {
    /// Nothing yet.
    #[must_use]
    pub fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), octets: 0, fixed: 0 }
    }

    /// The budget.
    #[must_use]
    pub const fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// What it holds.
    #[must_use]
    pub const fn octets(&self) -> usize {
        self.octets
    }

    /// Takes more, whatever the bound says.
    pub fn add(&mut self, octets: usize) {
        self.budget.used.fetch_add(octets, Ordering::Relaxed);
        self.budget.fixed.fetch_add(octets, Ordering::Relaxed);
        self.octets += octets;
        self.fixed += octets;
    }

    /// Takes more if there is room.
    #[must_use]
    pub fn try_add(&mut self, octets: usize) -> bool {
        let taken = self.budget.try_take(octets);
        if taken {
            self.octets += octets;
        }
        taken
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.octets, Ordering::Relaxed);
        self.budget.fixed.fetch_sub(self.fixed, Ordering::Relaxed);
    }
}

/// The bound for a container's limit: three quarters of it belong to the process, page cache included, and [`REST`] of these to others.
#[must_use]
pub fn bound(limit: Option<u64>) -> usize {
    let octets = limit.map_or(USUAL, |limit| (limit / 4 * 3).saturating_sub(REST).max(LEAST));
    usize::try_from(octets).unwrap_or(usize::MAX)
}

/// What must be there may come close to the limit for a moment, beside the rest.
fn ceiling(limit: Option<u64>) -> usize {
    let octets = limit.map_or(u64::MAX, |limit| (limit - limit / 16).saturating_sub(REST).max(LEAST));
    usize::try_from(octets).unwrap_or(usize::MAX)
}

/// What the container may take, as the files below `root` tell it.
#[must_use]
pub fn container_limit(root: &Path) -> Option<u64> {
    let read = |file: &&str| std::fs::read_to_string(root.join(file)).ok()?.trim().parse().ok();
    FILES.iter().find_map(read).filter(|limit| *limit < NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_there_is_and_the_rest_waits_for_room() {
        let budget = Budget::new(100);
        let (mut rows, mut sketches) = (Charge::new(&budget), Charge::new(&budget));
        assert!(sketches.try_add(60));
        rows.add(50);
        assert_eq!((budget.used(), budget.refused()), (110, 0));
        assert!(!sketches.try_add(1) && !sketches.try_add(usize::MAX));
        assert_eq!((budget.used(), budget.refused(), sketches.octets()), (110, 2, 60));
        drop(rows);
        assert!(sketches.try_add(40) && !sketches.try_add(1));
        drop(sketches);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_may_be_left_out_takes_no_room_of_what_must_be_there() {
        let budget = Budget::of_limit(Some(192 << 20));
        assert_eq!(budget.room(), 148 << 20);
        let (mut rows, mut sketches) = (Charge::new(&budget), Charge::new(&budget));
        rows.add(100 << 20);
        assert!(sketches.try_add(12 << 20));
        assert_eq!(budget.room(), 48 << 20);
        rows.add(100 << 20);
        assert_eq!(budget.room(), 0);
        drop(rows);
        assert_eq!((budget.room(), budget.used()), (148 << 20, 12 << 20));
        assert_eq!(Budget::of_limit(None).room(), usize::MAX);
    }

    #[test]
    fn the_bound_follows_the_containers_limit() {
        assert_eq!(bound(Some(192 << 20)), 112 << 20);
        assert_eq!(bound(Some(384 << 20)), 256 << 20);
        assert_eq!(bound(Some(16 << 20)), 8 << 20);
        assert_eq!(bound(None), 96 << 20);

        let root = tempfile::tempdir().unwrap();
        let told = |file: &str, text: &str| {
            std::fs::create_dir_all(root.path().join(file).parent().unwrap()).unwrap();
            std::fs::write(root.path().join(file), text).unwrap();
            container_limit(root.path())
        };
        assert_eq!(container_limit(root.path()), None);
        assert_eq!(told(FILES[1], "9223372036854771712\n"), None);
        assert_eq!(told(FILES[1], "1048576\n"), Some(1 << 20));
        assert_eq!(told(FILES[0], "201326592\n"), Some(192 << 20));
        assert_eq!(told(FILES[0], "max\n"), Some(1 << 20), "the older version's, where the newer one tells nothing");
    }
}
