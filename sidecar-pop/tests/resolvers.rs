//! Real resolvers do with the zone what was decided: unbound, BIND, PowerDNS Recursor and Knot Resolver, each asked for thousands of names of
//! random small worlds, for the zone as they took it first and after changes.
//!
//! What they cannot do, and nothing in a zone would cure, is written down in `docs/pop.md`, "Resolvers", and shown here:
//! * Knot Resolver answers DROP with SERVFAIL, and knows no redirect to a name.
//! * unbound misses names whose label sorts before `*` below a wildcard whose name has no record itself.
//! * PowerDNS Recursor of this version does not understand NOTIFY for policy zones, and its packet cache knows nothing of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "resolvers/ask.rs"]
mod ask;
#[path = "resolvers/fleet.rs"]
mod fleet;
#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "resolvers/real.rs"]
mod real;
#[path = "resolvers/serving.rs"]
mod serving;
mod universe;
#[path = "common/versions.rs"]
#[allow(dead_code)]
mod versions;
#[path = "resolvers/worlds.rs"]
mod worlds;

use std::io::Write as _;
use std::time::{Duration, Instant};

use ask::{Outcome, ask};
use fleet::{KINDS, Kind, Primary, Resolver};
use process::{Pop, free_port, wait_for};
use serving::Serving;
use tapir_table::{Code, Codes, KeyBuf};
use versions::Names;
use worlds::{Maker, World};

const WORLDS: usize = 120;
/// Worlds that become other ones with each change.
const CHANGED: usize = 12;
/// The number of the first version: the next ones go round the end (RFC 1982).
const FIRST: u32 = u32::MAX - 1;
/// All resolvers ask by themselves after a minute; what is there before came by NOTIFY, or because they were told to ask more often.
const SOON: Duration = Duration::from_secs(50);

/// The name that is blocked in this version only.
fn marker(version: u32) -> KeyBuf {
    universe::key(&format!("v{version}.marker"))
}

/// What is in the zone in this version.
fn zone(worlds: &[World], version: u32) -> Names {
    let mut zone: Names = worlds.iter().flat_map(World::zone).collect();
    zone.insert(marker(version), Codes::new(Code::NXDOMAIN, Code::SILENT));
    zone
}

/// How a resolver shows what was decided.
fn shown(kind: Kind, outcome: Outcome) -> Outcome {
    if kind == Kind::Knot && outcome == Outcome::Silence { Outcome::Failed } else { outcome }
}

async fn takes_over(kind: Kind, port: u16, version: u32) {
    let end = Instant::now() + SOON;
    let name = [(marker(version).to_wire(), false)];
    while ask(port, &name).await != [Outcome::Nxdomain] {
        assert!(Instant::now() < end, "{kind:?} has not taken version {version} after {SOON:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Names of which a resolver says something else than what was decided.
async fn wrong(kind: Kind, port: u16, worlds: &[World]) -> (usize, Vec<String>) {
    let suiting = worlds.iter().filter(|world| world.suits(kind));
    let mut open: Vec<_> = suiting
        .flat_map(|world| world.questions().into_iter().map(move |(name, decided)| (world, name, shown(kind, decided))))
        .collect();
    let (asked, end) = (open.len(), Instant::now() + SOON / 2);
    loop {
        let names: Vec<_> = open.iter().map(|(_, name, expected)| (name.to_wire(), *expected == Outcome::Silence)).collect();
        let outcomes = ask(port, &names).await;
        let pairs = open.into_iter().zip(outcomes);
        let wrong: Vec<_> = pairs.filter(|((_, _, expected), outcome)| expected != outcome).collect();
        // BIND puts a version in force bit by bit.
        if wrong.is_empty() || Instant::now() > end {
            let told = wrong.iter().map(|((world, name, expected), outcome)| {
                format!("{kind:?}: {name} is {outcome:?}, not {expected:?}, in {:?} of {:?}", world.zone(), world.universe)
            });
            return (asked, told.collect());
        }
        open = wrong.into_iter().map(|(question, _)| question).collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// All at the same time.
async fn all_equal(resolvers: &[Resolver], worlds: &[World], version: u32, seed: u64) {
    let mut tasks = tokio::task::JoinSet::new();
    for resolver in resolvers {
        let (kind, port, worlds) = (resolver.kind, resolver.port, worlds.to_vec());
        tasks.spawn(async move {
            let begin = Instant::now();
            takes_over(kind, port, version).await;
            let took = begin.elapsed();
            let (asked, wrong) = wrong(kind, port, &worlds).await;
            (kind, took, begin.elapsed(), asked, wrong)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (kind, took, whole, asked, wrong) = done.unwrap();
        let _ = writeln!(
            std::io::stderr(),
            "version {version}, {kind:?}: taken after {took:?}, {} of {asked} names wrong, {whole:?}",
            wrong.len()
        );
        assert!(asked > 1000, "{asked}");
        all.extend(wrong.into_iter().take(3));
    }
    assert!(all.is_empty(), "TAPIR_RESOLVERS_SEED={seed} makes them again\n{}", all.join("\n\n"));
}

/// Whether Knot Resolver can be run here; says so if not.
fn knot_runs() -> bool {
    let obstacle = fleet::knot_cannot_run();
    if let Some(reason) = &obstacle {
        let _ = writeln!(std::io::stderr(), "NOT RUN: Knot Resolver, for which a mount namespace is needed: {reason}");
    }
    obstacle.is_none()
}

/// Starts all that can be started here.
fn start(serving: &Serving, ports: [u16; KINDS.len()]) -> Vec<Resolver> {
    let kinds = KINDS.into_iter().zip(ports).filter(|(kind, _)| *kind != Kind::Knot || knot_runs());
    let mut resolvers: Vec<_> = kinds.map(|(kind, port)| Resolver::new(kind, port, serving.primary)).collect();
    write_zone(serving, &resolvers);
    resolvers.iter_mut().for_each(Resolver::start);
    resolvers
}

/// For who takes files.
fn write_zone(serving: &Serving, resolvers: &[Resolver]) {
    for resolver in resolvers.iter().filter(|resolver| resolver.kind == Kind::Knot) {
        resolver.write_zone(&serving.as_text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_resolver_does_what_was_decided_before_and_after_changes() {
    let (mut maker, began) = (Maker::new(), Instant::now());
    let mut worlds: Vec<_> = (0..WORLDS).map(|number| maker.world(number)).collect();
    let _ = writeln!(std::io::stderr(), "{} names, {:?}", zone(&worlds, 0).len(), began.elapsed());
    let ports = fleet::ports();
    let mut serving = Serving::start(FIRST, zone(&worlds, 0), &ports);
    let resolvers = start(&serving, ports);
    all_equal(&resolvers, &worlds, 0, maker.seed).await;
    let whole = serving.counts().0;
    for version in 1..=3_u32 {
        for change in 0..CHANGED {
            let number = (usize::try_from(version).unwrap() * 31 + change * 7) % WORLDS;
            worlds[number] = maker.world(number);
        }
        serving.publish(FIRST.wrapping_add(version), zone(&worlds, version));
        write_zone(&serving, &resolvers);
        all_equal(&resolvers, &worlds, version, maker.seed).await;
    }
    // Whoever transfers got three changes; the one whole transfer more for each is the text for Knot Resolver.
    let (whole_after, changes) = serving.counts();
    assert!(changes >= 9, "{changes} of 9 changes were asked for as such");
    assert!(whole_after - whole <= 3, "{whole_after} whole transfers, {whole} of them at the start");
}

/// A zone as plain as it can be; `said` has a name, what is said of it, and what is said of names below it.
fn plain(said: &[(&str, Code, Code)]) -> Names {
    said.iter().map(|(name, own, below)| (universe::key(name), Codes::new(*own, *below))).collect()
}

async fn expect(resolver: &Resolver, names: &[(&str, Outcome)]) {
    for (name, expected) in names {
        let (end, expected) = (Instant::now() + SOON / 2, shown(resolver.kind, *expected));
        loop {
            let outcome = ask(resolver.port, &[(universe::key(name).to_wire(), expected == Outcome::Silence)]).await;
            // BIND puts a version in force bit by bit.
            if outcome == [expected] {
                break;
            }
            assert!(Instant::now() < end, "{name} of {:?} is {outcome:?}, not {expected:?}", resolver.kind);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Why names are in the zone that seem to say nothing, and where resolvers differ whatever is in it.
#[tokio::test(flavor = "multi_thread")]
async fn resolvers_differ_where_nothing_is_said_of_a_name_between() {
    const BLOCK: Code = Code::NXDOMAIN;
    const NOTHING: Code = Code::SILENT;
    let ports = fleet::ports();
    let names = plain(&[
        ("v0.marker", BLOCK, NOTHING),
        // `a.open.` exists, since something below it does, and has no record.
        ("open", BLOCK, BLOCK),
        ("x.a.open", Code::PASSTHRU, Code::PASSTHRU),
        ("closed", BLOCK, BLOCK),
        ("a.closed", BLOCK, BLOCK),
        ("x.a.closed", Code::PASSTHRU, Code::PASSTHRU),
        ("alone", NOTHING, Code::DROP),
        ("redirect", Code::set(2).unwrap(), NOTHING),
    ]);
    let serving = Serving::start(1, names, &ports);
    for resolver in start(&serving, ports) {
        let kind = resolver.kind;
        takes_over(kind, resolver.port, 0).await;
        // Both are below `*.open.`, and each of the two kinds of resolver is right by its own book. unbound is of both minds.
        let stops = |at: &[Kind]| if at.contains(&kind) { Outcome::Usual } else { Outcome::Nxdomain };
        expect(&resolver, &[("x.a.open", Outcome::Usual), ("b.open", Outcome::Nxdomain)]).await;
        expect(&resolver, &[("y.a.open", stops(&[Kind::Bind, Kind::Unbound])), ("w.a.open", stops(&[Kind::Bind]))]).await;
        expect(&resolver, &[("a.open", stops(&[Kind::Bind]))]).await;
        let spelled_out = ["a.closed", "w.a.closed", "y.a.closed", "b.closed"];
        expect(&resolver, &spelled_out.map(|name| (name, Outcome::Nxdomain))).await;
        expect(&resolver, &[("x.a.closed", Outcome::Usual), ("y.x.a.closed", Outcome::Usual)]).await;

        let before_the_asterisk = if kind == Kind::Unbound { Outcome::Usual } else { Outcome::Silence };
        expect(&resolver, &[("a.alone", Outcome::Silence), ("!.alone", before_the_asterisk), ("x.!.alone", before_the_asterisk)])
            .await;
        let redirected = if kind == Kind::Knot { Outcome::Usual } else { Outcome::Alias };
        expect(&resolver, &[("redirect", redirected)]).await;
    }
}

/// Those that keep a copy of the zone on disk, and what they hold is newer than anything that a POP knows which lost all of its own. Knot
/// Resolver reads the file that POP writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_pop_that_lost_its_state_is_heard_by_resolvers_that_kept_theirs() {
    let pop = Pop::new(None);
    let primary = Primary { signed: pop.port, open: pop.port, internet: ask::internet() };
    let kinds = [Kind::Unbound, Kind::Bind, Kind::Knot].into_iter().filter(|kind| *kind != Kind::Knot || knot_runs());
    let mut resolvers: Vec<_> = kinds.map(|kind| Resolver::new(kind, free_port(), primary)).collect();
    let head = format!(
        "listen: \"127.0.0.1:{}\"\nhttpListen: \"{}\"\ndataDir: {}\naccess: {{tsigKeyFiles: [tsig]}}\n\
         notify: [\"127.0.0.1:{}\", {{address: \"127.0.0.1:{}\", tsigKeyFile: tsig}}]\n\
         zoneFile: {{path: {}}}\ndeny: {{action: NXDOMAIN}}\n",
        pop.port,
        pop.http,
        pop.state().display(),
        resolvers[0].port,
        resolvers[1].port,
        resolvers.last().unwrap().zone_file().display(),
    );
    let policy = |revision: &str, name: &str| {
        let source = format!("sources: [{{name: deny, list: Deny, match: Subtree, inline: {{names: [{name}]}}}}]\n");
        format!("format: 2\nrevision: {revision}\n{head}{source}")
    };
    pop.write_beside("tsig", &format!("hmac-sha256:k:{}\n", fleet::SECRET));
    pop.write(&policy("one", "first.lab"));
    let running = pop.start();
    pop.in_force("one");
    wait_for("the file", || resolvers.last().unwrap().zone_file().exists(), |there| *there);
    for resolver in &mut resolvers {
        resolver.start();
        becomes(resolver, "www.first.lab", Outcome::Nxdomain).await;
    }
    let held = wait_for("a serial", || pop.serial(), Option::is_some).unwrap();
    running.kill();
    std::fs::remove_dir_all(pop.state()).unwrap();
    for resolver in &mut resolvers {
        resolver.kill();
        resolver.start();
        becomes(resolver, "www.first.lab", Outcome::Nxdomain).await;
    }

    pop.write(&policy("two", "second.lab"));
    let _running = pop.start();
    let begin = Instant::now();
    for resolver in &resolvers {
        becomes(resolver, "www.second.lab", Outcome::Nxdomain).await;
        becomes(resolver, "www.first.lab", Outcome::Usual).await;
    }
    assert!(begin.elapsed() < SOON, "told, not asked: {:?}", begin.elapsed());
    let serial = pop.serial().unwrap();
    assert!(serial.wrapping_sub(held) < 1 << 31 && serial != held, "{serial} after {held}");
}

async fn becomes(resolver: &Resolver, name: &str, expected: Outcome) {
    let (end, question) = (Instant::now() + SOON, [(universe::key(name).to_wire(), false)]);
    loop {
        let outcome = ask(resolver.port, &question).await;
        if outcome == [expected] {
            return;
        }
        assert!(Instant::now() < end, "{name} of {:?} is still {outcome:?}, not {expected:?}", resolver.kind);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
