use super::*;

fn edge(name: &str) -> EdgeKey {
    EdgeKey { namespace: "dns".into(), name: name.into() }
}

fn nodeman(error: NodemanError) -> Result<(), KeepError> {
    Err(KeepError::Enrol(EnrolError::Nodeman(error)))
}

fn unreachable() -> Result<(), KeepError> {
    nodeman(NodemanError::Unreachable("refused".into()))
}

fn removed() -> Result<(), KeepError> {
    nodeman(NodemanError::Refused { status: 404, detail: "Not Found".into(), refusal: Refusal::UnknownNode })
}

#[test]
fn a_fleet_that_starts_does_not_ask_at_once() {
    let (calls, now) = (Calls::default(), Instant::now());
    let mut due: Vec<Duration> = Vec::new();
    for number in 0..1000 {
        let edge = edge(&number.to_string());
        let _ = calls.allowed(&edge, "", false, now);
        due.push(calls.next(&edge, now).unwrap());
    }
    let within = |from: u64, to: u64| due.iter().filter(|due| (from..to).contains(&due.as_secs())).count();
    for minute in 0..5 {
        assert!((120..280).contains(&within(minute * 60, minute * 60 + 60)), "minute {minute}");
    }
    assert!(calls.allowed(&edge("new"), "", true, now).refresh);
}

#[test]
fn a_look_follows_the_period_and_failures_grow_to_it() {
    let (calls, now, edge) = (Calls::default(), Instant::now(), edge("a"));
    let _ = calls.allowed(&edge, "x", true, now);
    calls.refreshed(&edge, &Ok(()), now);
    let next = calls.next(&edge, now).unwrap();
    assert!(next >= PERIOD.mul_f64(0.9) && next <= PERIOD.mul_f64(1.1), "{next:?}");
    assert!(!calls.allowed(&edge, "x", true, now).refresh);
    assert!(calls.allowed(&edge, "x", true, now + next).refresh);
    let pauses: Vec<Duration> = (0..10)
        .map(|_| {
            calls.refreshed(&edge, &unreachable(), now);
            calls.next(&edge, now).unwrap()
        })
        .collect();
    assert!(pauses[0] <= FIRST_PAUSE && pauses[9] <= PERIOD && pauses[9] > PERIOD / 2, "{pauses:?}");
    assert_eq!(calls.allowed(&edge, "x", true, now).not_found, 10);
    // Somebody changed something, or asked for it.
    let asked = calls.allowed(&edge, "y", true, now);
    assert!(asked.refresh && asked.renewal);
}

#[test]
fn a_renewal_that_fails_is_tried_five_times_before_the_end() {
    let (calls, mut now, edge) = (Calls::default(), Instant::now(), edge("a"));
    let end = Timestamp::from_second(3600).unwrap();
    let mut wall = Timestamp::UNIX_EPOCH;
    let mut tries = 0;
    let _ = calls.allowed(&edge, "", false, now);
    while wall < end {
        tries += 1;
        calls.renewed(&edge, &unreachable(), end, wall, now);
        let next = calls.lock().get(&edge).unwrap().renewal.next.unwrap();
        wall += next.duration_since(now);
        now = next;
        assert!(calls.allowed(&edge, "", false, now).renewal);
    }
    assert!(tries >= 6, "{tries}");
    assert!(matches!(&calls.troubles(&edge)[0], Some(Trouble::Failed(why)) if why.contains("refused")));
    calls.renewed(&edge, &Ok(()), end, wall, now);
    assert_eq!(calls.troubles(&edge), [None, None]);
}

#[test]
fn a_removed_node_is_asked_for_seldom_and_whose_turn_is_to_come_failed_nowhere() {
    let (calls, now, edge) = (Calls::default(), Instant::now(), edge("a"));
    let _ = calls.allowed(&edge, "", true, now);
    calls.refreshed(&edge, &removed(), now);
    assert_eq!(calls.troubles(&edge)[1], Some(Trouble::Removed));
    assert!(calls.next(&edge, now).unwrap() >= REFUSED_PAUSE.mul_f64(0.74));
    let turn = now + Duration::from_secs(7);
    calls.refreshed(&edge, &Err(KeepError::Later(turn)), now);
    assert_eq!(calls.next(&edge, now), Some(Duration::from_secs(7)));
    assert_eq!(calls.troubles(&edge)[1], Some(Trouble::Removed), "nothing else was said meanwhile");
}

/// A round goes on for a while after it was told to come back.
#[test]
fn a_turn_to_renew_that_comes_before_the_round_ends_is_taken_next_and_once() {
    let (calls, now, edge) = (Calls::default(), Instant::now(), edge("a"));
    let (end, wall) = (Timestamp::from_second(3600).unwrap(), Timestamp::UNIX_EPOCH);
    let _ = calls.allowed(&edge, "", true, now);
    calls.refreshed(&edge, &Ok(()), now);
    let later = now + Duration::from_millis(100);
    calls.renewed(&edge, &Err(KeepError::Later(now + Duration::from_millis(5))), end, wall, later);
    assert_eq!(calls.next(&edge, later), Some(Duration::ZERO));
    assert!(calls.allowed(&edge, "", true, later).renewal);
    // There was nothing to renew any more: that is no reason to look again.
    assert!(calls.next(&edge, later).unwrap() > PERIOD / 2);
    calls.renewed(&edge, &Ok(()), end, wall, later);
    assert!(calls.next(&edge, later).unwrap() > PERIOD / 2);
}
