//! What a feed tells, laid over what it told before: as an engine would hold it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tapir_pop::feeds::{Health, Meta, SourceNews, Told};
use tapir_table::{Code, Codes, Cursor as _, Palette};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Nothing that is waited for takes so long, also on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Name -> what is said of it and of what is below it.
pub(crate) type Content = BTreeMap<String, (String, String)>;

/// The folder of a source, which takes nothing for as long as this is held.
pub(crate) struct NoDisk(PathBuf);

impl NoDisk {
    pub(crate) fn of(data: &Path, source: &str) -> Self {
        let folder = data.join("sources").join(source);
        fs::rename(&folder, folder.with_extension("away")).unwrap();
        fs::write(&folder, "in the way").unwrap();
        Self(folder)
    }
}

impl Drop for NoDisk {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
        fs::rename(self.0.with_extension("away"), &self.0).unwrap();
    }
}

/// Goes on when what is kept of a source says this.
pub(crate) async fn kept(data: &Path, source: &str, what: &str) {
    let meta = data.join("sources").join(source).join("meta.json");
    let said = async {
        while !fs::read_to_string(&meta).unwrap_or_default().contains(what) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("no {what} in {:?}", fs::read_to_string(&meta)));
}

#[derive(Debug)]
pub(crate) struct Listener {
    news: mpsc::Receiver<Told>,
    held: BTreeMap<String, Codes>,
    palette: std::sync::Arc<Palette>,
    pub(crate) meta: Meta,
    pub(crate) health: Option<Health>,
    /// `whole`, `changes`, `good`, `bad`, `expired`.
    pub(crate) heard: Vec<&'static str>,
}

impl Listener {
    pub(crate) fn new(news: mpsc::Receiver<Told>) -> Self {
        let (held, palette, meta) = (BTreeMap::new(), std::sync::Arc::default(), Meta::default());
        Self { news, held, palette, meta, health: None, heard: Vec::new() }
    }

    /// Takes the next news.
    pub(crate) async fn next(&mut self) -> &'static str {
        let told = timeout(PATIENCE, self.news.recv()).await;
        let told = told.unwrap_or_else(|_| panic!("no news after {:?}, {:?}", self.heard, self.health)).unwrap();
        let what = match told.news {
            SourceNews::Whole { table, palette, meta } => {
                self.held.clear();
                let mut scan = table.scan();
                while scan.advance().unwrap() {
                    self.held.insert(scan.key().to_string(), scan.value());
                }
                assert_eq!(meta.entries, self.held.len() as u64);
                (self.palette, self.meta) = (palette, meta);
                "whole"
            }
            SourceNews::Changes { list, palette, meta } => {
                assert!(list.is_sorted_by(|one, other| one.0 < other.0));
                assert!(palette.sets().starts_with(self.palette.sets()), "an index changed its meaning");
                for (key, codes) in list {
                    if codes == Codes::SILENT {
                        self.held.remove(&key.to_string()).expect("what goes was there");
                    } else {
                        let before = self.held.insert(key.to_string(), codes);
                        assert_ne!(before, Some(codes), "no change: {key}");
                    }
                }
                assert_eq!(meta.entries, self.held.len() as u64);
                (self.palette, self.meta) = (palette, meta);
                "changes"
            }
            SourceNews::Health(health) => {
                let what = if health.is_good() { "good" } else { "bad" };
                self.health = Some(health);
                what
            }
            SourceNews::Observed(_) => "observed",
            SourceNews::Coming => "coming",
            SourceNews::Expired(health) => {
                self.held.clear();
                self.health = Some(health);
                "expired"
            }
        };
        self.heard.push(what);
        what
    }

    /// Goes on until this is heard.
    pub(crate) async fn until(&mut self, what: &str) {
        let end = std::time::Instant::now() + PATIENCE;
        while self.next().await != what {
            assert!(std::time::Instant::now() < end, "no {what} in {:?}, {:?}", self.heard, self.health);
        }
    }

    /// Goes on until this version counts: how it came.
    pub(crate) async fn until_serial(&mut self, serial: u32) -> &'static str {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            assert!(std::time::Instant::now() < end, "no {serial} in {:?}, {:?}", self.heard, self.health);
            let what = self.next().await;
            if matches!(what, "whole" | "changes") && self.meta.serial == Some(serial) {
                return what;
            }
        }
    }

    pub(crate) fn error(&self) -> String {
        self.health.as_ref().and_then(|health| health.error.clone()).unwrap_or_default()
    }

    pub(crate) fn content(&self) -> Content {
        let shown = |code: Code| match self.palette.get(code) {
            Some(set) => set.records().map(|(kind, data)| format!("{kind}:{}", hex::encode(data))).collect::<Vec<_>>().join("+"),
            None => code.number().to_string(),
        };
        self.held.iter().map(|(name, codes)| (name.clone(), (shown(codes.own), shown(codes.below)))).collect()
    }

    /// Of one name: `own below`.
    pub(crate) fn of(&self, name: &str) -> String {
        self.content().get(name).map(|(own, below)| format!("{own} {below}")).unwrap_or_default()
    }
}
