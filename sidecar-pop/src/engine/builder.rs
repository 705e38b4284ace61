//! What takes long, on a thread of its own that lets everything else go first: lists into tables, the zone anew, merges, tables of observations.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use jiff::Timestamp;
use tapir_runtime::panics::{Panicked, caught};
use tapir_table::{Codes, Merge, Palette, SortError, Staged, TableFile, TableWriter, Tree};
use tokio::sync::mpsc;

use super::counted::Counted;
use super::world::{Unplaced, World};
use crate::feeds::SourceNews;
use crate::metrics::Occasion;
use crate::names::ZoneName;
use crate::sources::ListText;
use crate::state::failpoint::pass;
use crate::state::file::replace_with;
use crate::state::observation_log::{Condense, Condensed};
use crate::zone::emit::Emit;
use crate::zone::judge::Source as _;
use crate::zone::layers::Layers;
use crate::zone::rebuild::{RebuildError, merge, rebuild};
use crate::zone::sets::Same;
use crate::zone::tally::Tally;
use crate::zone::{Snapshot, text};

/// How much later than everything else this thread comes.
const NICE: i32 = 10;
/// Octets of a zone that is held in memory for want of a disk.
const MOST_IN_MEMORY: usize = 64 << 20;

/// Work.
#[derive(Debug)]
pub(crate) enum Job {
    /// Lists that came with the configuration.
    Read(Vec<ListText>, ZoneName),
    /// The zone anew.
    Rebuild(Box<Zone>),
    /// Base and older changes into a new base.
    Merge(Box<Zone>),
    /// Tables of a source's observations.
    Condense(Arc<str>, Condense),
    /// The zone as a file for resolvers.
    Write(Arc<Snapshot>, PathBuf),
}

/// What a base is made of.
#[derive(Debug)]
pub(crate) struct Zone {
    /// What decides; a merge decides nothing.
    pub(crate) world: Option<World>,
    /// As it is published.
    pub(crate) layers: Layers,
    /// Local data of what is published.
    pub(crate) palette: Arc<Palette>,
    /// Where it goes; else into memory.
    pub(crate) to: Option<PathBuf>,
    /// Tells that nobody wants it any more.
    pub(crate) given_up: Arc<AtomicBool>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Done {
    /// News of each list.
    Read(Vec<(ListText, Result<SourceNews, ListError>)>, ZoneName),
    /// A zone, what the published one says of every name that is different there, and what it has no room for.
    Rebuilt(Result<(Base, (Tree<Codes>, Unplaced)), RebuildError>),
    /// A zone.
    Merged(Result<Base, RebuildError>),
    /// Tables.
    Condensed(Arc<str>, io::Result<Condensed>),
    /// A file.
    Written(Arc<Snapshot>, PathBuf, io::Result<()>),
}

/// Why a list did not become a table.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    #[error(transparent)]
    Sort(#[from] SortError),
    /// The next one will not be the better for a process that ends.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// A new base.
#[derive(Debug)]
pub(crate) struct Base {
    /// To read from.
    pub(crate) table: Arc<TableFile>,
    /// Its records.
    pub(crate) tally: Tally,
    /// Name of its file; none in memory.
    pub(crate) file: Option<String>,
    /// Why it is in no file, where it should be.
    pub(crate) error: Option<io::Error>,
}

/// Begins the thread. It ends when nobody has work for it any more.
pub(crate) fn spawn(tell: mpsc::Sender<super::Outcome>) -> io::Result<(SyncSender<Job>, JoinHandle<()>)> {
    let (jobs, work) = sync_channel(4);
    let thread = std::thread::Builder::new().name("builder".to_owned()).spawn(move || run(&work, &tell))?;
    Ok((jobs, thread))
}

fn run(work: &Receiver<Job>, tell: &mpsc::Sender<super::Outcome>) {
    // Where that is not allowed it is as fast as the others.
    _ = rustix::process::nice(NICE);
    while let Ok(job) = work.recv() {
        if tell.blocking_send(super::Outcome::Built(done(job))).is_err() {
            return;
        }
    }
}

fn done(job: Job) -> Done {
    match job {
        Job::Read(lists, zone) => {
            let now = Timestamp::now();
            let read = |list: ListText| {
                let news = caught(|| list.text.news(&zone, now).map_err(ListError::from));
                let news = news.unwrap_or_else(|panicked| Err(panicked.into()));
                (list, news)
            };
            Done::Read(lists.into_iter().map(read).collect(), zone)
        }
        Job::Rebuild(zone) => Done::Rebuilt(made(&zone, rebuilt)),
        Job::Merge(zone) => {
            let merged = made(&zone, |zone, writer| merge(&zone.layers, writer, || zone.goes_on()).map(|tally| ((), tally)));
            Done::Merged(merged.map(|(base, ())| base))
        }
        Job::Condense(source, condense) => Done::Condensed(source, condense.write()),
        Job::Write(zone, path) => {
            let written = replace_with(&path, |file| text::write(&zone, file));
            Done::Written(zone, path, written)
        }
    }
}

impl Zone {
    /// Local data of what is made.
    fn sets(&self) -> Arc<Palette> {
        self.world.as_ref().map_or_else(|| Arc::clone(&self.palette), |world| world.sets.now())
    }

    fn goes_on(&self) -> bool {
        !self.given_up.load(Ordering::Relaxed)
    }
}

fn rebuilt(zone: &Zone, writer: &mut TableWriter<Target>) -> Result<((Tree<Codes>, Unplaced), Tally), RebuildError> {
    let Some(world) = &zone.world else { return Err(RebuildError::GivenUp) };
    let mut names = Merge::new(world.sources.iter().map(|source| source.cursor()).collect());
    let judge = Counted::new(world);
    let mut same = Same::new(Arc::clone(&zone.palette), world.sets.clone());
    let emit = Emit::new(&judge, &mut names, world.room());
    let (differs, tally) = rebuild(emit, &zone.layers, |old, new| same.codes(old, new), writer, || zone.goes_on())?;
    let unplaced = world.unplaced()?;
    judge.tell(Occasion::All);
    Ok(((differs, unplaced), tally))
}

/// Into the file, or into memory where that cannot be.
fn made<T>(
    zone: &Zone,
    make: impl Fn(&Zone, &mut TableWriter<Target>) -> Result<(T, Tally), RebuildError>,
) -> Result<(Base, T), RebuildError> {
    let mut error = None;
    if let Some(path) = &zone.to {
        match in_file(zone, path, &make) {
            Ok((table, (made, tally))) => {
                let file = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
                return Ok((Base { table: Arc::new(table), tally, file, error: None }, made));
            }
            Err(RebuildError::Write(failed)) => error = Some(io::Error::other(failed)),
            Err(other) => return Err(other),
        }
    }
    let mut writer = TableWriter::new(Target::Memory(Vec::new()))?;
    let (made, tally) = make(zone, &mut writer)?;
    let (target, _) = writer.finish(0, &zone.sets())?;
    let Target::Memory(octets) = target else { return Err(RebuildError::GivenUp) };
    let table = TableFile::from_memory(octets).map_err(opened)?;
    Ok((Base { table: Arc::new(table), tally, file: None, error }, made))
}

fn in_file<T>(
    zone: &Zone,
    path: &Path,
    make: impl Fn(&Zone, &mut TableWriter<Target>) -> Result<T, RebuildError>,
) -> Result<(TableFile, T), RebuildError> {
    let staged = pass(path).and_then(|()| Staged::create(path)).map_err(|error| RebuildError::Write(error.into()))?;
    let mut writer = TableWriter::new(Target::File(staged))?;
    let made = make(zone, &mut writer)?;
    let (target, _) = writer.finish(0, &zone.sets())?;
    let Target::File(staged) = target else { return Err(RebuildError::GivenUp) };
    let file = pass(path).and_then(|()| staged.finish()).map_err(|error| RebuildError::Write(error.into()))?;
    Ok((TableFile::open(file).map_err(opened)?, made))
}

fn opened(error: tapir_table::OpenError) -> RebuildError {
    RebuildError::Write(io::Error::other(error).into())
}

/// Where a table goes.
pub(super) enum Target {
    File(Staged),
    Memory(Vec<u8>),
}

impl Write for Target {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(staged) => staged.write(octets),
            Self::Memory(all) if all.len() + octets.len() > MOST_IN_MEMORY => Err(io::ErrorKind::OutOfMemory.into()),
            Self::Memory(all) => all.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(staged) => staged.flush(),
            Self::Memory(_) => Ok(()),
        }
    }
}
