//! Versions that are to be a minute apart: the first change and what ended do not wait for it, all else comes together.

use std::path::Path;

use jiff::SignedDuration;
use tapir_wire::name::Name;
use tapir_wire::observation::{Entry, ListType, Message};

use super::*;
use crate::setup::NoFiles;
use crate::zone::Size;

const INTERVAL: Duration = Duration::from_secs(60);
const BLOCKED: u32 = 1;
const IN_NO_RULE: u32 = 8;
/// Seconds for which a name counts where nothing else is said.
const LONG: u32 = 600;

struct Pop {
    engine: Engine,
    published: watch::Receiver<Option<Arc<Snapshot>>>,
    now: Timestamp,
    folder: tempfile::TempDir,
}

impl Pop {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (publish, published) = watch::channel(None);
        let mut engine = Engine::new(publish, Telemetry::new(None, None)).unwrap();
        // A machine that is busy is no disk that hangs.
        engine.scribe = Scribe::direct();
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
        engine.configure(configuration(folder.path(), 0), now);
        let mut pop = Self { engine, published, now, folder };
        pop.made_anew().await;
        pop
    }

    /// The zone is what the newest configuration says.
    async fn made_anew(&mut self) {
        self.engine.turn(self.now);
        while self.engine.running.is_some() {
            let outcome = self.engine.outcomes.as_mut().unwrap().recv().await.unwrap();
            self.engine.outcome(outcome, self.now);
            self.engine.turn(self.now);
        }
    }

    fn hears(&mut self, name: &str, tag_mask: u32, ttl: u32) {
        let added = vec![Entry { name: Name::parse(name).unwrap(), time_added: self.now, ttl, tag_mask }];
        let (src_name, list_type) = ("core".to_owned(), ListType::Doubt);
        let message = Message { src_name, list_type, timestamp: None, added, removed: Vec::new(), rejected: [].into() };
        self.engine.observe(&Observed { source: Arc::from("core"), message }, self.now);
        self.engine.turn(self.now);
    }

    async fn passes(&mut self, time: Duration) {
        tokio::time::advance(time).await;
        self.now += SignedDuration::try_from(time).unwrap();
        self.engine.turn(self.now);
    }

    /// Versions so far, and names in the newest.
    fn zone(&self) -> (u64, u64) {
        let size: Size = self.published.borrow().as_ref().unwrap().size;
        (self.engine.telemetry.metrics.publications.get(), size.records)
    }
}

/// One that differs from all others by a name that it blocks itself.
fn configuration(folder: &Path, number: u32) -> Arc<Setup> {
    let text = format!(
        "format: 2\ndataDir: {}\npublishIntervalMilliseconds: {}\nsources:\n- {{name: core, list: Doubt, core: {{}}}}\n\
         - {{name: own, list: Deny, inline: {{names: [own{number}.example]}}}}\n\
         doubt: [{{name: any, anyTags: [globally_new], action: DROP}}]\n",
        folder.display(),
        INTERVAL.as_millis()
    );
    Arc::new(Setup::parse(&text, &mut NoFiles).unwrap().0)
}

#[tokio::test(start_paused = true)]
async fn the_first_change_is_published_at_once_and_all_others_together() {
    let mut pop = Pop::new().await;
    let (first, records) = pop.zone();
    pop.hears("one.example", BLOCKED, LONG);
    assert_eq!(pop.zone(), (first + 1, records + 1));
    pop.hears("two.example", BLOCKED, LONG);
    pop.passes(INTERVAL / 2).await;
    pop.hears("three.example", BLOCKED, LONG);
    pop.passes(INTERVAL / 2 - Duration::from_millis(2)).await;
    assert_eq!(pop.zone(), (first + 1, records + 1));
    pop.passes(Duration::from_millis(2)).await;
    assert_eq!(pop.zone(), (first + 2, records + 3));
    // After a pause the next one is a first one again.
    pop.passes(INTERVAL).await;
    pop.hears("four.example", BLOCKED, LONG);
    assert_eq!(pop.zone(), (first + 3, records + 4));
}

#[tokio::test(start_paused = true)]
async fn what_changes_nothing_holds_up_no_change() {
    let mut pop = Pop::new().await;
    let (first, records) = pop.zone();
    pop.hears("other.example", IN_NO_RULE, LONG);
    assert_eq!(pop.zone(), (first, records));
    pop.passes(Duration::from_secs(1)).await;
    pop.hears("one.example", BLOCKED, LONG);
    assert_eq!(pop.zone(), (first + 1, records + 1));
}

#[tokio::test(start_paused = true)]
async fn what_ended_does_not_wait_for_the_interval() {
    let mut pop = Pop::new().await;
    let (first, records) = pop.zone();
    pop.hears("one.example", BLOCKED, 10);
    assert_eq!(pop.zone(), (first + 1, records + 1));
    pop.passes(Duration::from_secs(9)).await;
    assert_eq!(pop.zone(), (first + 1, records + 1));
    pop.passes(Duration::from_secs(1)).await;
    pop.passes(Duration::from_millis(100)).await;
    assert_eq!(pop.zone(), (first + 2, records));
}

/// A version that came of a new configuration is one like any other.
#[tokio::test(start_paused = true)]
async fn a_change_after_a_new_configuration_waits() {
    let mut pop = Pop::new().await;
    let (first, records) = pop.zone();
    let folder = pop.folder.path().to_owned();
    pop.engine.configure(configuration(&folder, 1), pop.now);
    pop.made_anew().await;
    assert_eq!(pop.zone(), (first + 1, records));
    pop.hears("one.example", BLOCKED, LONG);
    assert_eq!(pop.zone(), (first + 1, records));
    pop.passes(INTERVAL).await;
    assert_eq!(pop.zone(), (first + 2, records + 1));
}
