//! The worker process: start, signal, end.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::log::Value;

/// A worker that runs, or did until a moment ago.
#[derive(Debug)]
pub(crate) struct Worker {
    id: Pid,
    started: Instant,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Killed(Signal),
    /// By a signal that has no name here (real-time signals), or reaped by nobody knows whom.
    Unknown,
}

impl End {
    pub(crate) fn field(self) -> (&'static str, Value) {
        match self {
            Self::Exited(code) => ("exit_code", Value::from(u64::from(code.unsigned_abs()))),
            Self::Killed(signal) => ("signal", Value::from(signal.as_str())),
            Self::Unknown => ("signal", Value::from("unknown")),
        }
    }
}

impl Worker {
    /// Starts the worker. The standard library gives it an empty signal mask, so that it hears what is forwarded.
    pub(crate) fn start(command: &[OsString]) -> std::io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn()?;
        let id = i32::try_from(child.id()).map_err(std::io::Error::other)?;
        Ok(Self { id: Pid::from_raw(id), started: Instant::now() })
    }

    pub(crate) fn id(&self) -> u64 {
        u64::from(self.id.as_raw().unsigned_abs())
    }

    pub(crate) fn life(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended this very moment; then the next reaping finds that out.
        let _ = kill(self.id, signal);
    }

    fn is_gone(&self) -> bool {
        kill(self.id, None) == Err(Errno::ESRCH)
    }
}

/// Reaps every child that ended, orphans included; tells the end of `worker` if it was among them.
pub(crate) fn reap(worker: Option<&Worker>) -> Option<End> {
    let mut end = None;
    let is_worker = |id| worker.is_some_and(|worker| worker.id == id);
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(id, code)) if is_worker(id) => end = Some(End::Exited(code)),
            Ok(WaitStatus::Signaled(id, signal, _)) if is_worker(id) => end = Some(End::Killed(signal)),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
            // An end that nix has no words for (EINVAL: a real-time signal) was reaped all the same. Stops are not asked for.
            Ok(_) | Err(Errno::EINVAL | Errno::EINTR) => {}
            Err(_) => break,
        }
    }
    end.or_else(|| worker.filter(|worker| worker.is_gone()).map(|_| End::Unknown))
}
