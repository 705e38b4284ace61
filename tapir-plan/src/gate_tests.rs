//! The gate against a simulated fleet: an event loop over who asks when, without a clock.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::*;

const RATE: u32 = 10;
const BURST: u32 = 5;

/// One who asks: when it comes first, how urgent it is, how many calls it wants, how late it comes when it is told a time, and whether it
/// comes again at all.
#[derive(Clone, Copy)]
struct Asker {
    comes: Duration,
    urgency: i64,
    calls: u32,
    late: Duration,
    returns: bool,
    /// The urgency is told as a time from the moment of asking, so each time it is another.
    rolling: bool,
}

/// A call that was let through.
#[derive(Clone, Copy, Debug)]
struct Call {
    asker: usize,
    at: Duration,
    asked: usize,
}

fn simulate(askers: &[Asker], end: Duration) -> Vec<Call> {
    let begin = Instant::now();
    let mut gate = Gate::new(f64::from(RATE), BURST);
    let mut events: BinaryHeap<Reverse<(Duration, usize)>> =
        askers.iter().enumerate().map(|(asker, value)| Reverse((value.comes, asker))).collect();
    let mut asked = vec![0; askers.len()];
    let mut calls = Vec::new();
    while let Some(Reverse((at, asker))) = events.pop().filter(|Reverse((at, _))| *at <= end) {
        let Asker { urgency, calls: wanted, late, returns, rolling, .. } = askers[asker];
        asked[asker] += 1;
        let urgency = Timestamp::from_second(urgency).unwrap() + if rolling { at } else { Duration::ZERO };
        match gate.ask(&asker, urgency, wanted, begin + at) {
            Turn::Now => calls.push(Call { asker, at, asked: asked[asker] }),
            Turn::At(turn) => {
                let turn = turn - begin;
                assert!(turn > at, "told to come at {turn:?} when it was {at:?}");
                if returns {
                    events.push(Reverse((turn + late, asker)));
                }
            }
        }
    }
    calls
}

fn asker(number: usize) -> Asker {
    // All within a second, in no order of urgency, and a little late as a busy controller is.
    let mixed = number * 617 % 1000;
    Asker {
        comes: Duration::from_millis(u64::try_from(number).unwrap()),
        urgency: 100_000 + i64::try_from(mixed).unwrap(),
        calls: 2,
        late: Duration::from_millis(u64::try_from(mixed % 40).unwrap()),
        returns: true,
        rolling: false,
    }
}

/// In no stretch of time are there more calls than rate and burst allow; what one asker does in one go may stand over.
fn assert_limited(calls: &[Call], wanted: u32) {
    for (index, first) in calls.iter().enumerate() {
        for (count, last) in (1_u32..).zip(&calls[index..]) {
            let stretch = (last.at - first.at).as_secs_f64();
            let most = stretch * f64::from(RATE) + f64::from(BURST + wanted) + 1e-6;
            assert!(f64::from(count * wanted) <= most, "{count} askers in {stretch} s");
        }
    }
}

#[test]
fn a_thousand_edges_that_come_together_are_spread_and_limited_and_none_starves() {
    let askers: Vec<Asker> = (0..1000).map(asker).collect();
    let calls = simulate(&askers, Duration::from_mins(10));
    assert_eq!(calls.iter().map(|call| call.asker).collect::<BTreeSet<_>>().len(), 1000, "everybody has its turn");
    assert_eq!(calls.len(), 1000, "and once");
    assert_limited(&calls, 2);
    let end = calls.last().unwrap().at;
    assert!(end >= Duration::from_secs(199) && end < Duration::from_secs(215), "{end:?}");
    let most = calls.iter().map(|call| call.asked).max().unwrap();
    assert!(most <= 8, "one asked {most} times");
}

#[test]
fn whose_urgency_moves_with_the_clock_keeps_its_place() {
    let askers: Vec<Asker> = (0..1000).map(|number| Asker { urgency: 100_000, rolling: true, ..asker(number) }).collect();
    let calls = simulate(&askers, Duration::from_mins(10));
    assert_eq!(calls.len(), 1000, "everybody has its turn, and once");
    assert!(calls.last().unwrap().at < Duration::from_secs(215));
    let most = calls.iter().map(|call| call.asked).max().unwrap();
    assert!(most <= 8, "one asked {most} times");
}

#[test]
fn the_earliest_expiry_goes_first() {
    let askers: Vec<Asker> = (0..1000).map(asker).collect();
    let calls = simulate(&askers, Duration::from_mins(10));
    // Those that came while there was a burst left went as they came.
    let order: Vec<i64> =
        calls.iter().filter(|call| call.at > Duration::from_secs(3)).map(|call| askers[call.asker].urgency).collect();
    let strays = order.windows(2).filter(|pair| pair[1] + 5 < pair[0]).count();
    assert!(strays == 0, "{strays} pairs are out of order");
}

#[test]
fn who_waits_very_long_goes_before_the_most_urgent() {
    // As many urgent calls as the gate lets through, for ever.
    let urgent = (1..30_000).map(|number| Asker {
        comes: Duration::from_millis(100 * u64::try_from(number).unwrap()),
        calls: 1,
        late: Duration::ZERO,
        ..asker(number)
    });
    // It comes when the burst is used up.
    let burst = (0..BURST).map(|_| Asker { comes: Duration::from_secs(60), calls: 1, ..asker(0) });
    let comes = Duration::from_secs(61);
    let patient = Asker { comes, urgency: i64::from(i32::MAX), calls: 1, ..asker(0) };
    let all: Vec<Asker> = std::iter::once(patient).chain(burst).chain(urgent).collect();
    let calls = simulate(&all, Duration::from_mins(45));
    let served = calls.iter().find(|call| call.asker == 0).expect("it is served").at;
    assert!(served >= comes + PATIENCE, "the urgent ones went first: {served:?}");
    assert!(served < comes + PATIENCE + Duration::from_secs(5), "{served:?}");
}

#[test]
fn who_does_not_come_again_keeps_nobody_waiting() {
    // Every second one goes away, and these are the most urgent.
    let askers: Vec<Asker> = (0..1000)
        .map(|number| {
            let returns = number % 2 == 0;
            Asker { returns, urgency: if returns { 200_000 } else { 100_000 }, ..asker(number) }
        })
        .collect();
    let calls = simulate(&askers, Duration::from_mins(10));
    let served = calls.iter().filter(|call| askers[call.asker].returns).count();
    assert_eq!(served, 500);
    assert!(calls.last().unwrap().at < Duration::from_secs(215));
    assert_limited(&calls, 2);
}

#[test]
fn a_renewal_goes_before_all_polls() {
    let mut askers: Vec<Asker> = (0..1000).map(|number| Asker { urgency: 200_000, calls: 1, ..asker(number) }).collect();
    askers.push(Asker { comes: Duration::from_secs(2), urgency: 1, ..asker(1000) });
    let calls = simulate(&askers, Duration::from_mins(10));
    let renewal = calls.iter().find(|call| call.asker == 1000).unwrap().at;
    assert!(renewal < Duration::from_secs(3), "{renewal:?}");
}

#[test]
fn a_burst_is_let_through_and_comes_back_after_a_pause() {
    let (mut gate, now) = (Gate::new(10.0, 3), Instant::now());
    let urgency = Timestamp::UNIX_EPOCH;
    let turns = |gate: &mut Gate<u32>, now| (0..4).filter(|key| gate.ask(key, urgency, 1, now) == Turn::Now).count();
    assert_eq!(turns(&mut gate, now), 3);
    assert_eq!(gate.waiting(), 1);
    gate.forget(&3);
    assert_eq!(gate.waiting(), 0);
    assert_eq!(turns(&mut gate, now + Duration::from_millis(100)), 1);
    assert_eq!(turns(&mut gate, now + Duration::from_secs(60)), 3);
}

#[test]
fn who_looks_keeps_its_place_and_takes_no_turn() {
    let (mut gate, now) = (Gate::new(10.0, 1), Instant::now());
    let urgency = Timestamp::UNIX_EPOCH;
    let later = |millis: u64| now + Duration::from_millis(millis);
    assert_eq!(gate.comes(&1, now), None, "it does not wait");
    assert_eq!(gate.ask(&1, urgency, 1, now), Turn::Now);
    let turns = [gate.ask(&2, urgency, 1, now), gate.ask(&3, urgency, 1, now)];
    assert_eq!(turns, [Turn::At(later(100)), Turn::At(later(200))]);
    assert_eq!([gate.comes(&2, later(50)), gate.comes(&3, later(50))], [Some(later(100)), Some(later(200))]);
    for _ in 0..5 {
        assert_eq!([gate.comes(&2, later(100)), gate.comes(&3, later(100))], [None, Some(later(200))]);
    }
    assert_eq!(gate.ask(&2, urgency, 1, later(100)), Turn::Now);
    // Who looks again and again is not late, however long others take.
    let minutes = Duration::from_mins(1);
    assert_eq!(gate.ask(&4, urgency, 3000, now + 5 * minutes), Turn::Now);
    gate.comes(&3, now + 5 * minutes);
    assert_eq!(gate.ask(&5, urgency, 1, now + 5 * minutes), Turn::At(now + 10 * minutes + Duration::from_millis(100)));
}

#[test]
fn who_applies_waits_and_takes_no_turn() {
    let (mut gate, now) = (Gate::new(10.0, 1), Instant::now());
    let urgency = Timestamp::UNIX_EPOCH;
    assert_eq!([gate.apply(&1, urgency, 1, now), gate.apply(&1, urgency, 1, now)], [Turn::Now; 2]);
    assert_eq!((gate.waiting(), gate.ask(&1, urgency, 1, now)), (0, Turn::Now));
    assert_eq!(gate.apply(&2, urgency, 1, now), Turn::At(now + Duration::from_millis(100)));
    assert_eq!(gate.ask(&3, urgency, 1, now), Turn::At(now + Duration::from_millis(200)), "behind the one that applied");
    assert_eq!(gate.apply(&2, urgency, 1, now + Duration::from_millis(100)), Turn::Now);
    assert_eq!(gate.waiting(), 2, "its place is its own until it asks");
}

#[test]
fn strange_rates_are_no_trap() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE] {
        let mut gate = Gate::new(rate, 0);
        assert_eq!(gate.ask(&1, Timestamp::MIN, u32::MAX, Instant::now()), Turn::Now, "{rate}");
    }
}
