//! Sources that are fetched: a task each, for as long as the configuration has them as they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tapir_runtime::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::feeds::file::FileFeed;
use crate::feeds::https::HttpsFeed;
use crate::feeds::lists::Fit;
use crate::feeds::rpz::{Notified, RpzFeed};
use crate::feeds::store::Leave;
use crate::feeds::{Health, NewsSender, SourceNews, again_and_again};
use crate::names::ZoneName;
use crate::setup::{Fetched, FetchedFrom, Setup};
use crate::state::blocking;

/// All that a feed is made of: another one is made where any of it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    fetched: Fetched,
    zone: ZoneName,
    octets: u64,
    data: PathBuf,
}

/// A feed that was begun.
struct Begun(Leave, AbortHandle);

impl Begun {
    /// What it is at on a thread of its own ends by itself, and writes nothing any more.
    fn end(&self) {
        self.0.leave();
        self.1.abort();
    }
}

/// Runs what the configuration says, until shutdown. Relative paths of files begin at `folder`.
pub async fn run(
    mut setup: watch::Receiver<Option<Arc<Setup>>>,
    folder: PathBuf,
    tell: NewsSender,
    notified: Notified,
    shutdown: Shutdown,
) {
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<String, (Made, Begun)> = BTreeMap::new();
    // The first configuration says where state lies, for as long as the process lives.
    let mut data = None;
    loop {
        let now = setup.borrow_and_update().clone();
        if let Some(setup) = now {
            let data = data.get_or_insert_with(|| setup.data_dir.clone());
            let wanted: BTreeMap<String, Made> = setup.fetched.iter().map(|fetched| made(fetched, &setup, data)).collect();
            running.retain(|source, (made, task)| {
                let same = wanted.get(source) == Some(made);
                if !same {
                    task.end();
                }
                same
            });
            for (source, made) in wanted {
                running.entry(source).or_insert_with(|| {
                    let task = begin(&mut tasks, &made, &folder, &tell, &notified, &shutdown);
                    (made, task)
                });
            }
        }
        tokio::select! {
            () = shutdown.requested() => break,
            changed = setup.changed() => if changed.is_err() {
                break;
            },
            // Aborted, or there is nothing that it could do.
            Some(_) = tasks.join_next() => {}
        }
    }
    // They end by themselves at the shutdown.
    while tasks.join_next().await.is_some() {}
}

fn made(fetched: &Fetched, setup: &Setup, data: &Path) -> (String, Made) {
    let made = Made { fetched: fetched.clone(), zone: setup.zone.clone(), octets: setup.source_octets, data: data.to_owned() };
    (fetched.source.clone(), made)
}

fn begin(
    tasks: &mut JoinSet<()>,
    made: &Made,
    folder: &Path,
    tell: &NewsSender,
    notified: &Notified,
    shutdown: &Shutdown,
) -> Begun {
    let leave = Leave::default();
    let (source, tell, shutdown) = (Arc::from(made.fetched.source.as_str()), tell.clone(), shutdown.clone());
    let work = {
        let (made, folder, leave, notified) = (made.clone(), folder.to_owned(), leave.clone(), notified.clone());
        let (tell, shutdown) = (tell.clone(), shutdown.clone());
        move || feed(made.clone(), folder.clone(), leave.clone(), notified.clone(), tell.clone(), shutdown.clone())
    };
    Begun(leave, tasks.spawn(again_and_again(Some(source), tell, shutdown, work)))
}

/// One source, from what it kept on.
async fn feed(
    Made { fetched, zone, octets, data }: Made,
    folder: PathBuf,
    leave: Leave,
    notified: Notified,
    tell: NewsSender,
    shutdown: Shutdown,
) {
    let (source, fit) = (fetched.source.as_str(), Fit::new(zone.name()));
    match &fetched.from {
        FetchedFrom::File(file) => {
            let feed = blocking(|| FileFeed::new(source, file, &folder, fit, &data, octets).leaving(&leave));
            feed.run(tell, shutdown).await;
        }
        FetchedFrom::Rpz(rpz, key) => {
            // The check of the file leaves no zone that is no name.
            let feed = blocking(|| RpzFeed::new(source, rpz, key.as_ref(), fit, &data, octets, &notified));
            if let Some(feed) = feed {
                feed.leaving(&leave).run(tell, shutdown).await;
            }
        }
        FetchedFrom::Https(https, proof, anchors) => {
            let feed = blocking(|| HttpsFeed::new(source, https, proof.clone(), anchors.as_deref(), fit, &data, octets));
            match feed {
                Ok(feed) => feed.leaving(&leave).run(tell, shutdown).await,
                Err(error) => {
                    let news = SourceNews::Health(Health::bad(error.to_string(), Timestamp::now(), None));
                    let source = Arc::from(source);
                    tell.failed(&source);
                    _ = tell.tell(&source, news).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use super::*;
    use crate::feeds;
    use crate::setup::NoFiles;

    /// A primary that takes the question and says nothing: its feed is waiting for the answer on a thread of its own.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_source_that_is_not_wanted_any_more_stops_what_it_is_at() {
        let data = tempfile::tempdir().unwrap();
        let primary = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = primary.local_addr().unwrap();
        let setup = |sources: &str| {
            let text = format!("format: 2\ndataDir: {}\nsources: [{sources}]\n", data.path().display());
            Some(Arc::new(Setup::parse(&text, &mut NoFiles).unwrap().0))
        };
        let feed = format!("{{name: feed, list: Deny, rpz: {{primaries: ['{at}'], zone: feed.example}}}}");
        let (change, setups) = watch::channel(setup(&feed));
        let (tell, _news) = feeds::channel();
        let shutdown = Shutdown::manual().1;
        let folder = data.path().to_owned();
        tokio::spawn(run(setups, folder, tell, Notified::default(), shutdown.clone()));
        let none = setup("");
        let closed = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = primary.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
            let mut request = [0; 512];
            assert!(stream.read(&mut request).unwrap() > 2);
            change.send_replace(none);
            // Its end, and not our time-out.
            stream.read(&mut request)
        });
        assert_eq!(closed.await.unwrap().unwrap(), 0);
        shutdown.trigger();
    }
}
