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
mod switch;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub use counters::{Counters, Reason, ReasonLabels};
use lanes::{Lanes, Lost};
pub use message::{Kept, without_client};
pub use schema::SCHEMA;
pub use switch::{Source, State, Switch, Wanted};
use writer::{Keeper, Terms};

use crate::decode::Message;
use crate::disk::Bound;
use crate::histogram_file::Interval;
use crate::names::WireName;
use crate::pseudonym::{Cache, CryptoPan, Key};

/// Of the thread that writes, beside blocks and pseudonyms: a row group, as it is and compressed, and what of a file may be in the page cache.
const WRITER: usize = 8 << 20;

/// A response of which a row is made.
#[derive(Clone, Copy, Debug)]
pub struct SessionRow<'a> {
    /// What the resolver says of it.
    pub message: Message<'a>,
    /// The name of its first question.
    pub name: WireName<'a>,
}

/// Where files go, and how much of them there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder of the files. It stays the one that was there first.
    pub folder: PathBuf,
    /// All finished files together, and the one that is written. No file takes more than half of the octets.
    pub bound: Bound,
    /// Octets of the disk that are left to others, from the first.
    pub spare: u64,
    /// What stays in the stored messages of the client.
    pub kept: Kept,
    /// Pseudonyms that are remembered.
    pub pseudonyms: usize,
}

impl Settings {
    /// What is usual: below EDM's folder, half a gigabyte, a day, and nothing of the disk's last 64 MiB.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join("parquet/sessions"),
            bound: Bound { octets: 512 << 20, files: 10_000, age: Duration::from_secs(24 * 3600) },
            spare: 64 << 20,
            kept: Kept::default(),
            pseudonyms: 32 * 1024,
        }
    }

    /// What writing them takes of memory at most.
    #[must_use]
    pub fn octets(&self) -> usize {
        lanes::OCTETS + WRITER + Cache::octets(self.pseudonyms)
    }

    fn terms(&self, key: Option<&Key>) -> Terms {
        let pseudonyms = key.map(|key| Cache::new(CryptoPan::new(key), self.pseudonyms));
        Terms { bound: self.bound, kept: self.kept, pseudonyms }
    }
}

/// Takes rows from every connection.
pub struct Sessions {
    lanes: Lanes,
    counters: Counters,
}

impl Sessions {
    /// Starts the thread, which first removes what an earlier run left unfinished or too much of. Without a key it does no more than that.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(settings: Settings, key: Option<&Key>, counters: Counters) -> io::Result<Self> {
        let (lanes, terms) = (Lanes::new(), settings.terms(key));
        let (work, mut keeper) =
            (Arc::clone(lanes.work()), Keeper::new(settings.folder, settings.spare, terms, counters.clone()));
        thread::Builder::new().name("sessions".to_owned()).spawn(move || {
            // Also when it panics: whoever waits for the end must not wait for ever.
            let _ended = work.ended_when_dropped();
            keeper.begin();
            work.each(|job| keeper.work(job));
            keeper.give_up();
        })?;
        Ok(Self { lanes, counters })
    }

    /// Takes rows. Never waits for the disk; what finds no room is dropped and counted.
    pub fn offer<'a>(&self, rows: impl IntoIterator<Item = SessionRow<'a>>) {
        let Lost { busy, too_large, ended } = self.lanes.put(rows);
        for (reason, rows) in [(Reason::Busy, busy), (Reason::TooLarge, too_large), (Reason::Ended, ended)] {
            self.counters.dropped(reason, rows);
        }
    }

    /// Ends the file of this interval; an empty one makes none. Never waits for the disk.
    pub fn rotate(&self, interval: Interval) {
        self.counters.dropped(Reason::Ended, self.lanes.rotate(interval));
    }

    /// The same; what comes from then on is written as these settings say. Without a key nothing is, and memory goes.
    pub fn change(&self, interval: Interval, settings: &Settings, key: Option<&Key>) {
        let lost = self.lanes.change(interval, settings.terms(key), key.is_none());
        self.counters.dropped(Reason::Ended, lost);
    }

    /// Ends the file of this interval, and takes no more rows. Never waits for the disk.
    pub fn close(&self, interval: Interval) {
        let lost = self.lanes.close() + self.lanes.rotate(interval);
        self.counters.dropped(Reason::Ended, lost);
        self.lanes.work().close();
    }

    /// Waits so long for all to be written after [`Sessions::close`]; false if it was not.
    #[must_use]
    pub fn is_written(&self, patience: Duration) -> bool {
        self.lanes.work().ended(patience)
    }
}

impl Drop for Sessions {
    /// Without [`Sessions::close`], what belongs to no finished interval is lost, and counted by the thread.
    fn drop(&mut self) {
        self.counters.dropped(Reason::Ended, self.lanes.close());
        self.lanes.work().close();
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sessions").finish_non_exhaustive()
    }
}
