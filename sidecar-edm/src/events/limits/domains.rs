//! Events of each registrable domain, in a table of fixed size.
//!
//! A domain belongs to a set of eight slots in one cache line. A slot has 20 bits of the domain's hash and the time at which its next event would
//! be due. Where that time has come the slot is as good as empty, so it serves another domain and nothing is lost; where all eight are in use the
//! one that is due first has to go, and its domain begins anew. Two domains share a slot, and their rate, once in some 100 000.

use std::sync::atomic::{AtomicU64, Ordering};

use psl::Psl as _;

use super::bucket::Rate;
use crate::names::Key;

/// 2048 times eight: 128 KiB, for as many domains with an event within the last seconds.
const SETS: usize = 2048;
const SLOTS: usize = 8;
const TAG_BITS: u32 = 20;
const TIME_BITS: u32 = u64::BITS - TAG_BITS;
/// Nanoseconds of a tick: 44 bits of them are 35 years.
const TICK: u64 = 62_500;
const TRIES: usize = 8;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; SLOTS]);

/// The table.
#[derive(Debug)]
pub(super) struct Domains(Box<[Set]>);

/// What a domain that may have an event had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Used {
    /// Events beyond its rate just now.
    Lately,
    /// None lately.
    No,
}

impl Default for Domains {
    fn default() -> Self {
        Self((0..SETS).map(|_| Set::default()).collect())
    }
}

impl Domains {
    /// Takes one of the events of a domain, if there is one.
    pub(super) fn take(&self, domain: u64, rate: Rate, now: u64) -> Option<Used> {
        // More than 16 000 a second are no limit that this clock could keep.
        let Some(set) = self.0.get(domain as usize % SETS).filter(|_| rate.interval >= TICK) else { return Some(Used::No) };
        // Never zero: an empty slot has it.
        let tag = (domain >> TIME_BITS).max(1) << TIME_BITS;
        let now = now / TICK + 1;
        let (interval, tolerance) = ((rate.interval / TICK).max(1), rate.tolerance() / TICK);
        for _ in 0..TRIES {
            let mut best: Option<(&AtomicU64, u64, u64)> = None;
            for slot in &set.0 {
                let value = slot.load(Ordering::Relaxed);
                let due = value & ((1 << TIME_BITS) - 1);
                if value - due == tag {
                    best = Some((slot, value, due));
                    break;
                }
                if best.is_none_or(|(.., other)| due < other) {
                    best = Some((slot, value, due));
                }
            }
            let (slot, value, due) = best?;
            let due = if value & !((1 << TIME_BITS) - 1) == tag { due } else { 0 };
            if due > now + tolerance {
                return None;
            }
            let next = tag | (due.max(now) + interval) & ((1 << TIME_BITS) - 1);
            if slot.compare_exchange(value, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Some(if due > now { Used::Lately } else { Used::No });
            }
        }
        // Others took as many meanwhile.
        None
    }
}

/// The registrable domain: the public suffix and one label more. The name itself where it has no more.
///
/// The Public Suffix List is compiled in with the crate `psl`, which is released anew with each change of the list. A suffix that came later is taken
/// for a domain: then all names below it share one rate.
#[must_use]
pub fn registrable(key: &Key) -> &[u8] {
    let (octets, starts) = (key.octets(), key.starts());
    let suffix = psl::List.find(key.suffixes().rev().filter_map(first_label)).len;
    // The suffix's text has dots in between; on the wire there is one octet more in front, and the root's behind.
    let start = octets.len().saturating_sub(suffix + 2);
    let at = starts.iter().rposition(|at| usize::from(*at) == start);
    // A list without the last label has a rule for it all the same: one label.
    let at = at.unwrap_or_else(|| starts.len().saturating_sub(1));
    let above = starts.get(at.saturating_sub(1)).copied().unwrap_or_default();
    octets.get(usize::from(above)..).unwrap_or_default()
}

fn first_label(suffix: &[u8]) -> Option<&[u8]> {
    let (length, rest) = suffix.split_first()?;
    rest.get(..usize::from(*length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::names::WireName;
    use crate::names::wire::tests::names;

    const SECOND: u64 = 1_000_000_000;

    fn check(name: &str, expected: &str) {
        let wire = |name: &str| {
            let labels = name.split('.').filter(|label| !label.is_empty());
            let mut wire: Vec<u8> = labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
            wire.push(0);
            wire
        };
        let mut key = Key::default();
        let octets = wire(name);
        key.read(WireName::from_octets(&octets).unwrap());
        assert_eq!(registrable(&key), wire(expected), "{name}");
    }

    #[test]
    fn domains_as_the_list_has_them() {
        check("www.example.com", "example.com");
        check("a.b.c.EXAMPLE.com", "example.com");
        check("example.com", "example.com");
        check("com", "com");
        check("", "");
        check("www.example.co.uk", "example.co.uk");
        check("co.uk", "co.uk");
        check("a.b.example.k12.ca.us", "example.k12.ca.us");
        check("x.y.city.kawasaki.jp", "city.kawasaki.jp");
        check("a.b.foo.kawasaki.jp", "b.foo.kawasaki.jp");
        check("a.user.github.io", "user.github.io");
        check("d111.cloudfront.net", "d111.cloudfront.net");
        check("a.b.nosuchtopleveldomain", "b.nosuchtopleveldomain");
        check("nosuchtopleveldomain", "nosuchtopleveldomain");
        check("www.xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn");
    }

    #[test]
    fn one_domain_does_not_use_up_anothers_rate() {
        let (domains, rate) = (Domains::default(), Rate::new(5, 10));
        let taken = |domain: u64, now| (0..100).filter(|_| domains.take(domain, rate, now).is_some()).count();
        let hash = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for number in 1..2000 {
            assert_eq!(taken(hash(number), 0), 10, "{number}");
        }
        assert!((1..2000).all(|number| taken(hash(number), SECOND) == 5));
        // Far more domains than places: nobody is refused what is his.
        for number in 3000..200_000 {
            assert!(domains.take(hash(number), rate, 2 * SECOND).is_some());
        }
    }

    #[test]
    fn who_had_events_lately_is_told() {
        let (domains, rate) = (Domains::default(), Rate::new(1, 10));
        assert_eq!(domains.take(7, rate, 0), Some(Used::No));
        assert_eq!(domains.take(7, rate, SECOND / 2), Some(Used::Lately));
        assert_eq!(domains.take(7, rate, 5 * SECOND), Some(Used::No));
    }

    proptest! {
        #[test]
        fn any_name_has_one_and_lies_in_it(octets in names()) {
            let mut key = Key::default();
            key.read(WireName::from_octets(&octets).unwrap());
            let domain = registrable(&key);
            prop_assert!(WireName::from_octets(domain).is_some() && key.octets().ends_with(domain));
        }
    }
}
