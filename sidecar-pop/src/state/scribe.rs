//! Writes for a thread that may not wait for as long as a disk may take.
//!
//! Usually the kernel takes what is written in microseconds. A disk that hangs, or a share whose server is gone, does not answer for minutes, and nothing
//! can call back who waits for it. So the engine lets another thread write, waits for it for a bounded time, and goes on without it after that.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// Longest that anybody waits.
const PATIENCE: Duration = Duration::from_secs(2);

type Work = Box<dyn FnOnce() + Send>;

/// Lets write. All clones have one thread, which ends with the last of them.
#[derive(Clone, Debug, Default)]
pub struct Scribe(Option<Desk>);

#[derive(Clone, Debug)]
struct Desk {
    work: SyncSender<Work>,
    /// Something was begun and is not done.
    busy: Arc<AtomicBool>,
    patience: Duration,
}

impl Scribe {
    /// Everything is done by who asks for it, however long that takes.
    #[must_use]
    pub const fn direct() -> Self {
        Self(None)
    }

    /// A thread of its own.
    ///
    /// # Errors
    /// When there can be none.
    pub fn spawn() -> io::Result<Self> {
        Self::with_patience(PATIENCE)
    }

    pub(crate) fn with_patience(patience: Duration) -> io::Result<Self> {
        let (work, works) = sync_channel::<Work>(1);
        std::thread::Builder::new().name("scribe".to_owned()).spawn(move || works.into_iter().for_each(|work| work()))?;
        Ok(Self(Some(Desk { work, busy: Arc::default(), patience })))
    }

    /// Does it, and waits for that. While something is not done that was begun before, nothing else is begun.
    ///
    /// # Errors
    /// Those of the work, and that the disk does not answer; what was begun may be done later all the same.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let Some(desk) = &self.0 else { return work() };
        if desk.busy.swap(true, Ordering::AcqRel) {
            return Err(hangs());
        }
        let (tell, done) = sync_channel(1);
        let busy = Arc::clone(&desk.busy);
        let work = move || {
            let outcome = work();
            busy.store(false, Ordering::Release);
            // Nobody may be waiting any more.
            _ = tell.send(outcome);
        };
        desk.work.try_send(Box::new(work)).map_err(|_| hangs())?;
        done.recv_timeout(desk.patience).unwrap_or_else(|_| Err(hangs()))
    }

    /// Whether something that was begun is not done.
    #[must_use]
    pub fn hangs(&self) -> bool {
        self.0.as_ref().is_some_and(|desk| desk.busy.load(Ordering::Acquire))
    }
}

fn hangs() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the disk does not answer")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use super::*;

    #[test]
    fn who_waits_for_a_disk_that_hangs_waits_once_and_not_for_long() {
        let scribe = Scribe::with_patience(Duration::from_millis(100)).unwrap();
        assert_eq!(scribe.run(|| Ok(7)).unwrap(), 7);
        assert!(
            scribe
                .run(|| Err::<(), _>(io::ErrorKind::StorageFull.into()))
                .is_err_and(|error| error.kind() == io::ErrorKind::StorageFull)
        );
        assert!(!scribe.hangs());

        let (answer, disk) = channel::<()>();
        let began = Instant::now();
        let hung = scribe.run(move || disk.recv().map_err(io::Error::other)).unwrap_err();
        assert_eq!(hung.kind(), io::ErrorKind::TimedOut);
        assert!((Duration::from_millis(100)..Duration::from_secs(20)).contains(&began.elapsed()), "{:?}", began.elapsed());
        let began = Instant::now();
        for _ in 0..1000 {
            assert!(scribe.run(|| Ok(())).is_err());
        }
        // Each of them would wait for a tenth of a second.
        assert!(began.elapsed() < Duration::from_secs(20) && scribe.hangs(), "the others do not wait at all");

        answer.send(()).unwrap();
        while scribe.hangs() {
            std::thread::yield_now();
        }
        assert_eq!(scribe.run(|| Ok(8)).unwrap(), 8);
    }
}
