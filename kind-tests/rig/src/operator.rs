//! One replica of the operator as a process.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::http;
use crate::processes::Process;
use crate::wait;

/// Takes part in leader election under the name of its Pod, with the rights of the chart's ServiceAccount.
#[derive(Debug)]
pub struct Operator {
    pub(crate) process: Process,
    pub(crate) address: String,
    pub(crate) webhook: String,
}

impl Operator {
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits for its end; 128 and the signal that ended it, if one did.
    pub fn exit_code(&self, within: Duration) -> Result<i32> {
        self.process.exit_code(within)
    }

    /// `http://` and where it serves its pages.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `https://` and where it serves the webhook, in releases that have one. There is no kube-proxy: the API server finds it by `url` only.
    pub fn webhook(&self) -> &str {
        &self.webhook
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Everything that it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until it says this; an error when it ends before.
    pub fn wait_for_log(&self, words: &str, within: Duration) -> Result<()> {
        wait::until_true(&format!("the log to say {words:?}"), within, || Ok(self.log().contains(words)))
            .with_context(|| format!("it says\n{}", self.log()))
    }

    /// Whether it works, rather than waiting for its turn.
    pub fn wait_leading(&self, within: Duration) -> Result<()> {
        self.wait_for_log("\"leading\"", within)
    }

    /// A page of its HTTP server: `/metrics`, `/livez`, `/readyz`.
    pub fn page(&self, path: &str) -> Result<http::Answer> {
        let client = http::client(None, None)?;
        http::send(client.get(format!("{}{path}", self.address))).with_context(|| format!("asking for {path}"))
    }

    pub fn metrics(&self) -> Result<String> {
        let page = self.page("/metrics")?;
        ensure!(page.status == 200, "/metrics answers {}", page.status);
        Ok(page.text)
    }

    /// Memory that it holds now.
    pub fn rss_kib(&self) -> Result<u64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        line.trim().trim_end_matches("kB").trim().parse().context("reading VmRSS")
    }

    /// Processor time that it took so far.
    pub fn cpu(&self) -> Result<Duration> {
        // Fields 14 and 15 of proc(5), counted behind the name, which may have spaces; in hundredths of a second on every Linux.
        let stat = self.proc("stat")?;
        let (_, fields) = stat.rsplit_once(')').context("reading stat")?;
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.process.pid());
        fs::read_to_string(&path).with_context(|| format!("reading {path}"))
    }
}
