//! The program as a supervisor sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

#[test]
fn tells_version_and_commit() {
    let output = Command::new(env!("CARGO_BIN_EXE_tapir-pop")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("tapir-pop {}", tapir_version::LONG));
}

#[test]
fn logs_version_and_commit_before_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tapir-pop"))
        .args(["run", "--config-file"])
        .arg(folder.path().join("pop.yaml"))
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&record["version"], &record["commit"]), (&tapir_version::VERSION.into(), &tapir_version::COMMIT.into()));
}
