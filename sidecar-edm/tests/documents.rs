//! What the guides say of EDM can be held against the sources: tests that are named exist and are run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../../sidecar-pop/tests/documents/named.rs"]
mod named;

#[test]
fn every_line_of_the_checklist_has_a_row_and_every_test_that_is_named_exists() {
    let text = named::guide("edm-compatibility.md");
    let mut faults = Vec::new();
    for (letter, last) in [('C', 32), ('E', 10)] {
        let rows = named::rows(&text, letter);
        assert_eq!(
            rows.iter().map(|row| row.0).collect::<Vec<_>>(),
            (1..=last).collect::<Vec<_>>(),
            "{letter}: each once, in order"
        );
        for (number, cells) in rows {
            assert_eq!(cells.len(), 4, "{letter}{number}");
            faults.extend(named::faults("sidecar-edm", cells[2]).into_iter().map(|fault| format!("{letter}{number}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
