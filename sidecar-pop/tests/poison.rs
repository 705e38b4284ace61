//! What a source has makes the code that reads it panic (`TAPIR_TEST_POISON`, which builds for debugging know): that ends neither the process nor
//! what is in force, of this source or of another, and a restart finds it as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/primary.rs"]
#[allow(dead_code)]
mod primary;
#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;

use std::process::{Command, Stdio};

use primary::{Primary, Script, ZONE};
use process::{Pop, Program, get, rcode, wait_for};
use serde_json::Value;

const POISON: &str = "poison";
const BAD: &str = "poison.example";

fn start(pop: &Pop) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapir-pop"));
    command.arg("run").arg("--config-file").arg(pop.file()).arg("--state-dir").arg(pop.state()).env("TAPIR_TEST_POISON", POISON);
    let log = std::fs::OpenOptions::new().create(true).append(true).open(pop.directory.path().join("log")).unwrap();
    Program::start(command.stdout(log).stderr(Stdio::null()))
}

/// Names below which something is said in the zone.
fn listed(pop: &Pop, names: &[&str]) -> Vec<bool> {
    let asked = names.iter().map(|name| pop.dig(&[&format!("{name}.dnstapir."), "CNAME", "+noall", "+answer", "+comments"]));
    asked.map(|answer| rcode(&answer) == "NOERROR" && answer.contains("CNAME")).collect()
}

fn wait_listed(pop: &Pop, names: &[&str], expected: &[bool]) {
    wait_for(&format!("{names:?}"), || listed(pop, names), |listed| listed == expected);
}

fn row(status: &Value, source: &str) -> Value {
    let rows = status["pop"]["sources"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == source).unwrap().clone()
}

/// The row of a source once it is so.
fn wait_row(pop: &Pop, source: &str, good: impl Fn(&Value) -> bool) -> Value {
    wait_for(source, || row(&pop.status().unwrap(), source), |row| good(row))
}

fn panicked(row: &Value) -> bool {
    row["error"].as_str().is_some_and(|error| error.contains("panicked"))
}

fn panics(pop: &Pop, source: &str) -> u64 {
    let metrics = get(pop.http, "/metrics").unwrap();
    let line = metrics.lines().find(|line| line.starts_with(&format!("tapir_pop_source_panics_total{{source=\"{source}\"")));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

/// What was told of the part that sources belong to, with its identifier.
fn events(pop: &Pop, words: &str) -> Vec<String> {
    let status = pop.status().unwrap();
    let events = status["pop"]["events"].as_array().into_iter().flatten();
    let of = events.filter(|event| event["component"] == "rpz-inbound" && event["message"].as_str().unwrap().contains(words));
    of.map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

fn log(pop: &Pop) -> String {
    std::fs::read_to_string(pop.directory.path().join("log")).unwrap()
}

#[test]
fn a_list_that_makes_pop_panic_ends_neither_the_process_nor_what_was_in_force() {
    let pop = Pop::new(None);
    let list = |names: &[&str]| pop.write_beside("list", &names.join("\n"));
    list(&["one.example"]);
    pop.write_beside("other", "other.example\n");
    let csv = "format: Csv, column: 1, header: false";
    pop.configure(
        "one",
        &format!(
            "sources:\n- {{name: bad, list: Deny, file: {{path: list, {csv}}}}}\n- {{name: good, list: Deny, file: {{path: other, {csv}}}}}\n"
        ),
    );
    let running = start(&pop);
    pop.in_force("one");
    wait_listed(&pop, &["one.example", "other.example"], &[true, true]);

    list(&["two.example", BAD]);
    // What it held stays, so it is stale and not failed.
    wait_row(&pop, "bad", |row| panicked(row) && row["state"] == "Stale" && row["entries"] == 1);
    let ids = wait_for("an event", || events(&pop, "source bad"), |ids| !ids.is_empty());
    assert!(ids.len() == 1 && ids[0].len() == 36, "{ids:?}");
    assert!(log(&pop).contains(&ids[0]));
    // Others go on, and so do answers.
    pop.write_beside("other", "another.example\n");
    wait_listed(&pop, &["one.example", "two.example", "other.example", "another.example"], &[true, false, false, true]);
    // It is tried again, although the file is the same.
    wait_for("another attempt", || panics(&pop, "bad"), |panics| *panics >= 2);
    assert_eq!(panics(&pop, "good"), 0);
    assert_eq!(events(&pop, "source bad"), ids, "told once");

    // The next process finds the same file, and what was kept before it.
    running.kill();
    let running = start(&pop);
    pop.in_force("one");
    wait_row(&pop, "bad", |row| panicked(row) && row["entries"] == 1);
    wait_listed(&pop, &["one.example", "two.example", "another.example"], &[true, false, true]);

    list(&["three.example"]);
    wait_listed(&pop, &["one.example", "three.example", "another.example"], &[false, true, true]);
    wait_row(&pop, "bad", |row| row["state"] == "Ready" && row["error"].is_null());
    assert!(!log(&pop).contains("stopping the process"));

    // One that never had anything else has failed, and costs nobody anything.
    list(&[BAD]);
    running.kill();
    std::fs::remove_dir_all(pop.state()).unwrap();
    let _running = start(&pop);
    pop.in_force("one");
    wait_row(&pop, "bad", |row| panicked(row) && row["state"] == "Failed");
    wait_listed(&pop, &["three.example", "another.example"], &[false, true]);
}

/// Short lists beside `pop.yaml` come into force with it, and are kept with it for a restart.
#[test]
fn a_list_that_comes_with_the_configuration_is_kept_as_it_was() {
    let pop = Pop::new(None);
    pop.write_beside("list", "one.example\n");
    pop.configure(
        "one",
        "sources: [{name: bad, list: Deny, file: {path: list}}, {name: good, list: Deny, inline: {names: [other.example]}}]\n",
    );
    let running = start(&pop);
    pop.in_force("one");
    wait_listed(&pop, &["one.example", "other.example"], &[true, true]);
    pop.write_beside("list", &format!("two.example\n{BAD}\n"));
    wait_row(&pop, "bad", |row| panicked(row) && row["state"] == "Stale" && row["entries"] == 1);
    assert_eq!(wait_for("an event", || events(&pop, "source bad").len(), |count| *count > 0), 1);
    assert!(panics(&pop, "bad") > 0);
    running.kill();
    let _running = start(&pop);
    pop.in_force("one");
    wait_row(&pop, "bad", |row| panicked(row) && row["state"] == "Stale" && row["entries"] == 1);
    wait_listed(&pop, &["one.example", "two.example", "other.example"], &[true, false, true]);
    pop.write_beside("list", "three.example\n");
    wait_listed(&pop, &["one.example", "three.example", "other.example"], &[false, true, true]);
    wait_row(&pop, "bad", |row| row["state"] == "Ready" && row["error"].is_null());
    wait_for(
        "a part that is well",
        || get(pop.http, "/metrics").unwrap(),
        |text| text.contains("tapir_pop_component_state{component=\"rpz-inbound\"} 0"),
    );
    assert!(!log(&pop).contains("stopping the process"));
}

#[test]
fn a_feed_that_makes_pop_panic_keeps_its_version_until_there_is_one_that_does_not() {
    let records = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), ".".to_owned())).collect();
    let script =
        Script { serial: 1, refresh: 1, retry: 5, expire: 3600, records: records(&["one.example"]), ..Script::default() };
    let primary = Primary::new(script);
    let pop = Pop::new(None);
    let feed = format!("rpz: {{primaries: ['{}'], zone: {ZONE}, minRefreshSeconds: 1}}", primary.address);
    pop.configure("one", &format!("sources: [{{name: bad, list: Deny, {feed}}}]\n"));
    let running = start(&pop);
    pop.in_force("one");
    wait_listed(&pop, &["one.example"], &[true]);

    // As a change, and then as the whole, which is asked for in its place.
    let next = |serial: u32, names: &[&str], change: &[&str]| {
        let mut script = primary.script();
        let step = (script.serial, serial, Vec::new(), change.iter().map(|name| ((*name).to_owned(), ".".to_owned())).collect());
        (script.serial, script.records) = (serial, records(names));
        script.steps = vec![step];
    };
    next(2, &["one.example", BAD], &[BAD]);
    wait_row(&pop, "bad", |row| panicked(row) && row["state"] == "Stale" && row["serial"] == 1);
    wait_for("another attempt", || panics(&pop, "bad"), |panics| *panics >= 2);
    wait_listed(&pop, &["one.example"], &[true]);
    assert_eq!(wait_for("an event", || events(&pop, "source bad").len(), |count| *count > 0), 1);

    running.kill();
    let _running = start(&pop);
    pop.in_force("one");
    wait_row(&pop, "bad", |row| panicked(row) && row["serial"] == 1);
    wait_listed(&pop, &["one.example"], &[true]);

    next(3, &["one.example", "three.example"], &["three.example"]);
    wait_listed(&pop, &["one.example", "three.example"], &[true, true]);
    wait_row(&pop, "bad", |row| row["state"] == "Ready" && row["serial"] == 3);
    assert!(!log(&pop).contains("stopping the process"));
}
