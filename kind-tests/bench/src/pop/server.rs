//! The real binary as a process, in a control group of its own, asked from outside.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use tapir_rig::{Process, free_port, wait};

use super::reader;
use crate::broker::write;
use crate::group::{self, Group};
use crate::operator::{exposition, process};

pub(super) const PATIENCE: Duration = Duration::from_mins(2);
const SOA: u16 = 6;
/// An answer over UDP on one machine takes some microseconds.
const ANSWER: Duration = Duration::from_millis(50);
/// It has nothing to do when it used less than this of the processor, seconds, in [`CALM_FOR`].
const CALM: f64 = 0.03;
const CALM_FOR: Duration = Duration::from_millis(500);

/// It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Pop {
    process: Option<Process>,
    pub(super) group: Group,
    folder: PathBuf,
    program: PathBuf,
    pub(super) dns: SocketAddr,
    http: SocketAddr,
}

impl Pop {
    /// Its folders; it does not run yet. It gets a copy of the program that nobody else has mapped.
    pub(super) fn new(folder: &Path, program: &Path) -> Result<Self> {
        let copy = folder.join("tapir-pop");
        fs::create_dir_all(folder.join("config")).with_context(|| format!("creating {}", folder.display()))?;
        fs::copy(program, &copy).with_context(|| format!("copying {}", program.display()))?;
        let local = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        Ok(Self { process: None, group: Group::new(), folder: folder.to_owned(), program: copy, dns: local(), http: local() })
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub(super) fn configure(&self, notify: SocketAddr, rest: &str) -> Result<()> {
        let text = format!(
            "format: 2\nlisten: \"{}\"\nhttpListen: \"{}\"\ndataDir: {}\nnotify: [\"{notify}\"]\n{rest}",
            self.dns,
            self.http,
            self.state().display(),
        );
        write(&self.config().join("pop.yaml"), &text)
    }

    pub(super) fn start(&mut self) -> Result<()> {
        let command = format!(
            "{}exec {} run --config-file {} --state-dir {}",
            self.group.enter(),
            self.program.display(),
            self.config().join("pop.yaml").display(),
            self.state().display(),
        );
        let shell = Path::new("/bin/sh");
        self.process = Some(Process::start(&self.folder, "pop", shell, &["-c".to_owned(), command], &[])?);
        Ok(())
    }

    /// `kill -9`.
    pub(super) fn kill(&self) -> Result<()> {
        self.process()?.kill()
    }

    fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("tapir-pop was not started")
    }

    pub(super) fn pid(&self) -> Result<u32> {
        Ok(self.process()?.pid())
    }

    /// Memory of its control group, in MiB.
    pub(super) fn usage(&self) -> Result<f64> {
        self.group.usage(self.pid()?)
    }

    /// The kernel forgets what it keeps of its files.
    pub(super) fn forget_files(&self) -> Result<()> {
        group::forget(&self.folder, self.pid()?)
    }

    /// All metrics, as Prometheus reads them.
    pub(super) fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(self.http).context("connecting to POP's HTTP")?;
        stream.set_read_timeout(Some(PATIENCE)).context("setting up a connection")?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: pop\r\nConnection: close\r\n\r\n").context("asking for metrics")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("reading metrics")?;
        Ok(answer)
    }

    /// `tapir_pop_NAME` with all of these labels; 0 where there is none.
    pub(super) fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        Ok(exposition::sum(&self.metrics()?, &format!("tapir_pop_{name}"), labels).unwrap_or(0.0))
    }

    /// Waits until a metric has reached a value.
    pub(super) fn reaches(&self, name: &str, labels: &[&str], value: f64) -> Result<()> {
        let mut last = 0.0;
        wait::until_true(&format!("{name} to reach {value}"), PATIENCE, || {
            self.process()?.still_runs()?;
            last = self.metric(name, labels)?;
            Ok(last >= value)
        })
        .with_context(|| format!("it is {last}"))
    }

    /// Waits until it has nothing to do.
    pub(super) fn settle(&self) -> Result<()> {
        let (pid, end) = (self.pid()?, Instant::now() + PATIENCE);
        let mut calm = 0;
        while calm < 2 {
            let before = process::processor(pid)?;
            std::thread::sleep(CALM_FOR);
            calm = if process::processor(pid)? - before < CALM { calm + 1 } else { 0 };
            if Instant::now() > end {
                bail!("POP does not come to rest");
            }
        }
        Ok(())
    }

    /// The serial that it answers with, over UDP.
    pub(super) fn serial(&self) -> Result<u32> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).context("binding a socket")?;
        socket.connect(self.dns).context("connecting a socket")?;
        socket.set_read_timeout(Some(ANSWER)).context("setting up a socket")?;
        socket.send(&reader::question(7, SOA)).context("asking for the SOA")?;
        let mut buffer = [0; 1500];
        let length = socket.recv(&mut buffer).context("waiting for the SOA")?;
        let soa = buffer.get(..length).and_then(reader::soa).ok_or_else(|| anyhow!("no SOA in the answer"))?;
        soa.first_chunk().map(|serial| u32::from_be_bytes(*serial)).context("no serial")
    }
}
