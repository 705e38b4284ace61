//! What the guides say of POP can be held against the sources: tests that are named exist, metrics that exist are named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "documents/named.rs"]
mod named;

use std::fs;

use named::{faults, guide, project, rows};
use tapir_pop::setup::{NoFiles, Setup};

/// Whose tests are named without more.
const OWN: &str = "sidecar-pop";

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
            faults.extend(named::faults(OWN, cells[3]).into_iter().map(|fault| format!("{letter}{number}: {fault}")));
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
    let named = "`tests/documents.rs::what_is_no_test_is_found`, `tapir-wire/tests/pop.rs::tags_have_cores_names`";
    assert!(faults(OWN, named).is_empty() && faults(OWN, "`tests/zone_codes.rs::nothing_is_said_in_vain`").is_empty());
    for named in ["tests/documents/named.rs::rows", "tests/documents.rs::what_is_no_test", "tests/nowhere.rs::x"] {
        assert_eq!(faults(OWN, &format!("`{named}`")).len(), 1, "{named}");
    }
    assert_eq!(faults(OWN, "no test"), ["names no test"]);
}
