//! The dev Core says what it is.
#![allow(clippy::unwrap_used)]

#[test]
fn tells_version_and_commit() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_core-dev")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("core-dev {}", tapir_version::LONG));
}
