//! The real program in a process of its own, with a list and a broker.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::broker::port::free_port;
use crate::support::core::Core;
use crate::support::{Files, get, until};

pub(crate) struct Program {
    folder: TempDir,
    http: u16,
    running: Child,
}

impl Program {
    /// Connected to the broker, with its list in force.
    pub(crate) async fn start(core: &Core, listed: &BTreeSet<String>) -> Self {
        let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
        let files = Files::of(folder.path(), http);
        std::fs::create_dir(files.config()).unwrap();
        files.write_list(&listed.iter().map(String::as_str).collect::<Vec<_>>());
        files.write_config("well-known-domains-file = \"well-known-domains.dawg\"");
        core.identity(&files);
        let log = std::fs::File::create(folder.path().join("edm.log")).unwrap();
        let running = Command::new(env!("CARGO_BIN_EXE_tapir-edm"))
            .args(["run", "--config-file"])
            .arg(files.config().join("edm.toml"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let program = Self { folder, http, running };
        let words = listed.len();
        program
            .becomes("broker and list", |status| {
                status["core"]["connected"] == true && status["edm"]["wellKnownDomains"] == words
            })
            .await;
        program
    }

    /// Waits until so many frames have come.
    pub(crate) async fn has_read(&self, frames: u64) {
        self.becomes(&format!("{frames} frames"), |status| status["edm"]["frames"].as_u64() >= Some(frames)).await;
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn metrics(&self) -> String {
        get(self.http, "/metrics").await
    }

    /// Waits until its status is as it should be.
    pub(crate) async fn becomes(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        until(what, async || holds(&serde_json::from_str(&get(self.http, "/status").await).unwrap_or_default())).await;
    }

    /// Ends it in order. Gives the histogram files that wait for a receiver, which nobody told it of.
    pub(crate) async fn stop(mut self) -> Vec<Vec<u8>> {
        kill(Pid::from_raw(i32::try_from(self.running.id()).unwrap()), Signal::SIGTERM).unwrap();
        until("the end of EDM", async || self.running.try_wait().unwrap().is_some()).await;
        assert!(self.running.wait().unwrap().success());
        let outbox = Files::of(self.folder(), 0).data().join("parquet/histograms/outbox");
        let files = std::fs::read_dir(outbox).unwrap().map(|entry| entry.unwrap().path());
        files.map(|file| std::fs::read(file).unwrap()).collect()
    }
}

impl Drop for Program {
    /// Does not outlive a test that fails.
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}
