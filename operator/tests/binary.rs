//! The program as its container starts it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

#[test]
fn tells_version_and_commit() {
    let output = Command::new(env!("CARGO_BIN_EXE_tapir-operator")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("tapir-operator {}", tapir_version::LONG));
}

#[test]
fn logs_version_and_commit_before_anything_else() {
    let folder = std::env::temp_dir().join("no-such-folder-of-tapir-operator");
    let output = Command::new(env!("CARGO_BIN_EXE_tapir-operator"))
        .env("KUBECONFIG", folder.join("kubeconfig"))
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env("HOME", &folder)
        .output()
        .unwrap();
    assert!(!output.status.success(), "there is no cluster: {output:?}");
    let log = String::from_utf8(output.stdout).unwrap();
    let records: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&records[0]["version"], &records[0]["commit"]), (&tapir_version::VERSION.into(), &tapir_version::COMMIT.into()));
    assert_eq!(records.last().unwrap()["level"], "ERROR", "{log}");
}
