//! The real POP behind all of them: lists and rules of its `pop.yaml`, transfers with a key and without, NOTIFY, and the file of the zone.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::fleet::{self, KINDS, Kind, Primary, Resolver};
use super::process::{Pop, wait_for};
use super::worlds::GARDEN;
use super::{Outcome, ask, becomes, knot_runs, shown};

/// Names that never change: so many that a transfer of them all is told from one of what changed.
const REST: usize = 3000;
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const OTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 79);

/// A feed with records of every kind, as a file.
fn feed(pop: &Pop, records: &str) {
    let mut text =
        format!("$ORIGIN feed.example.\n$TTL 60\n@ SOA ns.example. h.example. 1 60 60 86400 60\n  NS ns.example.\n{records}");
    (0..REST).for_each(|index| writeln!(text, "name-{index}.rest.lab CNAME .").unwrap());
    pop.write_beside("feed.zone", &text);
}

fn policy(pop: &Pop, resolvers: &[Resolver], revision: &str, allowed: &str) {
    let port = |kind| resolvers.iter().find(|resolver| resolver.kind == kind).unwrap().port;
    pop.write(&format!(
        "format: 2\nrevision: {revision}\nlisten: \"127.0.0.1:{}\"\nhttpListen: \"{}\"\ndataDir: {}\naccess: {{tsigKeyFiles: [tsig]}}\n\
         notify: [\"127.0.0.1:{}\", {{address: \"127.0.0.1:{}\", tsigKeyFile: tsig}}]\nzoneFile: {{path: {}}}\nsources:\n\
         - {{name: feed, list: Deny, keepAction: true, file: {{path: feed.zone, format: Rpz, zone: feed.example.}}}}\n\
         - {{name: allowed, list: Allow, inline: {{names: [{allowed}]}}}}\n\
         - {{name: one, list: Doubt, file: {{path: one}}}}\n\
         - {{name: two, list: Doubt, match: Subtree, inline: {{names: [both.lab]}}}}\n\
         doubt:\n- {{name: agreed, minSources: 2, action: Redirect, redirect: {{addresses: [{FIRST_ADDRESS}]}}}}\n",
        pop.port,
        pop.http,
        pop.state().display(),
        port(Kind::Unbound),
        port(Kind::Bind),
        resolvers.last().unwrap().zone_file().display(),
    ));
}

/// The marker of this state first, then everything else, of every resolver.
async fn all_say(resolvers: &[Resolver], marker: &str, names: &[(&str, Outcome)]) {
    for resolver in resolvers {
        becomes(resolver, marker, Outcome::Nxdomain).await;
        for (name, decided) in names {
            let expected = match (resolver.kind, *decided) {
                // It knows no redirect to a name.
                (Kind::Knot, Outcome::Alias) => Outcome::Usual,
                (kind, decided) => shown(kind, decided),
            };
            // BIND puts a version in force bit by bit.
            if expected == Outcome::Silence {
                let question = [(super::universe::key(name).to_wire(), true)];
                let silent = async { while ask(resolver.port, &question).await != [Outcome::Silence] {} };
                let patience = tokio::time::timeout(super::SOON, silent).await;
                assert!(patience.is_ok(), "{name} of {:?} is answered", resolver.kind);
            } else {
                becomes(resolver, name, expected).await;
            }
        }
    }
}

/// Octets of all transfers that POP says were whole.
fn transfers(pop: &Pop) -> Vec<u64> {
    let log = std::fs::read_to_string(pop.directory.path().join("log")).unwrap();
    let lines = log.lines().filter(|line| line.contains("zone transferred"));
    lines
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let octets = line.pointer("/fields/octets").or_else(|| line.get("octets"));
            octets.and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("{line}"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_pop_is_heard_by_all_before_and_after_changes_and_a_kill() {
    let pop = Pop::new(None);
    let primary = Primary { signed: pop.port, open: pop.port, internet: super::ask::internet() };
    let kinds = KINDS.into_iter().zip(fleet::ports()).filter(|(kind, _)| *kind != Kind::Knot || knot_runs());
    let mut resolvers: Vec<_> = kinds.map(|(kind, port)| Resolver::new(kind, port, primary)).collect();
    pop.write_beside("tsig", &format!("hmac-sha256:k:{}\n", fleet::SECRET));
    pop.write_beside("one", "both.lab\nother.lab\n");
    feed(
        &pop,
        &format!(
            "first.marker CNAME .\nnx.lab CNAME .\nnodata.lab CNAME *.\ndrop.lab CNAME rpz-drop.\ntcp.lab CNAME rpz-tcp-only.\n\
             pass.lab CNAME rpz-passthru.\naddress.lab A {OTHER_ADDRESS}\nalias.lab CNAME {GARDEN}\nsub.lab CNAME .\n*.sub.lab CNAME .\n"
        ),
    );
    policy(&pop, &resolvers, "one", "fine.x.sub.lab");
    let running = pop.start();
    pop.in_force("one");
    let file = resolvers.last().unwrap().zone_file();
    wait_for("the file", || std::fs::read_to_string(&file).unwrap_or_default(), |text| text.contains("first.marker"));
    resolvers.iter_mut().for_each(Resolver::start);
    let before = [
        ("nx.lab", Outcome::Nxdomain),
        ("www.nx.lab", Outcome::Usual),
        ("nodata.lab", Outcome::Nodata),
        ("drop.lab", Outcome::Silence),
        ("tcp.lab", Outcome::Truncated),
        ("pass.lab", Outcome::Usual),
        ("address.lab", Outcome::Address(OTHER_ADDRESS)),
        ("alias.lab", Outcome::Alias),
        ("sub.lab", Outcome::Nxdomain),
        ("www.sub.lab", Outcome::Nxdomain),
        ("x.sub.lab", Outcome::Nxdomain),
        ("fine.x.sub.lab", Outcome::Usual),
        ("both.lab", Outcome::Address(FIRST_ADDRESS)),
        ("other.lab", Outcome::Usual),
    ];
    all_say(&resolvers, "first.marker", &before).await;
    let whole = transfers(&pop);
    let least = *whole.iter().min().unwrap();
    assert!(whole.len() >= 3 && least > 10 * REST as u64, "unbound, BIND and PowerDNS: {whole:?}");

    // Others are blocked, others are let pass, one is redirected elsewhere.
    pop.write_beside("one", "other.lab\n");
    feed(
        &pop,
        &format!(
            "second.marker CNAME .\nnodata.lab CNAME .\ndrop.lab CNAME *.\ntcp.lab CNAME {GARDEN}\npass.lab CNAME rpz-drop.\n\
             address.lab A {FIRST_ADDRESS}\nsub.lab CNAME .\n*.sub.lab CNAME .\n"
        ),
    );
    policy(&pop, &resolvers, "two", "www.sub.lab");
    let after = [
        ("nx.lab", Outcome::Usual),
        ("nodata.lab", Outcome::Nxdomain),
        ("drop.lab", Outcome::Nodata),
        ("tcp.lab", Outcome::Alias),
        ("pass.lab", Outcome::Silence),
        ("address.lab", Outcome::Address(FIRST_ADDRESS)),
        ("alias.lab", Outcome::Usual),
        ("www.sub.lab", Outcome::Usual),
        ("x.sub.lab", Outcome::Nxdomain),
        ("fine.x.sub.lab", Outcome::Nxdomain),
        ("both.lab", Outcome::Usual),
    ];
    all_say(&resolvers, "second.marker", &after).await;

    // What changed since is told from disk too.
    running.kill();
    let _running = pop.start();
    feed(&pop, "third.marker CNAME .\nnx.lab CNAME .\n");
    all_say(&resolvers, "third.marker", &[("nx.lab", Outcome::Nxdomain), ("www.sub.lab", Outcome::Usual)]).await;
    let all = transfers(&pop);
    let changes = &all[whole.len()..];
    assert!(changes.len() >= 6, "{changes:?}");
    assert!(changes.iter().all(|octets| *octets < least / 10), "only what changed, of {least}: {changes:?}");
}
