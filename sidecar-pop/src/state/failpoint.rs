//! Moments at which a process may end, for tests: between any two writes.
//!
//! Each write to the state folder passes here first. A test says how many more a folder takes; all after that fail and change nothing, which is what a
//! folder looks like whose process was killed at that moment; or whatever begins so hangs ([`hold`]), as on a disk that does not answer; or panics ([`explode`]). In the program itself there is nothing here.
//!
//! What sources have passes here, too ([`read`]): the environment may say what the code that reads it panics on, in builds for debugging alone.

use std::io;
use std::path::Path;

#[cfg(test)]
pub(crate) use for_tests::{
    explode, fail, follow, freeze, has_failed, hold, is_frozen, leave, note, refuse, release, slow_down, thaw,
};

/// Before something at `path` is written, renamed or removed.
///
/// # Errors
/// In tests, when the process would have ended before.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests have another one")]
#[inline]
pub(crate) const fn pass(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// The same in tests.
#[cfg(test)]
pub(crate) fn pass(path: &Path) -> io::Result<()> {
    for_tests::pass(path)
}

/// Before an entry of a source is read.
#[cfg(not(debug_assertions))]
#[inline]
pub(crate) const fn read(_entry: &[u8]) {}

/// The same in builds for debugging: panics on what has in it what `TAPIR_TEST_POISON` says.
#[cfg(debug_assertions)]
pub(crate) fn read(entry: &[u8]) {
    static POISON: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let poison = POISON.get_or_init(|| std::env::var("TAPIR_TEST_POISON").ok().filter(|poison| !poison.is_empty()));
    if let Some(poison) = poison {
        assert!(!entry.windows(poison.len()).any(|part| part == poison.as_bytes()), "an entry that panics");
    }
}

#[cfg(test)]
mod for_tests {
    use std::collections::BTreeMap;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    /// What was written to folders that somebody follows, in order, and which threads take their time before each write.
    static FOLLOWED: Mutex<BTreeMap<PathBuf, Followed>> = Mutex::new(BTreeMap::new());
    #[derive(Default)]
    struct Followed {
        lines: Vec<String>,
        slow: &'static [&'static str],
    }

    /// Longer than most other things take.
    const SLOW: Duration = Duration::from_millis(3);

    fn followed<T>(path: &Path, then: impl FnOnce(&Path, &mut Followed) -> T) -> Option<T> {
        let mut all = FOLLOWED.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter_mut().find(|(folder, _)| path.starts_with(folder)).map(|(folder, followed)| then(folder, followed))
    }

    /// From now on it is remembered what is written to this folder.
    pub(crate) fn follow(folder: &Path) {
        FOLLOWED.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned(), Followed::default());
    }

    /// These threads are slow there, as on a disk that is busy.
    pub(crate) fn slow_down(folder: &Path, threads: &'static [&'static str]) {
        followed(folder, |_, followed| followed.slow = threads);
    }

    /// What was remembered.
    pub(crate) fn leave(folder: &Path) -> Vec<String> {
        FOLLOWED.lock().unwrap_or_else(PoisonError::into_inner).remove(folder).map_or_else(Vec::new, |followed| followed.lines)
    }

    /// Another line of that.
    pub(crate) fn note(path: &Path, text: &str) {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        // A test's thread is not worth its whole name.
        let name = if name.contains("::") { "engine" } else { name };
        followed(path, |folder, followed| {
            followed.lines.push(format!("{name:8} {} {text}", path.strip_prefix(folder).unwrap_or(path).display()));
        });
    }

    fn dawdle(path: &Path) {
        let thread = std::thread::current();
        if followed(path, |_, followed| followed.slow.iter().any(|slow| thread.name() == Some(slow))) == Some(true) {
            std::thread::sleep(SLOW);
        }
    }

    /// What each folder still takes.
    static LEFT: Mutex<BTreeMap<PathBuf, Left>> = Mutex::new(BTreeMap::new());

    struct Left {
        /// So many writes.
        writes: usize,
        /// Then so many fail, and the rest does not; else all, as the process has ended.
        failures: Option<usize>,
        refused: bool,
    }

    fn left() -> MutexGuard<'static, BTreeMap<PathBuf, Left>> {
        LEFT.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Beginnings of paths where writes hang.
    static HELD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    static RELEASED: Condvar = Condvar::new();

    /// They go on when this is dropped.
    pub(crate) struct Hold(String);

    /// Writes to paths that begin so hang.
    pub(crate) fn hold(beginning: &Path) -> Hold {
        let beginning = beginning.to_string_lossy().into_owned();
        HELD.lock().unwrap_or_else(PoisonError::into_inner).push(beginning.clone());
        Hold(beginning)
    }

    impl Drop for Hold {
        fn drop(&mut self) {
            HELD.lock().unwrap_or_else(PoisonError::into_inner).retain(|held| *held != self.0);
            RELEASED.notify_all();
        }
    }

    fn wait(path: &Path) {
        let path = path.to_string_lossy();
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let hangs = |held: &mut Vec<String>| held.iter().any(|beginning| path.starts_with(beginning));
        drop(RELEASED.wait_while(held, hangs).unwrap_or_else(PoisonError::into_inner));
    }

    /// Who writes to paths that have this in them panics.
    static EXPLODING: Mutex<Option<String>> = Mutex::new(None);

    pub(crate) fn explode(part: String) {
        *EXPLODING.lock().unwrap_or_else(PoisonError::into_inner) = Some(part);
    }

    fn explodes(path: &Path) -> bool {
        let exploding = EXPLODING.lock().unwrap_or_else(PoisonError::into_inner);
        exploding.as_ref().is_some_and(|part| path.to_string_lossy().contains(part))
    }

    /// Paths that take nothing, whatever else does.
    static REFUSED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    /// It takes something again when this is dropped.
    pub(crate) struct Refusal(PathBuf);

    /// Nothing is written to this path.
    pub(crate) fn refuse(path: &Path) -> Refusal {
        REFUSED.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        Refusal(path.to_owned())
    }

    impl Drop for Refusal {
        fn drop(&mut self) {
            REFUSED.lock().unwrap_or_else(PoisonError::into_inner).retain(|refused| *refused != self.0);
        }
    }

    pub(super) fn pass(path: &Path) -> io::Result<()> {
        assert!(!explodes(path), "a write that panics");
        wait(path);
        dawdle(path);
        let outcome = take(path);
        note(path, if outcome.is_ok() { "" } else { "refused" });
        outcome
    }

    fn take(path: &Path) -> io::Result<()> {
        if REFUSED.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|refused| refused == path) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut left = left();
        let Some((folder, left)) = left.iter_mut().find(|(folder, _)| path.starts_with(folder)) else { return Ok(()) };
        // A disk that takes nothing else takes a name without content.
        if left.failures.is_some() && path == folder {
            return Ok(());
        }
        if left.writes > 0 {
            left.writes -= 1;
            return Ok(());
        }
        match &mut left.failures {
            None => {
                left.refused = true;
                Err(io::Error::other("the process has ended"))
            }
            Some(0) => Ok(()),
            Some(failures) => {
                *failures -= 1;
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }

    /// The folder takes so many more writes.
    pub(crate) fn freeze(folder: &Path, after: usize) {
        left().insert(folder.to_owned(), Left { writes: after, failures: None, refused: false });
    }

    /// Behind so many more writes so many fail.
    pub(crate) fn fail(folder: &Path, after: usize, failures: usize) {
        left().insert(folder.to_owned(), Left { writes: after, failures: Some(failures), refused: false });
    }

    /// Whether they did.
    #[must_use]
    pub(crate) fn has_failed(folder: &Path) -> bool {
        left().get(folder).is_some_and(|left| left.failures == Some(0))
    }

    /// Whether one was refused.
    #[must_use]
    pub(crate) fn is_frozen(folder: &Path) -> bool {
        left().get(folder).is_some_and(|left| left.refused)
    }

    /// The folder takes everything again, unless something was refused: whether that is so.
    #[must_use]
    pub(crate) fn release(folder: &Path) -> bool {
        let mut left = left();
        let free = left.get(folder).is_none_or(|left| !left.refused);
        if free {
            left.remove(folder);
        }
        free
    }

    /// The folder takes everything again.
    pub(crate) fn thaw(folder: &Path) {
        left().remove(folder);
    }
}
