//! What ends in one second leaves in one version, however long a turn takes: the clock of the engine stands still here.

use std::path::Path;

use jiff::SignedDuration;
use tapir_wire::name::Name;
use tapir_wire::observation::{Entry, ListType, Message};

use super::*;
use crate::setup::NoFiles;

/// Many more than one turn of the engine takes.
const MANY: u64 = 12_000;
const TTL: u32 = 600;

struct Pop {
    engine: Engine,
    published: watch::Receiver<Option<Arc<Snapshot>>>,
}

impl Pop {
    /// Knows that many names, all of which end in one moment.
    async fn new(folder: &Path, now: Timestamp) -> Self {
        let (publish, published) = watch::channel(None);
        let mut engine = Engine::new(publish, Telemetry::new(None, None)).unwrap();
        // A machine that is busy is no disk that hangs.
        engine.scribe = Scribe::direct();
        let text = format!(
            "format: 2\ndataDir: {}\nsources: [{{name: core, list: Doubt, core: {{}}}}]\n\
             doubt: [{{name: any, anyTags: [globally_new], action: DROP}}]\n",
            folder.display()
        );
        engine.configure(Arc::new(Setup::parse(&text, &mut NoFiles).unwrap().0), now);
        let mut pop = Self { engine, published };
        let entry = |number| Entry {
            name: Name::parse(&format!("name{number}.example")).unwrap(),
            time_added: now,
            ttl: TTL,
            tag_mask: 1,
        };
        let (src_name, list_type) = ("core".to_owned(), ListType::Doubt);
        let added = (0..MANY).map(entry).collect();
        let message = Message { src_name, list_type, timestamp: None, added, removed: Vec::new(), rejected: [].into() };
        pop.engine.observe(&Observed { source: Arc::from("core"), message }, now);
        pop.settle(now).await;
        assert_eq!(pop.records(), MANY);
        pop
    }

    fn records(&self) -> u64 {
        self.published.borrow().as_ref().unwrap().size.records
    }

    fn publications(&self) -> u64 {
        self.engine.telemetry.metrics.publications.get()
    }

    /// What the engine's thread does in a turn, until nothing is under way.
    async fn settle(&mut self, now: Timestamp) {
        loop {
            self.engine.earliest = Instant::now();
            let more = self.engine.turn(now);
            while self.engine.running.is_some() {
                let outcome = self.engine.outcomes.as_mut().unwrap().recv().await.unwrap();
                self.engine.outcome(outcome, now);
            }
            if !more && self.engine.touched.is_empty() && self.engine.running.is_none() {
                return;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_in_one_second_leaves_in_one_version() {
    let (folder, now) = (tempfile::tempdir().unwrap(), Timestamp::now());
    let mut pop = Pop::new(folder.path(), now).await;
    let (before, later) = (pop.publications(), now + SignedDuration::from_secs(i64::from(TTL) + 1));
    let mut turns = 1;
    while pop.engine.turn(later) {
        pop.engine.earliest = Instant::now();
        assert_eq!((pop.publications(), pop.records()), (before, MANY), "some of them left alone");
        turns += 1;
    }
    assert!(turns > 1, "one turn took all of them");
    pop.settle(later).await;
    assert_eq!((pop.publications(), pop.records()), (before + 1, 0));
    // And it stays at that.
    pop.settle(later).await;
    assert_eq!(pop.publications(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_version_waits_for_more_names_that_end_and_not_for_long() {
    let (folder, now) = (tempfile::tempdir().unwrap(), Timestamp::now());
    let mut pop = Pop::new(folder.path(), now).await;
    let (before, later) = (pop.publications(), now + SignedDuration::from_secs(i64::from(TTL) + 1));
    assert!(pop.engine.turn(later), "one turn took all of them");
    assert_eq!(pop.publications(), before);
    tokio::time::advance(HOLD).await;
    assert!(pop.engine.turn(later), "two turns took all of them");
    assert_eq!(pop.publications(), before + 1);
    assert!((1..MANY).contains(&pop.records()), "{}", pop.records());
    pop.settle(later).await;
    assert_eq!(pop.records(), 0);
}
