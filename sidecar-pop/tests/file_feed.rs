//! Lists in files: replaced in every way, damaged, away, across restarts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use tapir_pop::feeds::file::FileFeed;
use tapir_pop::feeds::lists::Fit;
use tapir_pop::feeds::{Health, Meta, SourceNews, Told, channel};
use tapir_runtime::shutdown::Shutdown;
use tapir_table::{Codes, Cursor, TableFile};
use tapir_wire::config::pop::{FileSource, Format};
use tapir_wire::name::Name;
use tokio::sync::mpsc;
use tokio::time::timeout;

struct Running {
    news: mpsc::Receiver<Told>,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(folder: &Path, data: &Path, format: Format, most: u64) -> Self {
        let fit = Fit::new(&Name::parse("dnstapir").unwrap());
        let source = FileSource { path: "list".to_owned(), format, ..FileSource::default() };
        let feed = FileFeed::new("f", &source, folder, fit, data, most);
        let (to, news) = channel();
        let (_, shutdown) = Shutdown::manual();
        let task = tokio::spawn(feed.run(to, shutdown.clone()));
        Self { news, shutdown, task }
    }

    async fn any(&mut self) -> SourceNews {
        let told = timeout(Duration::from_secs(60), self.news.recv()).await.expect("news").unwrap();
        assert_eq!(&*told.source, "f");
        told.news
    }

    /// That something comes is told before it is read; see the engine for what that is good for.
    async fn next(&mut self) -> SourceNews {
        match self.any().await {
            SourceNews::Coming => {
                let whole = self.any().await;
                assert!(matches!(whole, SourceNews::Whole { .. } | SourceNews::Health(_)), "{whole:?}");
                whole
            }
            other => other,
        }
    }

    /// The next content; how it is with the source is skipped.
    async fn whole(&mut self) -> (Vec<String>, Meta) {
        loop {
            if let SourceNews::Whole { table, meta, .. } = self.next().await {
                return (names(&table), meta);
            }
        }
    }

    async fn health(&mut self) -> Health {
        loop {
            if let SourceNews::Health(health) = self.next().await {
                return health;
            }
        }
    }

    async fn stop(self) {
        self.shutdown.trigger();
        timeout(Duration::from_secs(5), self.task).await.unwrap().unwrap();
    }
}

fn names(table: &TableFile<Codes>) -> Vec<String> {
    let mut scan = table.scan();
    let mut names = Vec::new();
    while scan.advance().unwrap() {
        names.push(scan.key().to_string());
    }
    names.sort();
    names
}

/// As Kubernetes mounts a ConfigMap.
fn mount(folder: &Path, version: &str, content: &str) {
    fs::create_dir(folder.join(version)).unwrap();
    fs::write(folder.join(version).join("list"), content).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    if !folder.join("list").exists() {
        symlink("..data/list", folder.join("list")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_replacing_a_file_is_seen() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    mount(folder.path(), "..1", "a.example\nb..example\n");
    let mut feed = Running::start(folder.path(), data.path(), Format::Domains, 1000);
    let (names, meta) = feed.whole().await;
    assert_eq!((names.as_slice(), meta.entries), (["a.example.".to_owned()].as_slice(), 1));
    assert_eq!((meta.rejected.count, meta.rejected.first[0].line), (1, 2));
    assert!(feed.health().await.is_good());

    mount(folder.path(), "..2", "b.example\n");
    fs::remove_dir_all(folder.path().join("..1")).unwrap();
    assert_eq!(feed.whole().await.0, ["b.example."]);

    // By rename over the link.
    fs::write(folder.path().join("list.new"), "c.example\n").unwrap();
    fs::rename(folder.path().join("list.new"), folder.path().join("list")).unwrap();
    assert_eq!(feed.whole().await.0, ["c.example."]);

    // In place.
    fs::write(folder.path().join("list"), "d.example\ne.example\n").unwrap();
    assert_eq!(feed.whole().await.0, ["d.example.", "e.example."]);

    // Away: what it had stays, and the reason is told.
    fs::remove_file(folder.path().join("list")).unwrap();
    let health = feed.health().await;
    assert!(health.error.as_ref().unwrap().contains("list"), "{health:?}");
    fs::write(folder.path().join("list"), "f.example\n").unwrap();
    assert_eq!(feed.whole().await.0, ["f.example."]);
    assert!(feed.health().await.is_good());

    // Too large.
    fs::write(folder.path().join("list"), "x.example\n".repeat(101)).unwrap();
    assert!(feed.health().await.error.unwrap().contains("1010 octets"));
    feed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_copy_outlives_damage_and_restarts() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let list = folder.path().join("list");
    fs::write(&list, tapir_wire::dawg::compile(["a.example.", "b.example."]).unwrap()).unwrap();
    let mut feed = Running::start(folder.path(), data.path(), Format::Dawg, 1 << 20);
    let first = feed.whole().await;
    assert_eq!(first.0, ["a.example.", "b.example."]);
    assert!(feed.health().await.is_good());
    fs::write(&list, b"no word list").unwrap();
    assert!(feed.health().await.error.unwrap().contains("octets"));
    feed.stop().await;

    // Killed and started while the file is still damaged: the copy first.
    let mut feed = Running::start(folder.path(), data.path(), Format::Dawg, 1 << 20);
    assert!(matches!(feed.next().await, SourceNews::Whole { meta, .. } if meta == first.1));
    assert!(!feed.health().await.is_good());
    feed.stop().await;

    // The same content again is nothing new.
    fs::write(&list, tapir_wire::dawg::compile(["a.example.", "b.example."]).unwrap()).unwrap();
    let mut feed = Running::start(folder.path(), data.path(), Format::Dawg, 1 << 20);
    assert!(matches!(feed.next().await, SourceNews::Whole { .. }));
    assert!(matches!(feed.next().await, SourceNews::Health(health) if health.is_good()));
    feed.stop().await;

    // In another format the copy is none.
    fs::remove_file(&list).unwrap();
    let mut feed = Running::start(folder.path(), data.path(), Format::Hosts, 1 << 20);
    assert!(matches!(feed.next().await, SourceNews::Health(health) if !health.is_good()));
    feed.stop().await;
}

/// Writes that many names, one after the other, for as long as somebody is at it: the longest time between two of them.
fn write_slowly(list: &Path, names: usize) -> Duration {
    let mut file = fs::File::create(list).unwrap();
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    for number in 0..names {
        std::io::Write::write_all(&mut file, format!("n{number}.example\n").as_bytes()).unwrap();
        longest = longest.max(last.elapsed());
        last = Instant::now();
        std::thread::sleep(Duration::from_millis(5));
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_slowly_is_never_taken_in_part() {
    const NAMES: usize = 60;
    for _ in 0..20 {
        let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let list = folder.path().join("list");
        let mut feed = Running::start(folder.path(), data.path(), Format::Domains, 1 << 20);
        assert!(!feed.health().await.is_good());
        let writer = std::thread::spawn(move || write_slowly(&list, NAMES));
        let (names, _) = feed.whole().await;
        let longest = writer.join().unwrap();
        feed.stop().await;
        // A machine that is busy makes pauses that are as long as those between two files.
        if longest < Duration::from_millis(45) {
            return assert_eq!(names.len(), NAMES, "{longest:?}");
        }
    }
    panic!("this machine is too busy to write for a third of a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_disk_lists_are_read_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("list"), "a.example\n").unwrap();
    let mut feed = Running::start(folder.path(), Path::new("/dev/null"), Format::Domains, 1000);
    assert_eq!(feed.whole().await.0, ["a.example."]);
    feed.stop().await;
}

/// A volume that comes after the start: nothing happens to the list meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_made_at_the_start_is_made_when_it_can() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("list"), "a.example\n").unwrap();
    let sources = data.path().join("sources");
    fs::write(&sources, "in the way").unwrap();
    let mut feed = Running::start(folder.path(), data.path(), Format::Domains, 1 << 20);
    assert_eq!(feed.whole().await.0, ["a.example."]);
    fs::remove_file(&sources).unwrap();
    let end = Instant::now() + Duration::from_secs(120);
    while !sources.join("f/meta.json").exists() {
        assert!(Instant::now() < end, "nothing is kept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    feed.stop().await;
    fs::remove_file(folder.path().join("list")).unwrap();
    let mut feed = Running::start(folder.path(), data.path(), Format::Domains, 1 << 20);
    assert_eq!(feed.whole().await.0, ["a.example."]);
    feed.stop().await;
}
