//! The real program in a process of its own, with what it logs.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::support::broker::port::free_port;
use super::support::broker::soon;
use super::support::{Files, Resolver, get, until};

pub struct Process {
    folder: TempDir,
    http: u16,
    child: Child,
}

/// Does not outlive a test that fails.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts with what `prepare` puts into the configuration folder.
    pub fn start(prepare: impl FnOnce(&Files)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("config")).unwrap();
        let http = free_port();
        prepare(&Files::of(folder.path(), http));
        Self::start_in(folder, http)
    }

    fn start_in(folder: TempDir, http: u16) -> Self {
        let log = || std::fs::File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tapir-edm"))
            .args(["run", "--config-file"])
            .arg(folder.path().join("config/edm.toml"))
            .current_dir(folder.path())
            .env_remove("RUST_LOG")
            .stdout(log())
            .stderr(log())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { folder, http, child }
    }

    pub fn files(&self) -> Files {
        Files::of(self.folder.path(), self.http)
    }

    pub fn port(&self) -> u16 {
        self.http
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub async fn logged(&self, part: &str) {
        until(&format!("{part:?} in the log"), async || self.log().contains(part)).await;
    }

    pub async fn get(&self, path: &str) -> String {
        get(self.http, path).await
    }

    pub async fn status(&self) -> Value {
        serde_json::from_str(&self.get("/status").await).unwrap_or_default()
    }

    pub async fn status_becomes(&self, pointer: &str, expected: impl Into<Value>) {
        let expected = expected.into();
        until(&format!("{pointer} = {expected}"), async || {
            self.status().await.pointer(pointer).unwrap_or(&Value::Null) == &expected
        })
        .await;
    }

    /// Waits for words in what is wrong with the configuration.
    pub async fn is_wrong(&self, words: &str) {
        let said = async || self.status().await["config"]["error"].as_str().is_some_and(|error| error.contains(words));
        until(&format!("{words:?} in the status"), said).await;
    }

    /// A line of the metrics, name and labels, has this value.
    pub async fn metric_becomes(&self, line: &str, value: u64) {
        let line = format!("{line} {value}");
        until(&line, async || self.get("/metrics").await.lines().any(|have| have == line)).await;
    }

    pub async fn connect(&self) -> Resolver {
        Resolver::connect(&self.files().socket()).await
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Ends it in order, and starts it again where it has left its files, after `prepare`.
    pub async fn again(self, prepare: impl FnOnce(&Files)) -> Self {
        let http = self.http;
        let folder = self.stop().await;
        prepare(&Files::of(folder.path(), http));
        Self::start_in(folder, http)
    }

    /// In order; its folder stays.
    pub async fn stop(mut self) -> TempDir {
        self.signal(Signal::SIGTERM);
        soon("end", async {
            while self.child.try_wait().unwrap().is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
        assert!(self.child.wait().unwrap().success());
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}
