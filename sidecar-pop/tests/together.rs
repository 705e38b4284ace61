//! Lists that change together, and are read one after the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/running.rs"]
#[allow(dead_code)]
mod running;

use std::sync::Arc;
use std::time::Duration;

use running::{has, start};
use tapir_pop::feeds::{Meta, SourceNews};
use tapir_pop::setup::{NoFiles, Setup};
use tapir_table::{Code, Codes, KeyBuf, MAX_KEY, Palette, TableFile, TableWriter};

fn whole(name: &str) -> SourceNews {
    let mut writer = TableWriter::new(Vec::new()).unwrap();
    writer.push(&KeyBuf::from_text(name, MAX_KEY).unwrap(), Codes::new(Code::NXDOMAIN, Code::SILENT)).unwrap();
    let (octets, summary) = writer.finish(0, &Palette::default()).unwrap();
    let meta = Meta { entries: summary.nodes, ..Meta::default() };
    SourceNews::Whole { table: Arc::new(TableFile::from_memory(octets).unwrap()), palette: Arc::default(), meta }
}

/// A large list takes longer to read than a short one, and the zone longer than either.
#[tokio::test(flavor = "multi_thread")]
async fn lists_that_change_together_are_one_version() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), "sources: []\n");
    let source =
        |name: &str| format!("- {{name: {name}, list: Deny, rpz: {{primaries: ['192.0.2.1:53'], zone: {name}.example}}}}\n");
    let text = format!("format: 2\ndataDir: {}\nsources:\n{}{}", directory.path().display(), source("short"), source("large"));
    pop.setup.send_replace(Some(Arc::new(Setup::parse(&text, &mut NoFiles).unwrap().0)));
    pop.until(|_| true).await;
    let [short, large] = ["short", "large"].map(Arc::<str>::from);
    for round in 0..3 {
        let names = [format!("short{round}.example"), format!("large{round}.example")];
        let before = pop.telemetry.metrics.publications.get();
        for source in [&short, &large] {
            assert!(pop.news.tell(source, SourceNews::Coming).await);
        }
        assert!(pop.news.tell(&short, whole(&names[0])).await);
        // Time enough to make a zone of one name.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(pop.news.tell(&large, whole(&names[1])).await);
        pop.until(|zone| names.iter().all(|name| has(zone, name))).await;
        assert_eq!(pop.telemetry.metrics.publications.get(), before + 1, "{round}");
    }
}
