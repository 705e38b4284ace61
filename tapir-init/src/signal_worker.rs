//! `tapir-init kill`: for `kubectl exec`, where images have no shell and no `kill`.

use std::fmt;
use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Why nothing was signalled.
#[derive(Debug)]
pub(crate) enum SignalError {
    NotOurs(i32),
    NoWorker,
    Refused(Errno),
}

impl fmt::Display for SignalError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs(id) => write!(formatter, "process {id} is not a tapir-init that runs a command"),
            Self::NoWorker => write!(formatter, "there is no worker at this moment"),
            Self::Refused(errno) => write!(formatter, "signalling the worker: {}", errno.desc()),
        }
    }
}

/// Sends `signal` to the worker of `supervisor`.
pub(crate) fn run(signal: Signal, supervisor: i32) -> Result<(), SignalError> {
    let command = command_of(&arguments_of(supervisor)).ok_or(SignalError::NotOurs(supervisor))?;
    let worker = children_of(supervisor).into_iter().find(|id| arguments_of(*id) == command).ok_or(SignalError::NoWorker)?;
    kill(Pid::from_raw(worker), signal).map_err(SignalError::Refused)
}

/// What a tapir-init was told to run: everything after the first `--`. Orphans are children of process 1, too; by this the
/// worker is told from them.
fn command_of(arguments: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let (program, rest) = arguments.split_first()?;
    if program.rsplit(|byte| *byte == b'/').next() != Some(b"tapir-init") {
        return None;
    }
    let after = rest.iter().position(|argument| argument == b"--")?;
    rest.get(after + 1..).filter(|command| !command.is_empty()).map(<[_]>::to_vec)
}

/// Empty for a process that is gone, a zombie or a kernel thread.
fn arguments_of(id: i32) -> Vec<Vec<u8>> {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    if line.is_empty() { Vec::new() } else { line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect() }
}

fn children_of(parent: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| parent_of(*id) == Some(parent)).collect()
}

/// The second field after the name, which stands in parentheses and may hold anything (proc_pid_stat(5)).
fn parent_of(id: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{id}/stat")).ok()?;
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_what_follows_the_first_dashes() {
        let check = |line: &str, expected: Option<&str>| {
            let split = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
            assert_eq!(command_of(&split(line)), expected.map(split), "{line}");
        };
        check("/usr/bin/tapir-init -- /usr/bin/tapir-edm run -- x", Some("/usr/bin/tapir-edm run -- x"));
        check("tapir-init --grace 3 -- a", Some("a"));
        check("tapir-init kill TERM", None);
        check("tapir-init --", None);
        check("/pause", None);
        assert_eq!(command_of(&[]), None);
    }

    #[test]
    fn processes_and_their_parents() {
        let own = i32::try_from(std::process::id()).unwrap();
        let parent = i32::try_from(std::os::unix::process::parent_id()).unwrap();
        assert_eq!(parent_of(own), Some(parent));
        assert!(children_of(parent).contains(&own));
        assert!(!arguments_of(own).is_empty());
        assert!(arguments_of(i32::MAX).is_empty());
    }
}
