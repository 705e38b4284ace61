//! Short commands whose output is the answer.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, bail};

use super::describe;
use super::waiting::NotYet;

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

/// Asks once for something that may not be there yet. The outer error says that the command cannot be run at all.
pub fn ask(command: &mut Command) -> Result<Result<String, NotYet>> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {}", describe(command)))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(Ok(text));
    }
    let progress = last_line(&text);
    let failure = match last_line(&String::from_utf8_lossy(&output.stderr)) {
        said if said.is_empty() => output.status.to_string(),
        said => said,
    };
    Ok(Err(NotYet { progress, failure }))
}

fn last_line(text: &str) -> String {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
