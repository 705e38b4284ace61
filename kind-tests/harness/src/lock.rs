//! What only one may do at a time: threads of a process as well as processes.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::progress::say;

/// Held until it is dropped; the kernel takes it back from whoever is killed. `busy` is said when it has to be waited for.
pub(crate) fn hold(path: &Path, busy: &str) -> Result<Flock<File>> {
    loop {
        let file = File::options().create(true).append(true).open(path).with_context(|| format!("opening {}", path.display()))?;
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((file, _)) => {
                say(busy);
                let waited = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error);
                waited.with_context(|| format!("locking {}", path.display()))?
            }
        };
        // Whoever held it before may have removed the file: then this lock protects nothing.
        if is_same_file(&lock, path) {
            return Ok(lock);
        }
    }
}

fn is_same_file(open: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (open.metadata(), fs::metadata(path)) {
        (Ok(one), Ok(two)) => one.ino() == two.ino(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::hold;

    #[test]
    fn one_at_a_time_also_when_the_file_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, inside) = (folder.path().join("lock"), AtomicU32::new(0));
        thread::scope(|scope| {
            for number in 0..8 {
                let (path, inside) = (&path, &inside);
                scope.spawn(move || {
                    for _ in 0..20 {
                        let _lock = hold(path, "waiting").unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        if number == 0 {
                            std::fs::remove_file(path).unwrap();
                        }
                    }
                });
            }
        });
    }
}
