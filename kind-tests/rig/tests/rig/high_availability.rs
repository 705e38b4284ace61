//! Two replicas, one works: whatever happens to the leader, to its Lease or to the API server, edges are served and no node is enrolled twice.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use tapir_rig::audit::{describe, writes};
use tapir_rig::client::{LEASES, text};
use tapir_rig::{Core, Operator, Options, PATIENCE, Rig, Signal, Site, Version, wait};

/// Exit code of an operator that lost the Lease.
const LEASE_LOST: i32 = 3;
/// A term, and the time until a candidate looks again, with some to spare.
const TAKE_OVER: Duration = Duration::from_secs(45);
/// A renewal that fails, and a look at why: far less than a term.
const NOTICED: Duration = Duration::from_secs(15);
/// What a Pod's grace period leaves for an orderly end.
const GRACE: Duration = Duration::from_secs(30);

/// The first leads, the second waits for its turn.
fn two_replicas(site: &Site<'_>) -> Result<[Operator; 2]> {
    let first = site.operator("operator-0", &[])?;
    wait::until_true("the first replica to lead", PATIENCE, || Ok(site.leader()? == "operator-0"))?;
    let second = site.operator("operator-1", &[])?;
    wait::until_true("the second replica to be ready", PATIENCE, || Ok(second.page("/readyz")?.status == 200))?;
    Ok([first, second])
}

/// An edge that is made now is served; its node is enrolled once.
fn a_new_edge_is_served(site: &Site<'_>, core: &Core, edge: &str) -> Result<()> {
    let node = site.new_edge(core, edge)?;
    site.wait_condition(edge, "Enrolled", "True", None)?;
    assert_eq!(core.calls(&node, "enroll")?, [Some(200)], "one enrolment of {edge}");
    Ok(())
}

#[test]
fn another_replica_goes_on_when_the_leader_is_killed() -> Result<()> {
    let site = Site::new(Rig::shared()?, "leader-killed", &[])?;
    let core = site.core(&[])?;
    let [first, second] = two_replicas(&site)?;
    a_new_edge_is_served(&site, &core, "before")?;
    first.signal(Signal::SIGKILL)?;
    first.exit_code(PATIENCE)?;
    site.shorten_term()?;
    a_new_edge_is_served(&site, &core, "after")?;
    assert_eq!(site.leader()?, "operator-1");
    second.process().still_runs()?;
    site.passed()
}

/// The successor need not wait: the Lease is given up at the end.
#[test]
fn a_leader_that_is_asked_to_end_hands_over_at_once() -> Result<()> {
    let site = Site::new(Rig::shared()?, "leader-leaves", &[])?;
    let [first, _second] = two_replicas(&site)?;
    first.signal(Signal::SIGTERM)?;
    assert_eq!(first.exit_code(GRACE)?, 0);
    // Far less than a term.
    wait::until_true("the second replica to lead", Duration::from_secs(10), || Ok(site.leader()? == "operator-1"))?;
    site.passed()
}

/// It stops right before a write, and goes on after another replica has done the same. Its own term has not run out by then; but it has
/// slept, so it looks at the Lease before it writes anything.
#[test]
fn a_leader_that_was_paused_writes_nothing_and_ends_when_it_finds_another() -> Result<()> {
    let site = Site::new(Rig::shared()?, "leader-paused", &[])?;
    let core = site.core(&[])?;
    let first = site.operator("operator-0", &[("TAPIR_FAILPOINT", "after-enrol:stop")])?;
    wait::until_true("the first replica to lead", PATIENCE, || Ok(site.leader()? == "operator-0"))?;
    let second = site.operator("operator-1", &[])?;
    site.new_edge(&core, "demo")?;
    first.wait_for_log("stopping at a failpoint", PATIENCE)?;
    site.shorten_term()?;
    site.wait_condition("demo", "Enrolled", "True", None)?;
    assert_eq!(site.leader()?, "operator-1");
    let (identity, before) = (site.secret("demo-identity")?, site.audit_of("operator-0")?.len());
    assert!(before > 0, "its requests are told from the other's");
    first.signal(Signal::SIGCONT)?;
    assert_eq!(first.exit_code(NOTICED)?, LEASE_LOST);
    let after: Vec<String> =
        site.audit_of("operator-0")?.iter().skip(before).filter(|event| writes(event)).map(describe).collect();
    // A renewal is how it notices; it is refused by the Lease's version. Events only tell what was done before.
    let is_harmless = |write: &String| write.starts_with("update leases ") || write.starts_with("create events ");
    assert!(after.iter().all(is_harmless), "{after:?}");
    assert_eq!(site.secret("demo-identity")?, identity);
    second.process().still_runs()?;
    assert_eq!(site.leader()?, "operator-1");
    site.passed()
}

/// Administrators, and tests, tell replicas apart in the audit log.
#[test]
fn every_request_says_which_replica_of_which_version_sent_it() -> Result<()> {
    let site = Site::new(Rig::shared()?, "user-agent", &[])?;
    let core = site.core(&[])?;
    let _replicas = two_replicas(&site)?;
    a_new_edge_is_served(&site, &core, "demo")?;
    for pod in ["operator-0", "operator-1"] {
        let agents: BTreeSet<String> = site.audit_of(pod)?.iter().map(|event| text(&event["userAgent"])).collect();
        assert_eq!(agents, BTreeSet::from([format!("tapir-operator/{} ({pod})", env!("CARGO_PKG_VERSION"))]));
    }
    site.passed()
}

/// A term is over by the leader's own clock: from the moment on when it is awake again it writes nothing at all.
#[test]
#[ignore = "waits a minute"]
fn a_leader_that_was_paused_for_a_minute_writes_nothing_more() -> Result<()> {
    let site = Site::new(Rig::shared()?, "leader-asleep", &[])?;
    let core = site.core(&[])?;
    let [first, _second] = two_replicas(&site)?;
    a_new_edge_is_served(&site, &core, "before")?;
    first.signal(Signal::SIGSTOP)?;
    wait::until_true("the second replica to lead", TAKE_OVER, || Ok(site.leader()? == "operator-1"))?;
    a_new_edge_is_served(&site, &core, "meanwhile")?;
    thread::sleep(Duration::from_mins(1).saturating_sub(TAKE_OVER));
    // Work for it, if it only did it.
    site.new_edge(&core, "tempting")?;
    let before = site.audit_of("operator-0")?;
    assert!(!before.is_empty(), "its requests are told from the other's");
    first.signal(Signal::SIGCONT)?;
    assert_eq!(first.exit_code(PATIENCE)?, LEASE_LOST);
    let after: Vec<String> =
        site.audit_of("operator-0")?.iter().skip(before.len()).filter(|event| writes(event)).map(describe).collect();
    assert!(after.is_empty(), "{after:?}");
    site.wait_condition("tempting", "Enrolled", "True", None)?;
    site.passed()
}

#[test]
fn a_deleted_lease_ends_the_leader_and_makes_another() -> Result<()> {
    let site = Site::new(Rig::shared()?, "lease-deleted", &[])?;
    let core = site.core(&[])?;
    let [first, _second] = two_replicas(&site)?;
    site.admin().delete(LEASES, &site.system, &site.release)?;
    assert_eq!(first.exit_code(NOTICED)?, LEASE_LOST);
    wait::until_true("the second replica to lead", PATIENCE, || Ok(site.leader()? == "operator-1"))?;
    a_new_edge_is_served(&site, &core, "after")?;
    site.passed()
}

/// Shorter than a term: the leader goes on as if nothing had been, without a restart.
#[test]
fn an_api_server_that_is_away_for_a_while_costs_nothing() -> Result<()> {
    let rig = Rig::start("away", Version::V1_36, Options::default())?;
    let site = Site::new(&rig, "api-away", &[])?;
    let core = site.core(&[])?;
    let operator = site.operator("operator-0", &[])?;
    a_new_edge_is_served(&site, &core, "before")?;
    rig.stop_api_server()?;
    // Long enough for a renewal of the Lease and every watch to fail.
    wait::holds("it lives and says so", Duration::from_secs(7), || Ok(operator.page("/livez")?.status == 200))?;
    rig.start_api_server()?;
    a_new_edge_is_served(&site, &core, "after")?;
    operator.process().still_runs()?;
    assert_eq!(site.leader()?, "operator-0");
    site.passed()
}

/// Longer than a term: nobody may act any more, so the leader ends; its container is started again and goes on.
#[test]
#[ignore = "waits a minute"]
fn an_api_server_that_is_away_for_a_minute_is_survived_by_a_restart() -> Result<()> {
    let rig = Rig::start("long-away", Version::V1_36, Options::default())?;
    let site = Site::new(&rig, "api-long-away", &[])?;
    let core = site.core(&[])?;
    let leader = site.operator("operator-0", &[])?;
    a_new_edge_is_served(&site, &core, "before")?;
    rig.stop_api_server()?;
    assert_eq!(leader.exit_code(Duration::from_mins(1))?, LEASE_LOST);
    // As the kubelet starts it again; there is no API server yet.
    let again = site.operator("operator-0", &[])?;
    wait::holds("it waits", Duration::from_secs(30), || again.process().still_runs().map(|()| true))?;
    rig.start_api_server()?;
    a_new_edge_is_served(&site, &core, "after")?;
    again.process().still_runs()?;
    site.passed()
}
