//! The program as a supervisor sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::Resolver;
use support::broker::soon;

#[test]
fn tells_version_and_commit() {
    let output = Command::new(env!("CARGO_BIN_EXE_tapir-edm")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("tapir-edm {}", tapir_version::LONG));
}

#[tokio::test]
async fn says_no_names_and_no_addresses_and_ends_at_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/dnstap.sock");
    let file = folder.path().join("edm.toml");
    let text = format!("format = 1\ninput-unix = \"{}\"\nhttp-listen = \"127.0.0.1:0\"\n", socket.display());
    std::fs::write(&file, text).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_tapir-edm"))
        .args(["run", "--config-file"])
        .arg(&file)
        .env_remove("RUST_LOG")
        .env_remove("TAPIR_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut resolver = Resolver::connect(&socket).await;
    resolver.answered("secret-name.looptest.dnstapir.se.", "198.51.100.77").await;
    resolver.answered("198-51-100-77.looptest.dnstapir.se.", "198.51.100.77").await;
    resolver.send(b"secret-garbage").await;
    resolver.stop().await;
    let mut liar = Resolver::connect_only(&socket).await;
    tokio::io::AsyncWriteExt::write_all(&mut liar.stream, &[0, 0, 0, 1, b's']).await.unwrap();
    liar.closed().await;

    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let output = soon("end", tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!socket.exists());
    let log = String::from_utf8(output.stdout).unwrap();
    let records: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&records[0]["version"], &records[0]["commit"]), (&tapir_version::VERSION.into(), &tapir_version::COMMIT.into()));
    assert!(log.contains("only looptest names make events"));
    let everything = log + &String::from_utf8(output.stderr).unwrap();
    for secret in ["secret", "198.51", "198-51", "c633644d"] {
        assert!(!everything.contains(secret), "{secret} in the log:\n{everything}");
    }
}
