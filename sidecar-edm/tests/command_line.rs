//! The program's command line and exit codes (`spec/edm.md` 2.1 and chapter 13).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Runs the program to its end, with nothing of this environment that concerns it. One that goes on serving is ended, and its signal is no exit code.
fn edm(folder: &Path, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tapir-edm"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("TAPIR_LOG", "info")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
        }
        sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

#[test]
fn help_is_told_and_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in
        [&[][..], &["help"], &["-h"], &["--help"], &["run", "--help"], &["run", "-debug", "-h"], &["domains", "--help"]]
    {
        let output = edm(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout).to_lowercase().contains("usage: tapir-edm"), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_followed_ends_with_one() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        (&["walk"][..], "unknown command \"walk\""),
        (&["--colour", "run"], "flag --colour is not known"),
        (&["run", "--debug=perhaps"], "flag --debug must be true or false"),
        (&["run", "left", "over"], "\"left\" is one argument too many"),
        (&["domains", "walk"], "walk"),
        (&["domains", "inspect", "missing.dawg"], "missing.dawg"),
    ] {
        let output = edm(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(said) && output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
}

/// As upstream: nothing serves before everything is there.
#[test]
fn a_daemon_with_upstreams_file_ends_where_something_is_missing_at_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let output = edm(folder.path(), &["run"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(".dnstapir-edm.toml is missing"), "{output:?}");

    std::fs::write(folder.path().join("up.toml"), "input-tcp = '127.0.0.1:0'\nmqtt-server = 'ftp://h'\n").unwrap();
    let output = edm(folder.path(), &["--config-file", "up.toml", "run", "--data-dir="]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    for line in [
        "invalid configuration:",
        "cryptopan-key must be set",
        "data-dir must be set",
        "line 2, mqtt-server has an unsupported scheme",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }

    let output = edm(folder.path(), &["--config-file=up.toml", "run", "--cryptopan-key=hush", "--mqtt-server=h:1"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("mqtt-signing-key-file edm-mqtt-signer-key.pem") && said.contains("well-known-domains.dawg"), "{said}");
    let services = ["mqtt", "http"]
        .map(|service| ["signing-key", "client-key", "client-cert"].map(|file| format!("{service}-{file}-file ")));
    for file in services.as_flattened() {
        assert!(said.contains(file), "{file}: {said}");
    }
    assert!(!said.contains("hush"), "{said}");
}

#[test]
fn a_configuration_is_checked_with_what_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edm.toml");
    let check = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        edm(folder.path(), &[&["check-config", "--config-file", "edm.toml"], more].concat())
    };
    let good = check("format = 2\ndisabled = true\n", &["--mqtt-topic", "x"]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let said = text(&good.stdout);
    assert!(
        said.contains("warning: flag --mqtt-topic is ignored") && said.contains("own form") && said.ends_with("good\n"),
        "{said}"
    );

    let bad = check("format = 2\ndisabled = true\nignored-client-ips-file = 'c'\nignored-question-names-file = 'n.txt'\n", &[]);
    assert_eq!(bad.status.code(), Some(1));
    assert_eq!(text(&bad.stderr).lines().count(), 2, "both at once: {bad:?}");
    std::fs::write(folder.path().join("c"), "192.0.2.1\n").unwrap();
    std::fs::write(folder.path().join("n.txt"), ".internal.example.\n").unwrap();
    let bad = check("format = 2\ndisabled = true\nignored-client-ips-file = 'c'\nignored-question-names-file = 'n.txt'\n", &[]);
    assert!(text(&bad.stderr).starts_with("ignored-client-ips-file c: list of clients, line 1: has no prefix length"), "{bad:?}");

    let keyless = check("format = 2\ndisable-session-files = false\n", &[]);
    assert!(text(&keyless.stderr).lines().any(|line| line == "session files: cryptopan.key is missing"), "{keyless:?}");

    let unknown = check("format = 2\nnewqname-bufer = 1\n", &[]);
    assert!(
        text(&unknown.stderr).ends_with("edm.toml: unknown key newqname-bufer (line 2); check the spelling or remove it\n"),
        "{unknown:?}"
    );
    let identity = check("format = 2\n", &[]);
    let all = ["tls.crt", "tls.key", "ca.crt", "node.json", "datakey.jwk"].map(|file| format!("identity: {file} is missing\n"));
    assert_eq!(text(&identity.stderr), all.concat(), "all of it");
}
