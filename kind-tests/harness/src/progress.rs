//! What a person sees while something runs: one line when a step begins, a line every few seconds while it lasts, one when it ends.
//!
//! Output of tools goes to a log file unless it is the point of the step; when a tool fails, the end of that file is part of the error.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A person starts to wonder after about this long.
const HEARTBEAT: Duration = Duration::from_secs(5);

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
}

impl Step {
    pub fn begin(name: impl Into<String>) -> Self {
        let name = name.into();
        say(&format!("==> {name}"));
        let now = Instant::now();
        Self { name, started: now, last_line: now }
    }

    /// Says that the step still runs, when the last line is old enough.
    pub fn tick(&mut self, detail: &str) {
        if self.last_line.elapsed() >= HEARTBEAT {
            self.last_line = Instant::now();
            say(&format!(
                "    {} … {}{}{detail}",
                self.name,
                seconds(self.started.elapsed()),
                if detail.is_empty() { "" } else { ", " }
            ));
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
        let status = self.run_for_status(command, log)?;
        if !status.success() {
            bail!("{} failed ({status}); the end of {}:\n{}", describe(command), log.display(), tail(log, 40));
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
        loop {
            match incoming.recv_timeout(HEARTBEAT) {
                Ok(line) => {
                    look(&line);
                    say(&line);
                    self.last_line = Instant::now();
                }
                Err(RecvTimeoutError::Timeout) => self.tick(""),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        child.wait().context("waiting for a command")
    }

    /// As [`Step::run`], but a failure of the command is left to the caller to judge.
    pub fn run_for_status(&mut self, command: &mut Command, log: &Path) -> Result<ExitStatus> {
        if let Some(parent) = log.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        let file = File::options().create(true).append(true).open(log).with_context(|| format!("opening {}", log.display()))?;
        let both = file.try_clone().context("sharing the log file")?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(both)
            .spawn()
            .with_context(|| format!("starting {}", describe(command)))?;
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

/// Runs a short command; its standard output is the answer, its standard error is part of the error.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {}", describe(command)))?;
    if !output.status.success() {
        bail!(
            "{} failed ({}): {}{}",
            describe(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim(),
            String::from_utf8_lossy(&output.stdout).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a short command with a text as its standard input.
pub fn feed(command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {}", describe(command)))?;
    // Beside reading, so that neither side waits for the other; dropped at its end, which ends the input.
    let pipe = child.stdin.take();
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // Whoever does not read to the end says why by exit code.
            let _ = pipe.map(|mut pipe| pipe.write_all(input.as_bytes()));
        });
        child.wait_with_output()
    });
    let output = output.with_context(|| format!("waiting for {}", describe(command)))?;
    if !output.status.success() {
        bail!("{} failed ({}): {}", describe(command), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Asks again until the answer is there, with a line every few seconds. `probe` says what it still waits for, or, by the outer error,
/// that waiting is in vain.
pub fn wait_for<T>(name: &str, limit: Duration, mut probe: impl FnMut() -> Result<Result<T, String>>) -> Result<T> {
    let mut step = Step::begin(name);
    let mut pause = Duration::from_millis(50);
    loop {
        match probe()? {
            Ok(value) => {
                step.end();
                return Ok(value);
            }
            Err(missing) if step.elapsed() > limit => bail!("{name}: not within {}: {missing}", seconds(limit)),
            Err(missing) => step.tick(missing.lines().next().unwrap_or("")),
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(500));
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
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
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
