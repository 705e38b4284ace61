//! Files of whole answers, for the operator's own analysis: upstream's session files (`edm.md` 8.5). They never leave; nobody gets them
//! unless the configuration asks for it.
//!
//! ```text
//! connections --rows--> lanes (a block each) --full blocks--> one thread: pseudonyms, options out, row groups --> dns_session_block-…parquet
//! ```
//! [`Sessions::offer`] copies a row into a block and never waits for the disk. There is a fixed number of blocks: when the thread is behind and
//! none is free, rows are dropped and counted, so memory does not depend on how fast they come. The thread writes into one file until
//! [`Sessions::rotate`]; what it has written it takes out of the page cache. Files are bounded by size and age, the oldest go first, and nothing is
//! written where little is left of the disk. A crash costs the rows since the last rotation.
//!
//! Departures from upstream: files are read by their owner alone (0600); EDNS client subnets and cookies are taken out of the stored message
//! unless they are asked for ([`Kept`]), and a message out of which they cannot be taken without changing what
//! follows is left out of its row; octets after a message's last record are not stored then either.

mod block;
mod counters;
mod lanes;
mod message;
mod row;
mod schema;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub use counters::{Counters, Reason, ReasonLabels};
use lanes::Lanes;
pub use message::Kept;
pub use schema::SCHEMA;
use writer::Keeper;

use crate::decode::Message;
use crate::disk::Bound;
use crate::histogram_file::Interval;
use crate::names::WireName;
use crate::pseudonym::Key;

/// A response of which a row is made.
#[derive(Clone, Copy, Debug)]
pub struct SessionRow<'a> {
    /// What the resolver says of it.
    pub message: &'a Message<'a>,
    /// The name of its first question.
    pub name: WireName<'a>,
}

/// Where files go, and how much of them there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder of the files.
    pub folder: PathBuf,
    /// All finished files together, and the one that is written. No file takes more than half of the octets.
    pub bound: Bound,
    /// Octets of the disk that are left to others.
    pub spare: u64,
    /// What stays in the stored messages of the client.
    pub kept: Kept,
    /// Pseudonyms that are remembered.
    pub pseudonyms: usize,
}

impl Settings {
    /// What is usual: below EDM's folder, a quarter of a gigabyte, a day, and nothing of the disk's last 64 MiB.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join("parquet/sessions"),
            bound: Bound { octets: 256 << 20, files: 10_000, age: Duration::from_secs(24 * 3600) },
            spare: 64 << 20,
            kept: Kept::default(),
            pseudonyms: 32 * 1024,
        }
    }
}

/// Takes rows from every connection.
pub struct Sessions {
    lanes: Lanes,
    counters: Counters,
}

impl Sessions {
    /// Starts the thread, which first removes what an earlier run left unfinished or too much of.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(settings: Settings, key: &Key, counters: Counters) -> io::Result<Self> {
        let lanes = Lanes::new();
        let (work, mut keeper) = (Arc::clone(lanes.work()), Keeper::new(settings, key, counters.clone()));
        thread::Builder::new().name("sessions".to_owned()).spawn(move || {
            // Also when it panics: whoever waits for the end must not wait for ever.
            let _ended = work.ended_when_dropped();
            keeper.begin();
            work.each(|work| keeper.work(work));
        })?;
        Ok(Self { lanes, counters })
    }

    /// Takes a row. Never waits for the disk; what finds no room is dropped and counted.
    pub fn offer(&self, row: &SessionRow<'_>) {
        if let Err(reason) = self.lanes.put(row) {
            self.counters.dropped(reason, 1);
        }
    }

    /// Ends the file of this interval; an empty one makes none. Never waits for the disk.
    pub fn rotate(&self, interval: Interval) {
        self.lanes.rotate(interval);
    }

    /// Ends the file of this interval, takes no more rows, and waits so long for all to be written; false if it was not.
    #[must_use]
    pub fn finish(&self, interval: Interval, patience: Duration) -> bool {
        self.lanes.rotate(interval);
        self.lanes.work().finish(patience)
    }
}

impl Drop for Sessions {
    /// Without [`Sessions::finish`], what belongs to no finished interval is lost.
    fn drop(&mut self) {
        self.lanes.work().close();
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sessions").finish_non_exhaustive()
    }
}
