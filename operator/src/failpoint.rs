//! Places at which tests may kill the operator, to prove that it recovers from dying exactly there.
//!
//! `TAPIR_FAILPOINT=before-enrol|after-enrol|after-identity` ends the process with code 99 at that place. Unset, as
//! always outside tests, the check is one comparison.

use std::sync::OnceLock;

/// Exit code of a process that ended at a failpoint.
pub const EXIT_CODE: i32 = 99;

/// Where the process can be made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::AsRefStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Failpoint {
    /// Keys are stored, nodeman was not called yet.
    BeforeEnrol,
    /// nodeman answered, nothing of the answer is stored.
    AfterEnrol,
    /// The identity Secret is written, the pending one is still there.
    AfterIdentity,
}

impl Failpoint {
    /// Ends the process if the environment asks for it.
    pub fn pass(self) {
        static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
        let chosen = CHOSEN.get_or_init(|| std::env::var("TAPIR_FAILPOINT").ok());
        if chosen.as_deref() == Some(self.as_ref()) {
            tracing::error!(failpoint = self.as_ref(), "ending at a failpoint, as the environment asks");
            std::process::exit(EXIT_CODE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_documented_ones() {
        let names = [Failpoint::BeforeEnrol, Failpoint::AfterEnrol, Failpoint::AfterIdentity];
        assert_eq!(names.map(|point| point.as_ref().to_owned()), ["before-enrol", "after-enrol", "after-identity"]);
    }

    #[test]
    fn nothing_happens_without_the_variable() {
        Failpoint::BeforeEnrol.pass();
    }
}
