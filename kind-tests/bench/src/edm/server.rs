//! The real binary as a process, in a control group of its own, seen from outside.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tapir_rig::{Process, Signal, free_port, wait};

use crate::broker::write;
use crate::group::{self, Group};
use crate::operator::{exposition, process};

pub(super) const PATIENCE: Duration = Duration::from_mins(2);
/// Between two looks at a process that starts.
const LOOK: Duration = Duration::from_micros(500);
/// Of its configuration.
const FORMAT: u32 = 2;
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Edm {
    process: Option<Process>,
    pub(super) group: Group,
    folder: PathBuf,
    program: PathBuf,
    http: SocketAddr,
}

impl Edm {
    /// Its folders; it does not run yet. It gets a copy of the program that nobody else has mapped.
    pub(super) fn new(folder: &Path, program: &Path) -> Result<Self> {
        let copy = folder.join("tapir-edm");
        fs::create_dir_all(folder.join("config")).with_context(|| format!("creating {}", folder.display()))?;
        fs::copy(program, &copy).with_context(|| format!("copying {}", program.display()))?;
        let http = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Ok(Self { process: None, group: Group::new(), folder: folder.to_owned(), program: copy, http })
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("dnstap.sock")
    }

    /// Where it keeps what it keeps.
    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Its configuration with some lines more.
    pub(super) fn configure(&self, more: &str) -> Result<()> {
        let text = format!(
            "format = {FORMAT}\ninput-unix = \"{}\"\nhttp-listen = \"{}\"\ndata-dir = \"{}\"\nwell-known-domains-file = \"well-known-domains.dawg\"\n{more}",
            self.socket().display(),
            self.http,
            self.state().display(),
        );
        write(&self.config().join("edm.toml"), &text)
    }

    pub(super) fn write_list(&self, file: &[u8]) -> Result<()> {
        fs::write(self.config().join("well-known-domains.dawg"), file).context("writing the list")
    }

    /// Begins without anything that an earlier one kept, in a container of so many MiB. Gives the time until it was ready with a list of so
    /// many names.
    pub(super) fn start(&mut self, limit: Option<u64>, names: usize) -> Result<Duration> {
        self.empty_state()?;
        self.start_again(limit, names)
    }

    /// Stops it, and forgets what it kept.
    pub(super) fn empty_state(&mut self) -> Result<PathBuf> {
        self.stop()?;
        let state = self.state();
        if state.exists() {
            fs::remove_dir_all(&state).with_context(|| format!("removing {}", state.display()))?;
        }
        fs::create_dir_all(&state).context("creating the state folder")?;
        Ok(state)
    }

    /// The same with what an earlier one kept.
    pub(super) fn start_again(&mut self, limit: Option<u64>, names: usize) -> Result<Duration> {
        self.stop()?;
        self.group.limit(limit)?;
        let program = format!("{} run --config-file {}", self.program.display(), self.config().join("edm.toml").display());
        let command = self.group.contained(&program);
        let began = Instant::now();
        self.process = Some(Process::start(&self.folder, "edm", Path::new("/bin/sh"), &["-c".to_owned(), command], &[])?);
        loop {
            self.process()?.still_runs()?;
            if self.get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) && self.listed()? == names as u64 {
                return Ok(began.elapsed());
            }
            if began.elapsed() > PATIENCE {
                bail!("tapir-edm is not ready with its list: {}", self.get("/readyz")?);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// With SIGTERM, if it runs.
    pub(super) fn stop(&mut self) -> Result<()> {
        if let Some(process) = self.process.take() {
            process.signal(Signal::SIGTERM)?;
            process.exit_code(ENDS_WITHIN)?;
        }
        Ok(())
    }

    /// At once, as a machine that loses power does.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.process.take().context("tapir-edm was not started")?.kill()
    }

    /// Ends the minute; the configuration has to allow it.
    pub(super) fn rotate(&self) -> Result<()> {
        let answer = self.ask("POST", "/debug/rotate-parquet")?;
        if answer.starts_with("HTTP/1.1 202") { Ok(()) } else { bail!("ending a minute: {answer}") }
    }

    /// Whether it has written session files, finished or not.
    pub(super) fn has_sessions(&self) -> bool {
        fs::read_dir(self.state().join("parquet/sessions")).is_ok_and(|mut files| files.next().is_some())
    }

    fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("tapir-edm was not started")
    }

    pub(super) fn still_runs(&self) -> Result<()> {
        self.process()?.still_runs()
    }

    pub(super) fn pid(&self) -> Result<u32> {
        Ok(self.process()?.pid())
    }

    /// Seconds of the processor so far, all threads.
    pub(super) fn processor(&self) -> Result<f64> {
        process::processor(self.pid()?)
    }

    /// Its resident memory: the most since it was last forgotten, and now, in MiB.
    pub(super) fn resident(&self) -> Result<(f64, f64)> {
        let memory = process::memory(self.pid()?)?;
        Ok((memory.peak as f64 / 1024.0, memory.now as f64 / 1024.0))
    }

    /// The most that was resident is what is resident now (proc_pid_clear_refs(5)), and the kernel forgets what it keeps of files.
    pub(super) fn forget(&self) -> Result<()> {
        let pid = self.pid()?;
        fs::write(format!("/proc/{pid}/clear_refs"), "5").context("forgetting the most that was resident")?;
        group::forget(&self.folder, pid)
    }

    fn listed(&self) -> Result<u64> {
        Ok(self.status()?.pointer("/edm/wellKnownDomains").and_then(Value::as_u64).unwrap_or_default())
    }

    pub(super) fn status(&self) -> Result<Value> {
        let answer = self.get("/status")?;
        let (_, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        serde_json::from_str(body).context("reading the status")
    }

    fn get(&self, path: &str) -> Result<String> {
        self.ask("GET", path)
    }

    /// The whole answer.
    fn ask(&self, method: &str, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.http).context("connecting to EDM's HTTP")?;
        stream.set_read_timeout(Some(PATIENCE)).context("setting up a connection")?;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: edm\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .context("asking")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("reading an answer")?;
        Ok(answer)
    }

    /// All metrics, as Prometheus reads them.
    pub(super) fn metrics(&self) -> Result<String> {
        self.get("/metrics")
    }

    /// `tapir_edm_NAME`, the sum over all labels; 0 where there is none.
    pub(super) fn metric(&self, name: &str) -> Result<f64> {
        Ok(metric(&self.metrics()?, name))
    }

    /// Waits until a metric has reached a value.
    pub(super) fn reaches(&self, name: &str, value: f64) -> Result<()> {
        let mut last = 0.0;
        wait::until_true(&format!("{name} to reach {value}"), PATIENCE, || {
            self.process()?.still_runs()?;
            last = self.metric(name)?;
            Ok(last >= value)
        })
        .with_context(|| format!("it is {last}"))
    }
}

pub(super) fn metric(text: &str, name: &str) -> f64 {
    exposition::sum(text, &format!("tapir_edm_{name}"), &[]).unwrap_or(0.0)
}
