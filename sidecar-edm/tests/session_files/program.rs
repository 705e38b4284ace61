//! The real program with session files, in a process of its own.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;
use tempfile::TempDir;

use super::reader::File;
use super::support::broker::port::free_port;
use super::support::broker::soon;
use super::support::{Files, Resolver, Running, ask, get, until};

/// What upstream's recorded rows were made with.
pub(super) const SECRET: &str = "key1";
const SALT: &str = "cryptopan-key-salt = \"aabbccddeeffgghh\"\n";
pub(super) const ON: &str = "disable-session-files = false\n";
pub(super) const LIST: [&str; 2] = [".example.net.", "example.com."];

pub(super) struct Program {
    folder: TempDir,
    http: u16,
    running: Running,
}

impl Program {
    /// With the secret in its place, and these lines of configuration.
    pub(super) async fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::of(folder.path(), 0);
        std::fs::create_dir(files.config()).unwrap();
        files.write_list(&LIST);
        files.write("cryptopan.key", SECRET.as_bytes());
        Self::start_in(folder, more, &[]).await
    }

    /// The same where another one has left its files.
    pub(super) async fn start_in(folder: TempDir, more: &str, environment: &[(&str, &str)]) -> Self {
        let http = free_port();
        configure(&Files::of(folder.path(), http), more);
        let child = Command::new(env!("CARGO_BIN_EXE_tapir-edm"))
            .args(["run", "--config-file"])
            .arg(folder.path().join("config/edm.toml"))
            .envs(environment.iter().copied())
            .stdout(std::fs::File::create(folder.path().join("log")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self { folder, http, running: Running(child) };
        this.becomes("/edm/wellKnownDomains", LIST.len()).await;
        this
    }

    pub(super) fn files(&self) -> Files {
        Files::of(self.folder.path(), self.http)
    }

    pub(super) fn configure(&self, more: &str) {
        configure(&self.files(), more);
    }

    pub(super) async fn connect(&self) -> Resolver {
        Resolver::connect(&self.files().socket()).await
    }

    /// Tells of these answers, and waits until all were taken.
    pub(super) async fn tell(&self, frames: impl IntoIterator<Item = Vec<u8>>) {
        let mut resolver = self.connect().await;
        for frame in frames {
            resolver.send(&frame).await;
        }
        resolver.stop().await;
    }

    pub(super) async fn status(&self) -> Json {
        serde_json::from_str(&get(self.http, "/status").await).unwrap_or_default()
    }

    pub(super) async fn becomes(&self, pointer: &str, expected: impl Into<Json>) {
        let expected = expected.into();
        until(&format!("{pointer} = {expected}"), async || self.status().await.pointer(pointer) == Some(&expected)).await;
    }

    /// Value of a metric, without the `tapir_edm_` in front.
    pub(super) async fn metric(&self, name: &str) -> u64 {
        let text = get(self.http, "/metrics").await;
        let value = text.lines().find_map(|line| line.strip_prefix("tapir_edm_")?.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// KiB, as the kernel tells them.
    pub(super) fn memory(&self, member: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(member)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Ends the minute.
    pub(super) async fn rotate(&self) {
        assert_eq!(ask(self.http, "POST", "/debug/rotate-parquet").await, "rotation requested\n");
    }

    /// In order; leaves its files.
    pub(super) async fn stop(self) -> TempDir {
        let (folder, status) = self.end(Signal::SIGTERM).await;
        assert!(status.success(), "{status}");
        folder
    }

    pub(super) async fn kill(self) -> TempDir {
        self.end(Signal::SIGKILL).await.0
    }

    async fn end(self, signal: Signal) -> (TempDir, ExitStatus) {
        kill(Pid::from_raw(i32::try_from(self.running.0.id()).unwrap()), signal).unwrap();
        self.ended().await
    }

    /// Waits until it has killed itself.
    pub(super) async fn died(self) -> TempDir {
        let (folder, status) = self.ended().await;
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
        folder
    }

    async fn ended(self) -> (TempDir, ExitStatus) {
        let Self { folder, mut running, .. } = self;
        let status = soon("end", tokio::task::spawn_blocking(move || running.0.wait().unwrap())).await.unwrap();
        (folder, status)
    }
}

fn configure(files: &Files, more: &str) {
    let list = "well-known-domains-file = \"well-known-domains.dawg\"\nenable-manual-parquet-rotation = true\n";
    files.write_config(&format!("{list}{SALT}{more}"));
}

/// Where session files lie.
pub(super) fn folder(files: &Path) -> PathBuf {
    files.join("data/parquet/sessions")
}

/// Everything there, by name.
pub(super) fn names(files: &Path) -> Vec<String> {
    let Ok(found) = std::fs::read_dir(folder(files)) else { return Vec::new() };
    let mut names: Vec<_> = found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The finished ones, as whoever analyses them takes them.
pub(super) fn finished(files: &Path) -> Vec<File> {
    let parquet = names(files).into_iter().filter(|name| name.ends_with(".parquet"));
    parquet.map(|name| File::read(&std::fs::read(folder(files).join(name)).unwrap())).collect()
}
