//! `tapir-edm domains`: files as upstream's compiler writes them, and what is said of files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tapir-wire/tests/common/mod.rs"]
mod common;

use std::process::{Command, Output};

use common::{bytes, json, string, upstream};
use tapir_edm::domains::{Source, compile, inspect};

/// The words of a file, backwards and in capitals, make the same octets.
fn check(name: &str, octets: &[u8]) {
    let mut words = Vec::new();
    tapir_wire::dawg::scan(octets, u64::MAX, |word| {
        words.push(word.to_ascii_uppercase());
        Ok::<_, tapir_wire::dawg::WalkError>(())
    })
    .unwrap();
    words.reverse();
    let compiled = compile(words.join("\n").as_bytes(), Source::Text).unwrap();
    assert!(compiled.file == octets, "{name}: other octets");
    assert_eq!((compiled.words, compiled.duplicates), (words.len(), 0), "{name}");
}

#[test]
fn texts_become_the_octets_of_upstreams_compiler() {
    for name in ["empty", "one", "single-char", "mixed", "200-hosts"] {
        check(name, &bytes(&format!("edm/dawg/generated-{name}.dawg")));
    }
    for name in
        ["ignored.dawg", "well-known-domains.dawg", "ignored-question-names.valid1.dawg", "ignored-question-names.valid2.dawg"]
    {
        let Some(octets) = upstream(&format!("edm/dawg/{name}")) else { continue };
        check(name, &octets);
    }
}

#[test]
fn files_are_what_the_recorded_numbers_say() {
    for vector in json("edm/dawg.json")["vectors"].as_array().unwrap() {
        let file = format!("edm/dawg/{}", string(vector, "file"));
        let octets = if file.contains("generated") { Some(bytes(&file)) } else { upstream(&file) };
        let Some(octets) = octets else { continue };
        let found = inspect(&octets).unwrap();
        let numbers = [found.header.words, found.header.nodes, found.header.edges_added];
        assert_eq!(numbers.map(Some), ["num_added", "num_nodes", "num_edges"].map(|name| vector[name].as_u64()), "{file}");
        assert!(found.as_compiled, "{file}");
        assert_eq!(found.exact + found.suffixes + found.unmatchable, found.header.words, "{file}");
    }
    let mixed = inspect(&bytes("edm/dawg/generated-mixed.dawg")).unwrap();
    assert_eq!((mixed.exact, mixed.suffixes, mixed.unmatchable), (5, 2, 0));
    assert_eq!(mixed.ends, Some((".".to_owned(), "www.example.com.".to_owned())));
}

fn edm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tapir-edm")).arg("domains").args(arguments).output().unwrap()
}

fn text(octets: Vec<u8>) -> String {
    String::from_utf8(octets).unwrap()
}

#[test]
fn the_program_makes_and_inspects_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (list, file) = (path("list"), path("list.dawg"));
    std::fs::write(&list, "rank,name\n1,Example.COM\n2,.example.net\n3,example.com\n").unwrap();
    let made = edm(&["compile", "--format", "csv", &list, &file]);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(
        text(made.stdout),
        format!("{file}: 2 names, {} octets; 1 lines left out that stood twice\n", std::fs::read(&file).unwrap().len())
    );

    let inspected = edm(&["inspect", &file, "WWW.example.net", "example.com", "example.net"]);
    assert!(inspected.status.success(), "{inspected:?}");
    let said = text(inspected.stdout);
    for line in [
        "1 names, 1 with everything below a name, 0 that no name can match",
        "from \".example.net.\" to \"example.com.\"",
        "compiled again: the same octets",
        "WWW.example.net: .example.net., suffix match",
        "example.com: example.com., exact match",
        "example.net: not in the list",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
}

#[test]
fn what_is_no_list_is_refused_and_the_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (list, file) = (path("list"), path("list.dawg"));
    std::fs::write(&file, b"old").unwrap();
    std::fs::write(&list, "a.example\na b\n").unwrap();
    let refused = edm(&["compile", &list, &file]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(refused.stderr).contains("line 2: \"a b\": domain name has a character"));
    assert_eq!(std::fs::read(&file).unwrap(), b"old");
    let damaged = edm(&["inspect", &file]);
    assert_eq!(damaged.status.code(), Some(1));
    assert!(text(damaged.stderr).starts_with(&file));
    assert_eq!(edm(&["inspect", &path("none")]).status.code(), Some(1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside them");
}
