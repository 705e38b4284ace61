//! The program as a supervisor sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::broker::port::free_port;
use support::broker::soon;
use support::{Resolver, Running, client_response, dns_message, get, until};
use tokio::io::AsyncWriteExt as _;

#[test]
fn tells_version_and_commit() {
    let output = Command::new(env!("CARGO_BIN_EXE_tapir-edm")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("tapir-edm {}", tapir_version::LONG));
}

/// The socket is `run/dnstap.sock` in `folder`.
fn start(folder: &Path, http: u16, level: &str) -> Child {
    configure(folder, http, "");
    program(folder).env("TAPIR_LOG", level).spawn().unwrap()
}

fn configure(folder: &Path, http: u16, more: &str) {
    let socket = folder.join("run/dnstap.sock");
    let text = format!(
        "format = 1\ninput-unix = \"{}\"\nhttp-listen = \"127.0.0.1:{http}\"\ndata-dir = \"{}\"\n{more}",
        socket.display(),
        folder.join("data").display()
    );
    std::fs::write(folder.join("aside"), text).unwrap();
    std::fs::rename(folder.join("aside"), folder.join("edm.toml")).unwrap();
}

fn program(folder: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tapir-edm"));
    program
        .args(["run", "--config-file"])
        .arg(folder.join("edm.toml"))
        .env_remove("RUST_LOG")
        .env_remove("TAPIR_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    program
}

async fn status(http: u16) -> serde_json::Value {
    serde_json::from_str(&get(http, "/status").await).unwrap_or_default()
}

fn terminate(child: &Child) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
}

#[tokio::test]
async fn says_no_names_and_no_addresses_and_ends_at_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/dnstap.sock");
    let child = start(folder.path(), 0, "info");
    let mut resolver = Resolver::connect(&socket).await;
    resolver.answered("secret-name.looptest.dnstapir.se.", "198.51.100.77").await;
    resolver.answered("198-51-100-77.looptest.dnstapir.se.", "198.51.100.77").await;
    resolver.send(b"secret-garbage").await;
    resolver.stop().await;
    let mut liar = Resolver::connect_only(&socket).await;
    liar.stream.write_all(&[0, 0, 0, 1, b's']).await.unwrap();
    liar.closed().await;

    terminate(&child);
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

/// As a container does that has used up its share of the processor, and a machine whose host has others to serve.
#[tokio::test]
async fn what_comes_while_it_stands_still_is_not_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let http = free_port();
    let mut running = Running(start(folder.path(), http, "info"));
    let mut resolver = Resolver::connect(&folder.path().join("run/dnstap.sock")).await;
    let frame = client_response(&dns_message("www.example."), "198.51.100.77".parse().unwrap());
    let frames = [u32::try_from(frame.len()).unwrap().to_be_bytes().as_slice(), &frame].concat().repeat(1000);
    let (goes_on, thousands) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let (writes, told) = (Arc::clone(&goes_on), Arc::clone(&thousands));
    // So that there is work at any moment.
    let writing = tokio::spawn(async move {
        while writes.load(Ordering::Relaxed) {
            resolver.stream.write_all(&frames).await.unwrap();
            told.fetch_add(1, Ordering::Relaxed);
        }
        resolver.stop().await;
    });
    let pid = Pid::from_raw(i32::try_from(running.0.id()).unwrap());
    for round in 0..15 {
        let before = thousands.load(Ordering::Relaxed);
        until("some frames more", async || thousands.load(Ordering::Relaxed) > before + round).await;
        kill(pid, Signal::SIGSTOP).unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
        kill(pid, Signal::SIGCONT).unwrap();
    }
    goes_on.store(false, Ordering::Relaxed);
    soon("the end of the connection", writing).await.unwrap();
    let metrics = get(http, "/metrics").await;
    let value = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap();
    assert_eq!(value("tapir_edm_input_frames_total "), 1000 * thousands.load(Ordering::Relaxed));
    assert_eq!(value("tapir_edm_input_frames_dropped_total "), 0);
    terminate(&running.0);
    assert!(soon("end", tokio::task::spawn_blocking(move || running.0.wait().unwrap())).await.unwrap().success());
}

#[tokio::test]
async fn works_and_ends_while_nobody_reads_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/dnstap.sock");
    let http = free_port();
    let mut child = start(folder.path(), http, "debug");
    let lost = async || {
        let metrics = get(http, "/metrics").await;
        metrics.lines().find_map(|line| line.strip_prefix("tapir_edm_log_lines_dropped_total ")?.parse::<u64>().ok()).unwrap()
    };
    let mut good = Resolver::connect(&socket).await;
    assert_eq!(lost().await, 0);
    // Each of these is two lines.
    soon("end of the queue", async {
        while lost().await < 100 {
            for _ in 0..200 {
                let mut liar = Resolver::connect_only(&socket).await;
                liar.stream.write_all(&[0, 0, 0, 1, b's']).await.unwrap();
                liar.closed().await;
            }
        }
    })
    .await;
    assert_eq!(get(http, "/livez").await.trim(), "ok");
    good.send(b"x").await;
    good.stop().await;
    terminate(&child);
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert!(tokio::time::timeout(Duration::from_secs(60), ended).await.expect("ends without a reader").unwrap().success());
}

/// A file that never lets itself be read, as on a disk that hangs.
#[tokio::test]
async fn ends_in_time_although_the_disk_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let http = free_port();
    configure(folder.path(), http, "");
    let mut child = program(folder.path()).spawn().unwrap();
    until("the start", async || status(http).await["config"]["revision"] == "").await;
    nix::unistd::mkfifo(&folder.path().join("list.dawg"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    configure(folder.path(), http, "well-known-domains-file = \"list.dawg\"\n");
    let tasks = format!("/proc/{}/task", child.id());
    let waits = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.unwrap().path().join("wchan")).is_ok_and(|place| place.contains("wait_for_partner"))
    };
    let hangs = async || std::fs::read_dir(&tasks).unwrap().any(waits);
    until("a thread that hangs", hangs).await;
    let asked = std::time::Instant::now();
    terminate(&child);
    let ended = soon("end", tokio::task::spawn_blocking(move || child.wait().unwrap())).await.unwrap();
    assert!(ended.success() && asked.elapsed() < Duration::from_millis(5500), "{ended}, {:?}", asked.elapsed());
}

#[tokio::test]
async fn how_much_is_logged_and_who_may_connect_changes_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/dnstap.sock");
    let http = free_port();
    configure(folder.path(), http, "");
    let child = program(folder.path()).spawn().unwrap();
    let becomes = async |revision: &str| {
        until("the configuration", async || status(http).await["config"]["revision"] == revision).await;
    };
    becomes("").await;
    let first = Resolver::connect(&socket).await;
    configure(folder.path(), http, "revision = \"one\"\ninput-max-connections = 1\ndebug = true\n");
    becomes("one").await;
    let ended = async || {
        let metrics = get(http, "/metrics").await;
        metrics.lines().any(|line| line.starts_with("tapir_edm_") && line.contains("limit") && line.ends_with(" 1"))
    };
    let mut second = Resolver::connect_only(&socket).await;
    second.closed().await;
    until("the refusal", ended).await;
    drop(first);
    terminate(&child);
    let output = soon("end", tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())).await.unwrap();
    let log = String::from_utf8(output.stdout).unwrap();
    assert!(log.contains("dnstap connection refused"), "told at the level DEBUG:\n{log}");
}
