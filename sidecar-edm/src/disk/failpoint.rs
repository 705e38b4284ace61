//! Places at which tests kill the process, to show that nothing is torn or lost there.
//!
//! `TAPIR_FAILPOINT=<point>` in the environment sends SIGKILL at that place. Unset, as always outside tests, the check is one comparison.

use std::sync::OnceLock;

/// Where the process can be made to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::AsRefStr, strum::EnumString, strum::EnumIter)]
#[strum(serialize_all = "kebab-case")]
pub enum Failpoint {
    /// The unfinished file is there, and empty.
    FileCreated,
    /// Some of it is written.
    FileHalf,
    /// All of it is written, nothing synced.
    FileWritten,
    /// It is synced, not renamed.
    FileSynced,
    /// It has its name; the folder is not synced.
    FileRenamed,
    /// A file is about to be sent.
    SendBefore,
    /// Core has it, and nobody here knows yet.
    SendAnswered,
    /// It was moved to those that were sent, or refused; neither folder is synced.
    FileMoved,
    /// The oldest file is about to be dropped for want of room.
    DropBefore,
}

impl Failpoint {
    /// Dies if the environment asks for it.
    pub fn pass(self) {
        static CHOSEN: OnceLock<Option<Failpoint>> = OnceLock::new();
        let chosen = CHOSEN.get_or_init(|| std::env::var("TAPIR_FAILPOINT").ok().and_then(|text| text.parse().ok()));
        if *chosen == Some(self) {
            // Should the signal fail, the process ends all the same: a test must not go on past its point.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            std::process::abort();
        }
    }
}
