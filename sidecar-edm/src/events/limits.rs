//! How many events there may be: per second, per registrable domain, and after a start without a store.
//!
//! A random-subdomain attack asks for millions of names below a few domains. Each registrable domain (Public Suffix List) therefore has a rate of
//! its own, and where the rate of all is used up the domains that had no event just now come first: honest names, spread over many domains, keep
//! flowing. What is refused is not marked as seen, so a name that is asked for again has its chance later.

mod bucket;
mod domains;
mod start_up;

use std::sync::atomic::{AtomicU64, Ordering};

use bucket::Bucket;
pub use bucket::Rate;
pub use domains::registrable;
use domains::{Domains, Used};
use start_up::StartUp;

use super::Outcome;
use super::seen::Secret;
use crate::names::Key;

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Events of all names.
    pub all: Rate,
    /// Events of the names of one registrable domain.
    pub domain: Rate,
    /// Events at the start with an empty store; it doubles every ten minutes.
    pub start_up: Rate,
}

/// Of all names: a new name every millisecond is more than ten thousand people ask for.
const ALL: u32 = 1000;
/// Of one domain.
const DOMAIN: u32 = 5;
/// So many seconds' worth at once, after a pause.
const ALL_BURST: u32 = 5;
const DOMAIN_BURST: u32 = 10;
/// At the start with an empty store one in so many.
const START_UP: u32 = 20;

impl Allowed {
    /// So many a second, or what is usual.
    #[must_use]
    pub fn of(all: Option<u32>, domain: Option<u32>) -> Self {
        let (all, domain) = (all.unwrap_or(ALL), domain.unwrap_or(DOMAIN));
        let start_up = if all == 0 { 0 } else { (all / START_UP).max(1) };
        Self {
            all: Rate::new(all, all.saturating_mul(ALL_BURST)),
            domain: Rate::new(domain, domain.saturating_mul(DOMAIN_BURST)),
            start_up: Rate::new(start_up, start_up),
        }
    }
}

/// What was used up.
#[derive(Debug)]
pub struct Limits {
    secret: Secret,
    all: Bucket,
    domains: Domains,
    start_up: StartUp,
    /// So that a clock that is asked on two threads does not run backwards.
    latest: AtomicU64,
}

impl Limits {
    /// Nothing is used up. `age`: for how long the store of seen names has been filled, if it is not empty. `secret`: so that nobody can choose
    /// domains that share a place.
    #[must_use]
    pub fn new(secret: Secret, age: Option<std::time::Duration>) -> Self {
        Self {
            secret,
            all: Bucket::default(),
            domains: Domains::default(),
            start_up: StartUp::new(age),
            latest: AtomicU64::new(0),
        }
    }

    /// May this name have an event? `now`: nanoseconds since the start.
    pub fn take(&self, key: &Key, allowed: &Allowed, now: u64) -> Result<(), Outcome> {
        let now = self.latest.fetch_max(now, Ordering::Relaxed).max(now);
        let domain = self.secret.hash(registrable(key));
        let used = self.domains.take(domain, allowed.domain, now).ok_or(Outcome::LimitedDomain)?;
        if !self.start_up.take(allowed.start_up, allowed.all, now) {
            return Err(Outcome::StartUp);
        }
        let share = if used == Used::Lately { 2 } else { 1 };
        if self.all.take(allowed.all.with_burst_over(share), now) { Ok(()) } else { Err(Outcome::LimitedRate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::WireName;

    const SECOND: u64 = 1_000_000_000;

    fn key(name: &str) -> Key {
        let mut wire = Vec::new();
        for label in name.split('.') {
            wire.push(u8::try_from(label.len()).unwrap());
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        let mut key = Key::default();
        key.read(WireName::from_octets(&wire).unwrap());
        key
    }

    fn allowed() -> Allowed {
        Allowed { all: Rate::new(1000, 2000), domain: Rate::new(5, 50), start_up: Rate::new(0, 0) }
    }

    fn filled() -> Limits {
        Limits::new(Secret::draw(), Some(std::time::Duration::from_secs(1 << 20)))
    }

    /// `attacked` domains share 49 500 random names a second, 500 honest ones come from as many domains.
    fn honest_that_pass(attacked: u64, seconds: u64) -> (f64, u64) {
        let (limits, mut honest, mut passed, mut random) = (filled(), 0, 0, 0);
        for number in 0..seconds * 50_000 {
            let now = number * SECOND / 50_000;
            if number % 100 == 0 {
                honest += 1;
                let name = format!("www{number}.site-{}.example{}.org", number % 977, number % 7919);
                passed += u64::from(limits.take(&key(&name), &allowed(), now).is_ok());
            } else {
                let name = format!("r{}.victim-{}.com", number * 2_654_435_761 % 1_000_003, number % attacked);
                random += u64::from(limits.take(&key(&name), &allowed(), now).is_ok());
            }
        }
        (passed as f64 / honest as f64, random)
    }

    #[test]
    fn honest_names_keep_flowing_among_random_ones() {
        for attacked in [1, 20, 1000] {
            let seconds = 5;
            let (honest, random) = honest_that_pass(attacked, seconds);
            assert!(honest > 0.99, "{attacked}: {honest}");
            let most = (seconds * 1000 + 2000).min(attacked * (50 + 5 * seconds + 1));
            assert!(random <= most, "{attacked}: {random}");
        }
    }

    #[test]
    fn each_reason_is_told() {
        let limits = filled();
        let small = Allowed { all: Rate::new(10, 20), domain: Rate::new(1, 2), start_up: Rate::new(0, 0) };
        let take = |name: &str, now| limits.take(&key(name), &small, now);
        assert_eq!([0; 3].map(|now| take("a.example.com", now)), [Ok(()), Ok(()), Err(Outcome::LimitedDomain)]);
        assert_eq!(take("b.example.com", SECOND), Ok(()));
        let outcomes: Vec<_> = (0..100).map(|number| take(&format!("a.d{number}.com"), SECOND)).collect();
        let passed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!((19..=20).contains(&passed) && outcomes.contains(&Err(Outcome::LimitedRate)), "{passed}");
    }

    #[test]
    fn without_rates_there_are_no_limits() {
        let limits = Limits::new(Secret::draw(), None);
        let none = Allowed { all: Rate::new(0, 0), domain: Rate::new(0, 0), start_up: Rate::new(0, 0) };
        assert!((0..100_000).all(|_| limits.take(&key("a.example.com"), &none, 0).is_ok()));
    }

    #[test]
    fn an_empty_store_begins_slowly_and_ends_doing_so() {
        let limits = Limits::new(Secret::draw(), None);
        let slow = Allowed { start_up: Rate::new(50, 50), ..allowed() };
        let run = |seconds: std::ops::Range<u64>, each: u64| {
            let mut passed = 0;
            for number in seconds.start * each..seconds.end * each {
                let name = format!("www.d{number}.com");
                passed += u64::from(limits.take(&key(&name), &slow, number * SECOND / each) == Ok(()));
            }
            passed
        };
        let first = run(0..60, 1000);
        assert!((2900..=3100).contains(&first), "{first}");
        let _ = run(60..599, 100);
        assert!((5900..=6100).contains(&run(601..661, 1000)), "twice as many");
        // As few as this are never suppressed.
        assert_eq!(run(700..820, 10), 1200);
        assert_eq!(run(821..822, 900), 900, "it is over");
    }
}
