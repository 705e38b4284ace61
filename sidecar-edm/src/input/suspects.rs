//! Who does not come back from its work, and who is only late.
//!
//! Where the machine, or the container's share of it, has stood still everybody is late, and the thread that looks may be the first to go on: on two
//! processors it even goes on alone until the next of the kernel's periods, which are 100 ms (`cpu.max` of cgroups v2). So whoever seems stuck is looked at
//! several times more, and is only late while it could run and is not let to (state and times of a thread: proc_pid_stat(5)). Who waits may wait for a lock
//! that somebody has who is late, and is late too for some time; nobody can see who has a lock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Between the looks that count.
pub(super) const ONCE_MORE: Duration = Duration::from_millis(50);
/// So many looks after the first.
const LOOKS: u32 = 5;
/// So many of somebody who waits while others are late: two seconds.
const LOOKS_AT_WAITING: u32 = 40;
/// Of a processor's time, in hundredths of a second: more than what one read brings ever takes.
const MUCH: u64 = 5;

/// The number of a connection, and since when it works on what it read.
pub(super) type Work = (u64, u64);

/// A thread that works, to be looked at from another one.
#[derive(Debug)]
pub(super) struct Worker(PathBuf);

/// What the kernel says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// It runs, or would if it was let to. Otherwise it waits for something.
    could_run: bool,
    /// What it has had of a processor, in hundredths of a second.
    used: u64,
}

/// Those who seem stuck.
#[derive(Debug, Default)]
pub(super) struct Suspects(BTreeMap<Work, Suspect>);

#[derive(Debug)]
struct Suspect {
    looks: u32,
    next_look: Instant,
    /// At the first look.
    used: u64,
    is_stuck: bool,
}

impl Worker {
    /// The thread that asks; none where the kernel does not tell.
    pub(super) fn this() -> Option<Self> {
        let thread = std::fs::read_link("/proc/thread-self").ok()?;
        Some(Self(PathBuf::from("/proc").join(thread).join("stat")))
    }

    pub(super) fn seen(&self) -> Option<Seen> {
        Seen::read(&std::fs::read_to_string(&self.0).ok()?)
    }
}

impl Seen {
    fn read(stat: &str) -> Option<Self> {
        // The name before it may contain anything.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let could_run = fields.next()? == "R";
        let mut times = fields.skip(10).map_while(|time| time.parse::<u64>().ok());
        Some(Self { could_run, used: times.next()?.saturating_add(times.next()?) })
    }
}

impl Suspects {
    /// All who seem stuck now, and what the kernel says of each. Gives those who are.
    pub(super) fn look<T>(&mut self, now: Instant, seem: Vec<(Work, T)>, seen: impl Fn(&T) -> Option<Seen>) -> Vec<T> {
        let mut before = std::mem::take(&mut self.0);
        let mut known = Vec::with_capacity(seem.len());
        for (work, who) in seem {
            let seen = seen(&who);
            let suspect = before.remove(&work).unwrap_or_else(|| Suspect {
                looks: 0,
                next_look: now + ONCE_MORE,
                used: seen.map_or(0, |seen| seen.used),
                is_stuck: false,
            });
            known.push((work, who, suspect, seen));
        }
        let any_is_late = known.iter().any(|(.., suspect, seen)| !suspect.is_stuck && suspect.is_late(*seen));
        let mut stuck = Vec::new();
        for (work, who, mut suspect, seen) in known {
            if !suspect.is_stuck && now >= suspect.next_look {
                suspect.look(now, seen, any_is_late);
            }
            if suspect.is_stuck {
                stuck.push(who);
            }
            self.0.insert(work, suspect);
        }
        stuck
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Suspect {
    fn look(&mut self, now: Instant, seen: Option<Seen>, any_is_late: bool) {
        self.looks += 1;
        self.next_look = now + ONCE_MORE;
        let waits = seen.is_some_and(|seen| !seen.could_run);
        let looks = if waits && any_is_late { LOOKS_AT_WAITING } else { LOOKS };
        self.is_stuck = self.looks >= looks && !self.is_late(seen);
    }

    fn is_late(&self, seen: Option<Seen>) -> bool {
        seen.is_some_and(|seen| seen.could_run && seen.used.saturating_sub(self.used) < MUCH)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    const RUNS: Seen = Seen { could_run: true, used: 70 };

    /// The look, of so many, at which work counts as stuck.
    fn stuck_at(looks: u32, seen: impl Fn(u32) -> Option<Seen>) -> Option<u32> {
        let (mut suspects, begun) = (Suspects::default(), Instant::now());
        (0..looks).find(|look| !suspects.look(begun + ONCE_MORE * *look, vec![((1, 1), ())], |()| seen(*look)).is_empty())
    }

    #[test]
    fn who_waits_for_a_processor_is_late_and_not_stuck() {
        assert_eq!(stuck_at(1000, |_| Some(RUNS)), None);
        assert_eq!(stuck_at(1000, |look| Some(Seen { used: 70 + u64::from(look > 9), ..RUNS })), None, "some time, not much");
    }

    #[test]
    fn who_waits_for_something_or_uses_much_time_is_stuck_and_so_is_who_is_not_known() {
        assert_eq!(stuck_at(100, |_| Some(Seen { could_run: false, ..RUNS })), Some(LOOKS));
        assert_eq!(stuck_at(100, |look| Some(Seen { used: 70 + u64::from(look), ..RUNS })), Some(LOOKS));
        assert_eq!(stuck_at(100, |_| None), Some(LOOKS));
    }

    #[test]
    fn who_waits_while_somebody_is_late_has_more_time_and_not_for_ever() {
        let (mut suspects, begun) = (Suspects::default(), Instant::now());
        let waits = Seen { could_run: false, ..RUNS };
        let mut stuck =
            |look: u32| suspects.look(begun + ONCE_MORE * look, vec![((1, 1), RUNS), ((2, 1), waits)], |seen| Some(*seen));
        assert!((0..LOOKS_AT_WAITING).all(|look| stuck(look).is_empty()));
        assert_eq!(stuck(LOOKS_AT_WAITING), [waits]);
        // Nobody who is stuck counts as late.
        let much = Seen { used: RUNS.used + MUCH, ..RUNS };
        let mut suspects = Suspects::default();
        let mut stuck = |look: u32| {
            let first = if look == 0 { RUNS } else { much };
            suspects.look(begun + ONCE_MORE * look, vec![((1, 1), first), ((2, 1), waits)], |seen| Some(*seen)).len()
        };
        assert_eq!([0, 1, 2, 3, 4, 5].map(&mut stuck), [0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn other_work_and_looks_in_a_hurry_count_for_nothing() {
        let (mut suspects, begun) = (Suspects::default(), Instant::now());
        for look in 0..100 {
            assert!(suspects.look(begun + ONCE_MORE * look, vec![((1, u64::from(look)), ())], |()| None).is_empty());
        }
        assert!((0..100).all(|_| suspects.look(begun, vec![((1, 1000), ())], |()| None).is_empty()));
        assert!(!suspects.is_empty() && suspects.look(begun, Vec::<(Work, ())>::new(), |()| None).is_empty());
        assert!(suspects.is_empty());
    }

    #[test]
    fn the_kernel_tells_who_waits_and_who_works() {
        let ((said, hears), (goes_on, gate)) = (mpsc::channel(), mpsc::channel::<()>());
        let waiting = thread::Builder::new().name("odd) R 1 (name".to_owned()).spawn(move || {
            let _ = said.send(Worker::this());
            let _ = gate.recv();
        });
        let (waits, works) = (hears.recv().unwrap().unwrap(), Worker::this().unwrap());
        let end = Instant::now() + Duration::from_secs(60);
        // The one that looks runs; that takes time, and the other one comes to wait meanwhile.
        while works.seen().unwrap().used < 3 || waits.seen().unwrap().could_run {
            assert!(Instant::now() < end);
        }
        assert!(works.seen().unwrap().could_run);
        drop(goes_on);
        waiting.unwrap().join().unwrap();
        assert_eq!(waits.seen(), None, "it is gone");
    }
}
