//! The program with real workers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const INIT: &str = env!("CARGO_BIN_EXE_tapir-init");

/// Longest wait for anything; only failing tests use it up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A supervisor and what comes out of it, its own lines and the worker's.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        Self::from(Command::new(INIT).args(arguments))
    }

    /// Runs `script` as the worker.
    fn script(script: &str) -> Self {
        Self::start(&["--", "/bin/sh", "-c", script])
    }

    fn from(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Self { child, lines }
    }

    fn id(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id()), signal).unwrap();
    }

    /// The next line that has `part` in it.
    fn line(&self, part: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line with {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn event(&self, event: &str) -> String {
        self.line(&format!(r#""event":"{event}""#))
    }

    fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    /// In order, so that no worker is left behind; by force if that is what the test found broken.
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill(Pid::from_raw(self.id()), Signal::SIGTERM);
        let end = Instant::now() + Duration::from_secs(3);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number(line: &str, member: &str) -> u64 {
    let (_, rest) = line.split_once(&format!(r#""{member}":"#)).unwrap_or_else(|| panic!("no {member} in {line}"));
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// Microseconds.
const DAY: i64 = 86_400_000_000;

/// The time of day of a line, in microseconds.
fn time_of(line: &str) -> i64 {
    let (_, time) = line.split_once(r#""timestamp":""#).unwrap();
    let digits: Vec<i64> = time[11..26].split([':', '.']).map(|digits| digits.parse().unwrap()).collect();
    let [hours, minutes, seconds, microseconds] = digits[..] else { panic!("no time in {line}") };
    ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + microseconds
}

fn state_of(process: &str) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim().chars().next()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn output(arguments: &[&str]) -> Output {
    Command::new(INIT).args(arguments).output().unwrap()
}

#[test]
fn version_and_commit_come_first() {
    let running = Running::script("exec sleep 100");
    let first = running.lines.recv_timeout(PATIENCE).unwrap();
    assert!(
        first.contains(&format!(r#""version":"{}","commit":"{}""#, tapir_version::VERSION, tapir_version::COMMIT)),
        "{first}"
    );
    let version = output(&["--version"]);
    assert!(version.status.success());
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("tapir-init {}\n", tapir_version::LONG));
}

#[test]
fn a_worker_that_crashes_is_started_again_with_growing_pauses() {
    let mut running = Running::script("exit 3");
    let mut ended: Option<i64> = None;
    for pause in [100_i64, 200, 400, 800] {
        let started = time_of(&running.event("worker_started"));
        // By the clock of the program: this test may read its lines late.
        if let Some(ended) = ended {
            assert!((started - ended).rem_euclid(DAY) >= pause / 2 * 1000, "not before its time");
        }
        let line = running.event("worker_ended");
        ended = Some(time_of(&line));
        assert_eq!((number(&line, "exit_code"), number(&line, "restart_delay_ms")), (3, pause.unsigned_abs()), "{line}");
    }
    assert!(running.runs());
}

#[test]
fn the_end_of_a_worker_is_told_whatever_it_was() {
    for (script, member) in [
        ("exit 0", r#""exit_code":0"#),
        ("kill -KILL $$", r#""signal":"SIGKILL""#),
        ("kill -SEGV $$", r#""signal":"SIGSEGV""#),
        // A real-time signal.
        ("kill -40 $$", r#""signal":"unknown""#),
    ] {
        let running = Running::script(script);
        let line = running.event("worker_ended");
        assert!(line.contains(member), "{line}");
        running.event("worker_started");
    }
}

#[test]
fn term_and_int_are_passed_on_and_the_exit_is_0() {
    for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT")] {
        let script = format!("trap 'echo heard; exit 9' {name}; echo up; while :; do sleep 0.05; done");
        let mut running = Running::script(&script);
        running.line("up");
        running.signal(signal);
        running.line("heard");
        assert!(running.event("worker_stopped").contains(r#""exit_code":9"#));
        assert_eq!(running.end().code(), Some(0));
    }
}

#[test]
fn a_worker_that_does_not_listen_is_killed_after_its_grace() {
    let script = "trap '' TERM; echo up; while :; do sleep 0.05; done";
    let mut running = Running::start(&["--grace", "1", "--", "/bin/sh", "-c", script]);
    running.line("up");
    let start = Instant::now();
    running.signal(Signal::SIGTERM);
    assert!(running.event("worker_stopped").contains("SIGKILL"));
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(running.end().code(), Some(0));
}

#[test]
fn other_signals_are_passed_on_and_end_nothing() {
    let script = "for s in HUP USR1 USR2; do trap \"echo heard $s\" $s; done; echo up; while :; do sleep 0.05; done";
    let mut running = Running::script(script);
    running.line("up");
    for (signal, name) in [(Signal::SIGHUP, "HUP"), (Signal::SIGUSR1, "USR1"), (Signal::SIGUSR2, "USR2"), (Signal::SIGHUP, "HUP")]
    {
        running.signal(signal);
        running.line(&format!("heard {name}"));
    }
    assert!(running.runs());
}

#[test]
fn a_command_that_cannot_be_started_is_tried_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("worker");
    let mut running = Running::start(&["--", program.to_str().unwrap()]);
    for pause in [100, 200] {
        let line = running.event("worker_not_started");
        assert_eq!(number(&line, "restart_delay_ms"), pause);
        assert!(line.contains("No such file"), "{line}");
    }
    // There, but not to be executed.
    std::fs::write(&program, "#!/bin/sh\necho at last\nexec sleep 100\n").unwrap();
    assert!(running.event("worker_not_started").contains("ermission"));
    assert!(running.runs());
    make_executable(&program);
    running.line("at last");
}

fn make_executable(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn it_ends_at_once_when_told_to_while_there_is_no_worker() {
    let mut running = Running::start(&["--", "/nonexistent"]);
    // Pauses of more than three seconds by now.
    for _ in 0..6 {
        running.event("worker_not_started");
    }
    let start = Instant::now();
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().code(), Some(0));
    assert!(start.elapsed() < Duration::from_millis(2900), "{:?}", start.elapsed());
}

#[test]
fn orphans_are_adopted_and_reaped() {
    // The inner shell ends at once and leaves its child to us.
    let running = Running::script("sh -c 'sleep 100 & echo orphan $!'; echo done; exec sleep 100");
    let orphan = running.line("orphan ").split_off("orphan ".len());
    running.line("done");
    let status = std::fs::read_to_string(format!("/proc/{orphan}/status")).unwrap();
    assert!(status.contains(&format!("PPid:\t{}\n", running.id())), "{status}");
    kill(Pid::from_raw(orphan.parse().unwrap()), Signal::SIGKILL).unwrap();
    until("reaping of the orphan", || state_of(&orphan).is_none());
}

#[test]
fn orphans_are_reaped_while_there_is_no_worker() {
    let running = Running::script("sh -c 'sleep 0.1 & echo orphan $!'; exit 1");
    let orphan = running.line("orphan ").split_off("orphan ".len());
    until("reaping of the orphan", || state_of(&orphan).is_none());
}

#[test]
fn a_log_that_nobody_takes_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runs");
    let script = format!("echo run >> {}", file.display());
    let mut child = Command::new(INIT).args(["--", "/bin/sh", "-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    until("third run", || std::fs::read_to_string(&file).is_ok_and(|runs| runs.lines().count() >= 3));
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn kill_finds_the_worker_and_not_an_orphan() {
    let running = Running::script(
        "trap 'exit 5' USR1; sh -c 'sleep 60 >/dev/null 2>&1 & echo orphan $!'; echo up; while :; do sleep 0.05; done",
    );
    let orphan = running.line("orphan ").split_off("orphan ".len());
    running.line("up");
    let supervisor = running.id().to_string();
    assert!(output(&["kill", "USR1", "--of", &supervisor]).status.success());
    assert!(running.event("worker_ended").contains(r#""exit_code":5"#));
    until("sleep of the orphan", || state_of(&orphan) == Some('S'));
    running.line("up");
    assert!(output(&["kill", "KILL", "--of", &supervisor]).status.success());
    assert!(running.event("worker_ended").contains("SIGKILL"));
}

#[test]
fn kill_tells_when_there_is_nothing_to_signal() {
    let running = Running::start(&["--", "/nonexistent"]);
    running.event("worker_not_started");
    let answer = output(&["kill", "--of", &running.id().to_string()]);
    assert_eq!(answer.status.code(), Some(1));
    assert!(String::from_utf8(answer.stderr).unwrap().contains("no worker"));
    // This test is no tapir-init.
    assert_eq!(output(&["kill", "--of", &std::process::id().to_string()]).status.code(), Some(1));
}

/// In a process namespace of its own, as in a container: signals without a handler do not reach process 1, and `kill` needs no id.
#[test]
fn as_process_1() {
    let script = "trap 'echo heard; exit 7' USR1; echo up; \"$INIT\" kill USR1 || echo failed; while :; do sleep 0.05; done";
    let unshare = |extra: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(extra).args(["--pid", "--fork", "--mount-proc", "--kill-child"]).env("INIT", INIT);
        command
    };
    let own_user: &[&str] = if nix::unistd::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    if !unshare(own_user).arg("true").status().is_ok_and(|status| status.success()) {
        // Containers of a build service may forbid it; nothing of this program is wrong then.
        assert!(!nix::unistd::geteuid().is_root() || std::env::var_os("CI").is_some(), "unshare does not work here");
        return;
    }
    let running = Running::from(unshare(own_user).arg(INIT).args(["--", "/bin/sh", "-c", script]));
    running.line("up");
    running.line("heard");
    assert!(running.event("worker_ended").contains(r#""exit_code":7"#));
    running.line("up");
}

#[test]
fn wrong_usage_is_told() {
    for arguments in [&[][..], &["--"], &["/bin/true"], &["kill", "NONSENSE"]] {
        let answer = output(arguments);
        assert_eq!(answer.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8(answer.stderr).unwrap().contains("usage: tapir-init"));
    }
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let started = folder.path().join("started");
    let (_unread, mut full) = std::io::pipe().unwrap();
    // A pipe of Linux holds 64 KiB unless told otherwise.
    full.write_all(&[b'x'; 64 * 1024]).unwrap();
    let script = format!("touch {}; exec sleep 100", started.display());
    let child = Command::new(INIT).args(["--", "/bin/sh", "-c", &script]).stdin(Stdio::null()).stdout(full).spawn().unwrap();
    let mut init = Running { child, lines: channel().1 };
    let end = Instant::now() + PATIENCE;
    while !started.exists() {
        assert!(Instant::now() < end, "the worker was not started");
        std::thread::sleep(Duration::from_millis(5));
    }
    init.signal(Signal::SIGTERM);
    assert!(init.end().success());
}
