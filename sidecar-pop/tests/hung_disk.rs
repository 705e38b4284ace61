//! A disk that hangs does not keep the process from ending when it is to end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;

use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use process::{Pop, program, wait_for};
use rustix::process::{Pid, Signal, kill_process};

/// A pipe in place of `file` of the state folder: who opens it waits until somebody opens the other end, which nobody does. How long POP took to end then,
/// and what it said.
fn ends(file: &str, hangs: impl Fn(&Pop) -> bool) -> (Duration, String) {
    let pop = Pop::new(None);
    let pipe = pop.state().join(file);
    fs::create_dir_all(pipe.parent().unwrap()).unwrap();
    assert!(Command::new(program("mkfifo")).arg(&pipe).status().unwrap().success());
    pop.write_beside("own", "evil.example\n");
    pop.configure("r1", "sources: [{name: own, list: Deny, file: {path: own, format: Csv, column: 1, header: false}}]\n");
    let mut running = pop.start();
    wait_for("the disk to hang", || hangs(&pop), |hangs| *hangs);
    kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
    let told = Instant::now();
    let ended = wait_for("the end", || running.0.try_wait().unwrap(), Option::is_some).unwrap();
    let log = fs::read_to_string(pop.directory.path().join("log")).unwrap();
    assert_eq!(ended.code(), Some(0), "{log}");
    (told.elapsed(), log)
}

fn check(file: &str, hangs: impl Fn(&Pop) -> bool, said: Option<&str>) {
    let (took, log) = ends(file, hangs);
    // Some seconds, and what a busy machine makes of them.
    assert!(took < Duration::from_secs(30), "{took:?}: {log}");
    if let Some(said) = said {
        assert!(log.contains(said), "{log}");
    }
}

#[test]
fn a_number_that_cannot_be_written_keeps_nobody_from_ending() {
    let said = "the end could not be written down: versions of the zone and observations";
    let hangs = |pop: &Pop| pop.status().unwrap_or_default().to_string().contains("does not answer");
    check("serial.new", hangs, Some(said));
}

/// The engine waits for it before anything else.
#[test]
fn a_zone_that_cannot_be_read_keeps_nobody_from_ending() {
    let begun = |pop: &Pop| TcpStream::connect(("127.0.0.1", pop.port)).is_ok();
    check("zone/manifest.json", begun, Some("versions of the zone, observations, and the number that was used last"));
}

#[test]
fn a_copy_that_cannot_be_read_keeps_nobody_from_ending() {
    let goes_on = |pop: &Pop| pop.status().is_some_and(|status| status["config"]["revision"] == "r1");
    check("sources/own/meta.json", goes_on, None);
}
