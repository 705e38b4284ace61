//! What the guides say of POP can be held against the sources: tests that are named exist, metrics that exist are named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use tapir_pop::setup::{NoFiles, Setup};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn guide(name: &str) -> String {
    fs::read_to_string(project().join("docs").join(name)).unwrap()
}

/// Cells of the rows whose first cell is this letter and a number.
fn rows(text: &str, letter: char) -> Vec<(u32, Vec<&str>)> {
    text.lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").map(str::trim).collect();
            let number = cells.first()?.strip_prefix(letter)?.parse().ok()?;
            Some((number, cells))
        })
        .collect()
}

/// What stands between backticks and has the form `file.rs::test`.
fn named(cell: &str) -> Vec<(&str, &str)> {
    cell.split('`').skip(1).step_by(2).filter_map(|text| text.split_once(".rs::")).collect()
}

/// Why this is no test that is run.
fn fault(file: &str, test: &str) -> Option<String> {
    let own = file.starts_with("tests/") || file.starts_with("src/");
    let path = project().join(if own { "sidecar-pop/" } else { "" }).join(format!("{file}.rs"));
    let Ok(text) = fs::read_to_string(&path) else { return Some(format!("{file}.rs is no file")) };
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let is_it = |line: &&str| {
        let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ").and_then(|rest| rest.strip_prefix(test));
        rest.is_some_and(|rest| rest.starts_with('('))
    };
    let Some(at) = lines.iter().position(is_it) else { return Some(format!("{file}.rs has no {test}")) };
    let attributes: Vec<_> =
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//")).collect();
    let runs = attributes.iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
    let ignored = attributes.iter().any(|line| line.starts_with("#[ignore"));
    (!runs || ignored).then(|| format!("{file}.rs: {test} is no test that is run"))
}

#[test]
fn every_weakness_has_a_row_and_every_test_that_is_named_exists() {
    let text = guide("pop-weaknesses.md");
    let mut faults = Vec::new();
    for (letter, last) in [('W', 34), ('P', 13)] {
        let rows = rows(&text, letter);
        assert_eq!(
            rows.iter().map(|row| row.0).collect::<Vec<_>>(),
            (1..=last).collect::<Vec<_>>(),
            "{letter}: each once, in order"
        );
        for (number, cells) in rows {
            assert_eq!(cells.len(), 4, "{letter}{number}");
            let tests = named(cells[3]);
            if tests.is_empty() {
                faults.push(format!("{letter}{number} names no test"));
            }
            faults.extend(
                tests.into_iter().filter_map(|(file, test)| fault(file, test)).map(|fault| format!("{letter}{number}: {fault}")),
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Every key of the guide's example does something: nothing is left over that would only be said in `/status`. Files are not there.
#[test]
fn every_key_is_served() {
    let guide = guide("pop.md");
    let example = guide.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let (setup, warnings) = Setup::parse(example, &mut NoFiles).unwrap();
    let other: Vec<_> = setup.unserved.iter().chain(&warnings).filter(|said| !said.contains("is missing")).collect();
    assert!(other.is_empty(), "{other:?}");
    let all = "format: 2\nglobalConfig: {enabled: true}\ntelemetry: {enabled: true}\nlimits: {connections: 5}\n";
    let setup = Setup::parse(all, &mut NoFiles).unwrap().0;
    assert_eq!((setup.unserved.len(), setup.connections), (0, 5));
    assert!(setup.global_config.is_some() && setup.telemetry.is_some());
}

/// Records for addresses and name servers would break what an allow list promises; see the guide.
#[test]
fn other_triggers_cannot_be_asked_for() {
    let asked =
        "format: 2\nsources:\n- {name: f, list: Deny, rpz: {primaries: ['192.0.2.1:53'], zone: f, otherTriggers: Publish}}\n";
    let error = Setup::parse(asked, &mut NoFiles).unwrap_err().to_string();
    assert!(error.contains("sources[0].rpz.otherTriggers") && error.contains("line 3"), "{error}");
    assert!(guide("pop.md").contains("as a policy zone of its own, behind POP's"));
}

/// What is forbidden for the workspace cannot be allowed anywhere below; a member that does not take the workspace's lints could.
#[test]
fn unsafe_code_is_forbidden_in_the_whole_workspace() {
    let read = |file: &str| fs::read_to_string(project().join(file)).unwrap();
    let workspace = read("Cargo.toml");
    assert!(workspace.contains("\n[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
    let members = workspace.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    let members: Vec<_> = members.split('"').skip(1).step_by(2).collect();
    assert!(members.len() > 10, "{members:?}");
    for member in members {
        assert!(read(&format!("{member}/Cargo.toml")).contains("\n[lints]\nworkspace = true\n"), "{member} has lints of its own");
    }
}

/// The check itself sees what it is for.
#[test]
fn what_is_no_test_is_found() {
    assert_eq!(fault("tests/documents", "what_is_no_test_is_found"), None);
    assert_eq!(fault("tapir-wire/tests/pop", "tags_have_cores_names"), None);
    assert_eq!(fault("tests/zone_codes", "nothing_is_said_in_vain"), None);
    for (file, test) in [("tests/documents", "rows"), ("tests/documents", "what_is_no_test"), ("tests/nowhere", "x")] {
        assert!(fault(file, test).is_some(), "{file} {test}");
    }
}
