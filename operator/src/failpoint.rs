//! Places at which tests may end or stop the operator, to prove that it, or another one, goes on from exactly there.
//!
//! `TAPIR_FAILPOINT=<point>` or `<point>:exit` ends the process with code 99 at that place; `<point>:stop` stops it as SIGSTOP does, until
//! somebody sends SIGCONT, so that a second process may take over meanwhile. Unset, as always outside tests, the check is one comparison.

use std::sync::OnceLock;

/// Exit code of a process that ended at a failpoint.
pub const EXIT_CODE: i32 = 99;

/// Where the process can be made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::AsRefStr, strum::EnumString, strum::EnumIter)]
#[strum(serialize_all = "kebab-case")]
pub enum Failpoint {
    /// Keys are stored, nodeman was not called yet.
    BeforeEnrol,
    /// nodeman answered, nothing of the answer is stored.
    AfterEnrol,
    /// The identity Secret is written, the pending one is still there.
    AfterIdentity,
    /// The keys of an installation that was there before are stored as pending, nodeman was not called yet.
    AdoptAfterPending,
    /// nodeman renewed, nothing of the answer is stored.
    RenewAfterAnswer,
    /// The renewed identity is stored, and nothing that follows from it was done.
    RenewAfterWrite,
    /// Core's configuration changed, and the identity does not follow it yet.
    RefreshBeforeWrite,
    /// A deleted identity is copied, and still there.
    RescueAfterCopy,
    /// A deleted identity is gone but for its copy.
    RescueAfterRelease,
    /// A deleted identity is back, and its copy still there.
    RescueAfterRestore,
    /// Keys of a new node are stored for an edge whose node was removed at Core.
    ReenrolAfterPending,
    /// The identity of a removed node has been put aside; it is still the edge's.
    ReenrolAfterArchive,
    /// The edge has the identity of its new node, and remembers the old one.
    ReenrolAfterReplace,
    /// The finalizer is off an identity that is to be erased.
    EraseAfterRelease,
    /// An edge that goes is bound to no Pod any more.
    OffboardAfterUnbind,
    /// The disabled configuration of an edge that goes is written.
    OffboardAfterDisable,
    /// All is done for an edge that goes but letting it go.
    OffboardBeforeFinalizer,
    /// It is written which Pod is about to get other images.
    RolloutAfterIntent,
    /// A Pod has other images, and nothing is known of how it does.
    RolloutAfterPatch,
    /// A Pod was given its old images back.
    RolloutAfterWayBack,
    /// The webhook's certificates are stored, and the API server does not know them.
    WebhookAfterSecret,
    /// The API server knows the webhook's new CA, and the webhook still serves the old certificate.
    WebhookAfterBundle,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Exit,
    Stop,
}

impl Failpoint {
    /// Ends or stops the process if the environment asks for it.
    pub fn pass(self) {
        static CHOSEN: OnceLock<Option<(Failpoint, Fate)>> = OnceLock::new();
        let chosen = CHOSEN.get_or_init(|| std::env::var("TAPIR_FAILPOINT").ok().as_deref().and_then(read));
        match chosen {
            Some((point, Fate::Exit)) if *point == self => {
                tracing::error!(failpoint = self.as_ref(), "ending at a failpoint, as the environment asks");
                std::process::exit(EXIT_CODE);
            }
            Some((point, Fate::Stop)) if *point == self => {
                tracing::error!(failpoint = self.as_ref(), "stopping at a failpoint, as the environment asks");
                // Without the signal there is nothing to test: better no process than one that pretends.
                if nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).is_err() {
                    std::process::exit(EXIT_CODE);
                }
            }
            _ => {}
        }
    }
}

/// Reads the variable. What names no failpoint must not look like a test that passed.
fn read(text: &str) -> Option<(Failpoint, Fate)> {
    let (point, fate) = text.split_once(':').unwrap_or((text, "exit"));
    let fate = match fate {
        "exit" => Some(Fate::Exit),
        "stop" => Some(Fate::Stop),
        _ => None,
    };
    let chosen = point.parse().ok().zip(fate);
    if chosen.is_none() && !text.is_empty() {
        tracing::error!(variable = "TAPIR_FAILPOINT", "names no failpoint: ending");
        std::process::exit(EXIT_CODE);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator as _;

    use super::*;

    #[test]
    fn names_are_the_documented_ones() {
        let names: Vec<String> = Failpoint::iter().map(|point| point.as_ref().to_owned()).collect();
        assert_eq!(names[..4], ["before-enrol", "after-enrol", "after-identity", "adopt-after-pending"]);
        assert!(names.contains(&"rollout-after-way-back".to_owned()) && names.contains(&"reenrol-after-archive".to_owned()));
        assert_eq!(names.len(), 22);
    }

    #[test]
    fn the_variable_names_a_place_and_what_happens_there() {
        assert_eq!(read("renew-after-answer"), Some((Failpoint::RenewAfterAnswer, Fate::Exit)));
        assert_eq!(read("renew-after-answer:exit"), Some((Failpoint::RenewAfterAnswer, Fate::Exit)));
        assert_eq!(read("renew-after-answer:stop"), Some((Failpoint::RenewAfterAnswer, Fate::Stop)));
        assert_eq!(read(""), None);
    }

    #[test]
    fn nothing_happens_without_the_variable() {
        Failpoint::BeforeEnrol.pass();
    }
}
