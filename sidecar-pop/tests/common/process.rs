//! The real binary, asked from outside.

#[allow(clippy::duplicate_mod, reason = "a test with a broker has it twice, each with ports of its own")]
#[path = "../../../tapir-runtime/tests/support/port.rs"]
mod port;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) use port::free_port;
use serde_json::Value;

/// Long, since test machines are slow and busy; a test that works does not wait for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for a condition; the last answer stands in the failure.
pub(crate) fn wait_for<T: std::fmt::Debug>(what: &str, mut ask: impl FnMut() -> T, good: impl Fn(&T) -> bool) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if good(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: still {answer:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program that is killed with the test.
#[derive(Debug)]
pub(crate) struct Program(pub(crate) Child);

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// POP with a configuration folder of its own.
#[derive(Debug)]
pub(crate) struct Pop {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) port: u16,
    pub(crate) http: SocketAddr,
    pub(crate) notify: Option<u16>,
}

impl Drop for Pop {
    /// A test that fails shows what POP said.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "log of POP:\n{log}");
        }
    }
}

impl Pop {
    pub(crate) fn new(notify: Option<u16>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("config")).unwrap();
        let http = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self { directory, port: free_port(), http, notify }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("config/pop.yaml")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Writes `pop.yaml` as a volume does: whole, by a rename.
    pub(crate) fn configure(&self, revision: &str, rest: &str) {
        let notify = self.notify.map(|port| format!("\"127.0.0.1:{port}\"")).unwrap_or_default();
        let head = format!(
            "format: 2\nrevision: {revision}\nlisten: \"127.0.0.1:{}\"\nhttpListen: \"{}\"\ndataDir: {}\nnotify: [{notify}]\n",
            self.port,
            self.http,
            self.state().display(),
        );
        self.write(&format!("{head}{rest}"));
    }

    pub(crate) fn write(&self, text: &str) {
        self.write_beside("pop.yaml", text);
    }

    /// The same for a file beside it.
    pub(crate) fn write_beside(&self, file: &str, text: &str) {
        let new = self.directory.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.file().with_file_name(file)).unwrap();
    }

    pub(crate) fn start(&self) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tapir-pop"));
        command.arg("run").arg("--config-file").arg(self.file()).arg("--state-dir").arg(self.state());
        // Tells of each transfer.
        command.env("TAPIR_LOG", "info,tapir_pop::dns::tcp=debug");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.directory.path().join("log")).unwrap();
        Program::start(command.stdout(log.try_clone().unwrap()).stderr(log))
    }

    pub(crate) fn status(&self) -> Option<Value> {
        serde_json::from_str(&get(self.http, "/status")?).ok()
    }

    /// Waits until the configuration of this revision is in force, and somebody listens where the zone is served.
    pub(crate) fn in_force(&self, revision: &str) -> Value {
        let good = |status: &Option<Value>| status.as_ref().is_some_and(|status| status["config"]["revision"] == revision);
        let status = wait_for("revision in force", || self.status(), good).unwrap();
        wait_for("the port of the zone", || TcpStream::connect(("127.0.0.1", self.port)).is_ok(), |open| *open);
        status
    }

    pub(crate) fn dig(&self, arguments: &[&str]) -> String {
        dig(self.port, arguments)
    }

    pub(crate) fn serial(&self) -> Option<u32> {
        self.dig(&["dnstapir.", "SOA", "+short"]).split(' ').nth(2)?.parse().ok()
    }
}

pub(crate) fn dig(port: u16, arguments: &[&str]) -> String {
    let port = port.to_string();
    let fixed = ["@127.0.0.1", "-p", port.as_str(), "+tries=1", "+time=5"];
    let Output { stdout, .. } = Command::new(program("dig")).args(fixed).args(arguments).output().unwrap();
    String::from_utf8_lossy(&stdout).into_owned()
}

/// `NOERROR`, `NXDOMAIN`, …
pub(crate) fn rcode(answer: &str) -> &str {
    answer.split("status: ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or("none")
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: pop\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// A program of the distribution: from `PATH`, where `cargo xtask test` puts what it brings along, or where Debian installs it.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed; run `cargo xtask test --fast`, which brings it along"))
}
