//! What the guides say of EDM can be held against the sources: tests that are named exist and are run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tapir_wire::config::edm::{EdmConfig, Form};

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

/// What a user copies is taken.
#[test]
fn the_example_for_a_machine_without_kubernetes_is_upstreams_form_and_says_where_the_socket_is() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/vm");
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let config = EdmConfig::parse(&text("dnstapir-edm.toml")).unwrap().config;
    assert_eq!((config.form, config.socket_mode()), (Form::Upstream, Some(0o660)));
    let socket = config.input_unix.to_str().unwrap();
    for resolver in ["unbound.conf", "named.conf", "kresd.conf"] {
        assert!(text(resolver).contains(&format!("\"{socket}\"")), "{resolver}");
    }
    let unit = text("dnstapir-edm.service");
    assert!(unit.contains("RuntimeDirectory=dnstapir\n") && unit.contains("StateDirectory=dnstapir/edm\n"));
    assert!(
        unit.contains(" --config-file /etc/dnstapir/dnstapir-edm.toml run\n")
            && unit.contains("ExecReload=/bin/kill -HUP $MAINPID\n")
    );
}
