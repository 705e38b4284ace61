//! The loop that keeps a worker running.

use std::ffi::OsString;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::back_off::BackOff;
use crate::log::{Level, Value, event};
use crate::worker::{Worker, reap};

/// Children are looked for at least so often, should a SIGCHLD ever get lost.
const GLANCE: Duration = Duration::from_secs(1);

/// Time for the kernel to end a worker that was killed; one in an uninterruptible call may outlast us.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// What is there at this moment.
#[derive(Debug)]
enum State {
    Running(Worker),
    StartAt(Instant),
}

/// Runs `command` over and over; returns only after SIGTERM or SIGINT.
pub(crate) fn run(command: &[OsString], grace: Duration) {
    event(
        Level::Info,
        "starting",
        &[
            ("version", tapir_version::VERSION.into()),
            ("commit", tapir_version::COMMIT.into()),
            ("command", command.first().map_or_else(String::new, |program| program.display().to_string()).into()),
        ],
    );
    // As process 1 orphans come here anyway. Where Pods share one process namespace somebody else is process 1.
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        event(Level::Warn, "orphans_not_adopted", &[("error", error.desc().into())]);
    }
    let signals = listen();
    let mut back_off = BackOff::new();
    let mut state = State::StartAt(Instant::now());
    loop {
        state = advance(state, command, &mut back_off);
        let wait = match &state {
            State::Running(_) => GLANCE,
            State::StartAt(at) => at.saturating_duration_since(Instant::now()).min(GLANCE),
        };
        match next(&signals, wait) {
            Some(signal @ (Signal::SIGTERM | Signal::SIGINT)) => return stop(state, signal, &signals, grace),
            Some(Signal::SIGCHLD) | None => {}
            Some(signal) => {
                if let State::Running(worker) = &state {
                    worker.signal(signal);
                }
            }
        }
    }
}

/// One step: reap, and start the worker if it is time.
fn advance(state: State, command: &[OsString], back_off: &mut BackOff) -> State {
    match state {
        State::Running(worker) => {
            let Some(end) = reap(Some(&worker)) else { return State::Running(worker) };
            let life = worker.life();
            let pause = back_off.after(life);
            event(
                Level::Warn,
                "worker_ended",
                &[
                    ("pid", worker.id().into()),
                    end.field(),
                    ("lifetime_ms", milliseconds(life)),
                    ("restart_delay_ms", milliseconds(pause)),
                ],
            );
            State::StartAt(Instant::now() + pause)
        }
        State::StartAt(at) => {
            reap(None);
            if Instant::now() < at { State::StartAt(at) } else { start(command, back_off) }
        }
    }
}

fn start(command: &[OsString], back_off: &mut BackOff) -> State {
    match Worker::start(command) {
        Ok(worker) => {
            event(Level::Info, "worker_started", &[("pid", worker.id().into())]);
            State::Running(worker)
        }
        Err(error) => {
            let pause = back_off.after(Duration::ZERO);
            event(
                Level::Warn,
                "worker_not_started",
                &[("error", error.to_string().into()), ("restart_delay_ms", milliseconds(pause))],
            );
            State::StartAt(Instant::now() + pause)
        }
    }
}

/// Passes `signal` on, waits, and kills what is still there after `grace`.
fn stop(state: State, signal: Signal, signals: &Option<Receiver<Signal>>, grace: Duration) {
    event(Level::Info, "stopping", &[("signal", signal.as_str().into())]);
    let State::Running(worker) = state else { return };
    worker.signal(signal);
    if !ends_within(&worker, grace, signals) {
        event(Level::Warn, "worker_killed", &[("pid", worker.id().into()), ("grace_ms", milliseconds(grace))]);
        worker.signal(Signal::SIGKILL);
        ends_within(&worker, AFTER_KILL, signals);
    }
}

fn ends_within(worker: &Worker, time: Duration, signals: &Option<Receiver<Signal>>) -> bool {
    let end = Instant::now() + time;
    loop {
        if let Some(end) = reap(Some(worker)) {
            event(
                Level::Info,
                "worker_stopped",
                &[("pid", worker.id().into()), end.field(), ("lifetime_ms", milliseconds(worker.life()))],
            );
            return true;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        match next(signals, left.min(GLANCE)) {
            Some(Signal::SIGCHLD) | None => {}
            Some(signal) => worker.signal(signal),
        }
    }
}

/// A thread that turns signals into messages. Without it (no memory, no file descriptors) we still restart the worker; the
/// container then ends by SIGKILL only.
fn listen() -> Option<Receiver<Signal>> {
    let (sender, receiver) = channel();
    let listening = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD]).and_then(|mut signals| {
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for number in signals.forever() {
                // The receiver lives as long as the process.
                let _ = Signal::try_from(number).map(|signal| sender.send(signal));
            }
        })
    });
    match listening {
        Ok(_) => Some(receiver),
        Err(error) => {
            event(Level::Warn, "signals_not_heard", &[("error", error.to_string().into())]);
            None
        }
    }
}

fn next(signals: &Option<Receiver<Signal>>, wait: Duration) -> Option<Signal> {
    match signals.as_ref().map(|signals| signals.recv_timeout(wait)) {
        Some(Ok(signal)) => Some(signal),
        Some(Err(RecvTimeoutError::Timeout)) => None,
        Some(Err(RecvTimeoutError::Disconnected)) | None => {
            std::thread::sleep(wait);
            None
        }
    }
}

fn milliseconds(duration: Duration) -> Value {
    Value::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
