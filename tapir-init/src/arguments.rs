//! The command line.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use nix::sys::signal::Signal;

pub(crate) const USAGE: &str = "\
usage: tapir-init [--grace SECONDS] -- COMMAND [ARGUMENT...]
           runs COMMAND and starts it again whenever it ends, until SIGTERM or SIGINT comes;
           COMMAND then has SECONDS (25) to end before it is killed
       tapir-init kill [SIGNAL] [--of PID]
           sends SIGNAL (TERM) to the worker of the tapir-init with the process id PID (1)
       tapir-init --version | --help";

/// Time for the worker to end. The kubelet gives a Pod 30 s by default, and we must be done before it kills us.
const GRACE: Duration = Duration::from_secs(25);

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    Supervise { command: Vec<OsString>, grace: Duration },
    Signal { signal: Signal, supervisor: i32 },
    Version,
    Help,
}

/// What cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UsageError {
    NoCommand,
    Unknown(OsString),
    Bad { option: &'static str, value: Option<OsString> },
}

impl fmt::Display for UsageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => write!(formatter, "no command after --"),
            Self::Unknown(argument) => write!(formatter, "unknown argument {}", argument.display()),
            Self::Bad { option, value: Some(value) } => write!(formatter, "bad value for {option}: {}", value.display()),
            Self::Bad { option, value: None } => write!(formatter, "{option} needs a value"),
        }
    }
}

pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, UsageError> {
    let mut arguments = arguments.into_iter();
    let mut grace = GRACE;
    loop {
        let Some(argument) = arguments.next() else { return Err(UsageError::NoCommand) };
        match argument.to_str() {
            Some("--") => {
                let command: Vec<OsString> = arguments.collect();
                return if command.is_empty() { Err(UsageError::NoCommand) } else { Ok(Arguments::Supervise { command, grace }) };
            }
            Some("--grace") => {
                grace = value("--grace", arguments.next(), |text| text.parse().ok().map(Duration::from_secs))?;
            }
            Some("kill") => return parse_kill(arguments),
            Some("--version" | "-V") => return Ok(Arguments::Version),
            Some("--help" | "-h") => return Ok(Arguments::Help),
            _ => return Err(UsageError::Unknown(argument)),
        }
    }
}

fn parse_kill(mut arguments: impl Iterator<Item = OsString>) -> Result<Arguments, UsageError> {
    let mut signal = Signal::SIGTERM;
    let mut supervisor = 1;
    while let Some(argument) = arguments.next() {
        if argument == "--of" {
            supervisor = value("--of", arguments.next(), |text| text.parse().ok().filter(|id| *id > 0))?;
        } else {
            signal = value("SIGNAL", Some(argument), parse_signal)?;
        }
    }
    Ok(Arguments::Signal { signal, supervisor })
}

fn value<T>(option: &'static str, given: Option<OsString>, read: impl Fn(&str) -> Option<T>) -> Result<T, UsageError> {
    given.as_ref().and_then(|text| text.to_str()).and_then(read).ok_or(UsageError::Bad { option, value: given })
}

/// `TERM`, `SIGTERM`, `term`, `15` or `-15`.
fn parse_signal(text: &str) -> Option<Signal> {
    let text = text.strip_prefix('-').unwrap_or(text).to_ascii_uppercase();
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number).ok();
    }
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    format!("SIG{name}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &Result<Arguments, UsageError>) {
        assert_eq!(&parse(line.split_whitespace().map(OsString::from)), expected, "{line}");
    }

    #[test]
    fn what_is_understood() {
        let supervise = |command: &[&str], seconds| {
            Ok(Arguments::Supervise {
                command: command.iter().map(OsString::from).collect(),
                grace: Duration::from_secs(seconds),
            })
        };
        check("-- /usr/bin/tapir-edm run", &supervise(&["/usr/bin/tapir-edm", "run"], 25));
        check("--grace 3 -- a -- --version", &supervise(&["a", "--", "--version"], 3));
        let kill = |signal, supervisor| Ok(Arguments::Signal { signal, supervisor });
        check("kill", &kill(Signal::SIGTERM, 1));
        for line in ["kill KILL", "kill SIGKILL", "kill kill", "kill 9", "kill -9"] {
            check(line, &kill(Signal::SIGKILL, 1));
        }
        check("kill HUP --of 17", &kill(Signal::SIGHUP, 17));
        check("--version", &Ok(Arguments::Version));
        check("--help", &Ok(Arguments::Help));
    }

    #[test]
    fn what_is_not() {
        let bad = |option, value: Option<&str>| Err(UsageError::Bad { option, value: value.map(OsString::from) });
        check("", &Err(UsageError::NoCommand));
        check("--", &Err(UsageError::NoCommand));
        check("/bin/true", &Err(UsageError::Unknown("/bin/true".into())));
        check("--grace", &bad("--grace", None));
        check("--grace x -- a", &bad("--grace", Some("x")));
        check("kill NONSENSE", &bad("SIGNAL", Some("NONSENSE")));
        check("kill 0", &bad("SIGNAL", Some("0")));
        check("kill TERM --of 0", &bad("--of", Some("0")));
        check("kill TERM --of", &bad("--of", None));
    }
}
