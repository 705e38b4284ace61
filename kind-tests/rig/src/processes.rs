//! Children that never outlive the test run, each with its output in a file.

use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tapir_harness::progress::tail;

use crate::wait;

/// Lines of a log that go into an error.
const LAST_WORDS: usize = 15;
/// Below the range that the kernel takes ports from for whoever asks for any: a port from that range may be the source of somebody's
/// connection a moment later.
const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 20_000;

static NEXT_PORT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(RandomState::new().hash_one(std::process::id()) as u16));

/// A port of the loopback address that is free, and never given out twice by this process.
pub fn free_port() -> u16 {
    loop {
        let port = FIRST_PORT + NEXT_PORT.fetch_add(1, Ordering::Relaxed) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A program that runs beside the test. It is killed when this is dropped, and by the kernel when the test run ends in whatever way.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts a program with nothing of this process's environment but `PATH`; its output is appended to `<name>.log` in the folder.
    pub fn start(
        folder: &Path,
        name: &str,
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
    ) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).with_context(|| format!("opening {}", log.display()))?;
        // setpriv replaces itself by the program, so the process id is the program's.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder);
        command.envs(environment.iter().map(|(name, value)| (name, value))).current_dir(folder);
        command.stdin(Stdio::null()).stdout(file.try_clone().context("sharing a log")?).stderr(file);
        let child = spawn(command).with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child: Mutex::new(child), log })
    }

    /// Everything that it printed.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        if let Some(status) = child.try_wait()? {
            bail!("{} has ended already ({status})", self.name);
        }
        let pid = i32::try_from(child.id()).context("a process id")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        self.child().try_wait().with_context(|| format!("looking after {}", self.name))
    }

    /// An error with its last words when it has ended: what is waited for would never come.
    pub fn still_runs(&self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}); last words in {}:\n{}", self.name, self.log.display(), self.last_words()),
        }
    }

    /// Waits for its end; its exit code, or 128 and the signal that ended it as a shell says it.
    pub fn exit_code(&self, within: Duration) -> Result<i32> {
        let status = wait::until(&format!("{} to end", self.name), within, || self.ended())
            .with_context(|| format!("last words in {}:\n{}", self.log.display(), self.last_words()))?;
        Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
    }

    /// Ends it at once, as a node that loses power does.
    pub fn kill(&self) -> Result<()> {
        let mut child = self.child();
        child.kill().with_context(|| format!("killing {}", self.name))?;
        child.wait().map(|_| ()).with_context(|| format!("waiting for {}", self.name))
    }

    fn last_words(&self) -> String {
        tail(&self.log, LAST_WORDS)
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.kill();
    }
}

type Order = (Command, Sender<io::Result<Child>>);

/// The kernel kills a child when the *thread* that started it ends. Threads of tests end one by one, so one thread that lives as long as
/// this process starts them all.
fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
        let (orders, incoming) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in incoming {
                // Whoever asked may be gone, and its child with it.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, child) = mpsc::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    STARTER.lock().unwrap_or_else(PoisonError::into_inner).send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}
