//! What a person sees while something runs: one line when a step begins, a line every few seconds while it lasts, one when it ends.
//!
//! Output of tools goes to a log file unless it is the point of the step; when a tool fails, the end of that file is part of the error.

mod commands;
mod waiting;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

pub use commands::{ask, feed, output};
pub use waiting::{NotYet, wait_for, wait_quietly_for};

/// A person starts to wonder after about this long.
const FIRST_SIGN: Duration = Duration::from_secs(2);
/// Enough to see that it goes on, and few enough lines for a build of some minutes.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A command has ended; this long its last lines may be on their way.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);

/// Prints one line, at once, also when standard output is a pipe.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody is left to be told when standard output is closed.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A step with a beginning and an end.
#[derive(Debug)]
pub struct Step {
    name: String,
    started: Instant,
    last_line: Instant,
    /// Until the next sign of life.
    patience: Duration,
}

impl Step {
    pub fn begin(name: impl Into<String>) -> Self {
        let step = Self::silent(name);
        say(&format!("==> {}", step.name));
        step
    }

    /// Shows nothing until it takes its time.
    fn silent(name: impl Into<String>) -> Self {
        let now = Instant::now();
        Self { name: name.into(), started: now, last_line: now, patience: FIRST_SIGN }
    }

    /// Says that the step still runs, when the last line is old enough.
    pub fn tick(&mut self, detail: &str) {
        let line = format!("{} … {}{}{detail}", self.name, seconds(self.elapsed()), if detail.is_empty() { "" } else { ", " });
        self.sign(&line);
    }

    fn sign(&mut self, line: &str) {
        if self.last_line.elapsed() >= self.patience {
            self.last_line = Instant::now();
            self.patience = HEARTBEAT;
            say(&format!("    {line}"));
        }
    }

    pub fn end(self) -> Duration {
        let elapsed = self.started.elapsed();
        say(&format!("    {}: done, {}", self.name, seconds(elapsed)));
        elapsed
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Runs a command to its end with its output in `log`; prints a line every few seconds.
    pub fn run(&mut self, command: &mut Command, log: &Path) -> Result<()> {
        self.run_from(Stdio::null(), command, log)
    }

    /// As [`Step::run`], with something to read for the command.
    pub fn run_from(&mut self, input: Stdio, command: &mut Command, log: &Path) -> Result<()> {
        // Earlier commands' lines in the same log would only mislead.
        let before = std::fs::metadata(log).map_or(0, |data| data.len());
        let status = self.run_to_end(input, command, log)?;
        if !status.success() {
            bail!("{} failed ({status}); the end of {}:\n{}", describe(command), log.display(), tail_after(log, before, 40));
        }
        Ok(())
    }

    /// Runs a command whose output is the point: every line is printed as it comes, and given to `look`.
    pub fn stream(&mut self, command: &mut Command, mut look: impl FnMut(&str)) -> Result<ExitStatus> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", describe(command)))?;
        let (lines, incoming) = mpsc::sync_channel(100);
        for pipe in [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)].into_iter().flatten() {
            let lines = lines.clone();
            thread::spawn(move || {
                for line in BufReader::new(File::from(pipe)).split(b'\n').map_while(Result::ok) {
                    if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                        return;
                    }
                }
            });
        }
        drop(lines);
        let mut ended: Option<(ExitStatus, Instant)> = None;
        loop {
            match incoming.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    look(&line);
                    say(&line);
                    self.last_line = Instant::now();
                }
                Err(RecvTimeoutError::Timeout) => self.tick(""),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Its pipes may stay open behind it, in the hands of a process that it has left: that one is not waited for.
            match &ended {
                None => ended = child.try_wait().context("waiting for a command")?.map(|status| (status, Instant::now())),
                Some((status, at)) if at.elapsed() > LAST_LINES_WITHIN => {
                    say(&format!("    {}: ended, but a process that it started still runs and holds its output", self.name));
                    return Ok(*status);
                }
                Some(_) => {}
            }
        }
        child.wait().context("waiting for a command")
    }

    /// As [`Step::run`], but a failure of the command is left to the caller to judge.
    pub fn run_for_status(&mut self, command: &mut Command, log: &Path) -> Result<ExitStatus> {
        self.run_to_end(Stdio::null(), command, log)
    }

    fn run_to_end(&mut self, input: Stdio, command: &mut Command, log: &Path) -> Result<ExitStatus> {
        if let Some(parent) = log.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        let file = File::options().create(true).append(true).open(log).with_context(|| format!("opening {}", log.display()))?;
        let both = file.try_clone().context("sharing the log file")?;
        let mut child =
            command.stdin(input).stdout(file).stderr(both).spawn().with_context(|| format!("starting {}", describe(command)))?;
        let mut pause = Duration::from_millis(5);
        loop {
            if let Some(status) = child.try_wait().context("waiting for a command")? {
                return Ok(status);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
            self.tick(last_line(log).as_str());
        }
    }
}

pub fn seconds(duration: Duration) -> String {
    if duration >= Duration::from_secs(60) {
        format!("{} min {:02} s", duration.as_secs() / 60, duration.as_secs() % 60)
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

/// The last lines of a log, for an error message.
pub fn tail(path: &Path, lines: usize) -> String {
    tail_after(path, 0, lines)
}

fn tail_after(path: &Path, start: u64, lines: usize) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let start = usize::try_from(start).unwrap_or(usize::MAX).min(bytes.len());
    let text = String::from_utf8_lossy(&bytes[start..]);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn last_line(path: &Path) -> String {
    let line = tail(path, 1);
    line.trim().chars().take(100).collect()
}

fn describe(command: &Command) -> String {
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    format!("{} {}", command.get_program().to_string_lossy(), arguments.join(" "))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::Step;

    #[test]
    fn a_failure_shows_its_own_last_words_and_reads_what_it_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut step = Step::begin("two commands with one log");
        step.run(Command::new("echo").arg("earlier"), &log).unwrap();
        let input = folder.path().join("input");
        std::fs::write(&input, "given\n").unwrap();
        let input = Stdio::from(std::fs::File::open(input).unwrap());
        let error = step.run_from(input, Command::new("sh").args(["-c", "cat; exit 4"]), &log).unwrap_err().to_string();
        assert!(error.contains("exit status: 4") && error.ends_with("\ngiven"), "{error}");
        assert!(!error.contains("earlier"), "{error}");
    }

    #[test]
    fn an_orphan_that_holds_the_output_is_not_waited_for() {
        let mut step = Step::begin("a command that leaves a process behind");
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $!; echo last"]);
        let status = step.stream(&mut command, |line| lines.push(line.to_owned())).unwrap();
        let elapsed = step.elapsed();
        Command::new("kill").arg(&lines[0]).status().unwrap();
        assert!(status.success());
        assert_eq!(lines[1], "last");
        assert!(elapsed < Duration::from_secs(30), "waited {elapsed:?}");
    }
}
