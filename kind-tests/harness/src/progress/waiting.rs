//! Waiting for something that takes its time, without looking like a failure while it does.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::{Step, seconds};

/// What one look found that came too early.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotYet {
    /// How far it is; shown while waiting.
    pub progress: String,
    /// Why it was not there; told only when it never came.
    pub failure: String,
}

/// Looks again until the answer is there, with a line every few seconds. The outer error of `look` says that waiting is in vain.
pub fn wait_for<T>(what: &str, limit: Duration, look: impl FnMut() -> Result<Result<T, NotYet>>) -> Result<T> {
    let mut step = Step::begin(format!("wait for {what}"));
    let value = wait(&mut step, what, limit, look)?;
    step.end();
    Ok(value)
}

/// The same without a word as long as it does not last.
pub fn wait_quietly_for<T>(what: &str, limit: Duration, look: impl FnMut() -> Result<Result<T, NotYet>>) -> Result<T> {
    wait(&mut Step::silent(what), what, limit, look)
}

fn wait<T>(step: &mut Step, what: &str, limit: Duration, mut look: impl FnMut() -> Result<Result<T, NotYet>>) -> Result<T> {
    let mut pause = Duration::from_millis(50);
    loop {
        match look()? {
            Ok(value) => return Ok(value),
            Err(NotYet { failure, .. }) if step.elapsed() > limit => {
                bail!("waiting for {what} failed after {}: {failure}", seconds(step.elapsed()));
            }
            Err(NotYet { progress, .. }) => {
                let line = waiting(what, step.elapsed(), &progress);
                step.sign(&line);
            }
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

fn waiting(what: &str, elapsed: Duration, progress: &str) -> String {
    let separator = if progress.is_empty() { "" } else { ": " };
    format!("waiting for {what}, {}{separator}{progress}", seconds(elapsed))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::super::ask;
    use super::{NotYet, wait_for, waiting};

    #[test]
    fn only_the_end_of_waiting_reads_as_a_failure() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 1 of 2 is ready; echo early >&2; echo error: timed out >&2; exit 1"]);
        let missing = ask(&mut command).unwrap().unwrap_err();
        assert_eq!(missing, NotYet { progress: "1 of 2 is ready".into(), failure: "error: timed out".into() });
        assert_eq!(
            waiting("the Pods", Duration::from_millis(2500), &missing.progress),
            "waiting for the Pods, 2.5 s: 1 of 2 is ready"
        );
        let error = wait_for::<()>("the Pods", Duration::ZERO, || Ok(Err(missing.clone()))).unwrap_err().to_string();
        assert!(error.starts_with("waiting for the Pods failed after "), "{error}");
        assert!(error.ends_with(": error: timed out"), "{error}");
    }

    #[test]
    fn a_silent_failure_is_told_by_its_exit_status() {
        let missing = ask(Command::new("sh").args(["-c", "exit 3"])).unwrap().unwrap_err();
        assert_eq!((missing.progress.as_str(), missing.failure.as_str()), ("", "exit status: 3"));
        assert_eq!(ask(Command::new("echo").arg("yes")).unwrap().unwrap(), "yes\n");
        assert!(ask(&mut Command::new("/nowhere/at-all")).is_err());
    }

    #[test]
    fn what_comes_late_is_given() {
        let mut looks = vec![Ok(7), Err(NotYet::default()), Err(NotYet::default())];
        let found = wait_for("a number", Duration::from_secs(60), || Ok(looks.pop().unwrap()));
        assert_eq!(found.unwrap(), 7);
    }
}
