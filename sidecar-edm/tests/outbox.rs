//! The outbox against a receiver that misbehaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "outbox/forbidden.rs"]
mod forbidden;
#[path = "support/minutes.rs"]
mod minutes;
#[path = "support/receiver.rs"]
mod receiver;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use minutes::Sample;
use receiver::{Act, PATIENCE, Receiver, until};
use rustls::{ClientConfig, RootCertStore};
use tapir_edm::disk::Bound;
use tapir_edm::histogram_file::{Interval, Minute, Row};
use tapir_edm::instance::Instance;
use tapir_edm::outbox::{Bounds, Counters, Folders, Pace, Refusal, Sender, SenderState, Store, Target};
use tapir_runtime::back_off::BackOff;
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::jwk::DataKey;
use tapir_wire::node_name::NodeName;
use tokio::sync::{Notify, watch};

/// Outbox and sender in a folder of their own.
struct Bench {
    folder: tempfile::TempDir,
    folders: Folders,
    counters: Counters,
    target: watch::Sender<Option<Arc<Target>>>,
    state: watch::Receiver<SenderState>,
    news: Arc<Notify>,
    shutdown: Shutdown,
    sender: Option<Sender>,
}

fn pace() -> Pace {
    let hour = Duration::from_secs(3600);
    let back_off = BackOff { min: Duration::from_millis(5), max: Duration::from_millis(50) };
    Pace { look: Duration::from_millis(20), deadline: PATIENCE, back_off, tidy: hour, again: hour }
}

fn target(url: &str) -> Arc<Target> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let key = DataKey::generate(&NodeName::parse("node.example").unwrap()).unwrap();
    Arc::new(Target::new(url, Arc::new(tls), Arc::new(key)).unwrap())
}

impl Bench {
    fn new(pace: Pace, bounds: Bounds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::below(folder.path());
        let (counters, news) = (Counters::default(), Arc::new(Notify::new()));
        let (target, targets) = watch::channel(None);
        let (states, state) = watch::channel(SenderState::default());
        let (_, shutdown) = Shutdown::manual();
        let sender = Sender {
            folders: folders.clone(),
            bounds: bounds.into(),
            counters: counters.clone(),
            target: targets,
            news: Arc::clone(&news),
            pace,
            state: states,
        };
        Self { folder, folders, counters, target, state, news, shutdown, sender: Some(sender) }
    }

    fn start(&mut self, receiver: &Receiver) {
        self.target.send_replace(Some(target(&receiver.url())));
        tokio::spawn(self.sender.take().unwrap().run(self.shutdown.clone()));
    }

    fn store(&self, bounds: Bounds) -> Store {
        let (folders, counters) = (self.folders.clone(), self.counters.clone());
        Store::start(folders, bounds, Instance::draw(), counters, Arc::clone(&self.news)).unwrap()
    }

    /// Puts so many minutes, one after the other.
    fn fill(&self, minutes: std::ops::Range<i64>) {
        for minute in minutes {
            let store = self.store(Bounds::default());
            store.put(Box::new(Sample::new(minute, 5)));
            assert!(store.finish(PATIENCE));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn name(minute: i64) -> String {
    Sample::new(minute, 0).interval.file_name(0)
}

#[tokio::test]
async fn what_is_refused_for_a_while_is_sent_again_unchanged() {
    let receiver = Receiver::start(&[Act::Status(500), Act::Status(503), Act::Status(200), Act::Status(302), Act::Close]).await;
    let mut bench = Bench::new(pace(), Bounds::default());
    bench.fill(0..1);
    let file = fs::read(bench.folders.outbox.join(name(0))).unwrap();
    bench.start(&receiver);
    let requests = receiver.received(6).await;
    until("the move", || names(&bench.folders.sent) == [name(0)]).await;
    assert!(requests.iter().all(|request| request.body == file && request.line == requests[0].line));
    let digests: Vec<_> = requests.iter().map(|request| &request.headers["content-digest"]).collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
    // The connection that ended had carried a request: that is tried again at once and counts as no failure.
    assert_eq!((bench.counters.sent.get(), bench.counters.send_failures.get()), (1, 4));
    let state = bench.state.borrow().clone();
    assert_eq!((state.error, state.last_sent.is_some()), (None, true));
}

#[tokio::test]
async fn a_request_is_as_upstreams() {
    let receiver = Receiver::start(&[]).await;
    let mut bench = Bench::new(pace(), Bounds::default());
    bench.fill(0..1);
    bench.start(&receiver);
    let request = &receiver.received(1).await[0];
    assert_eq!(request.line, "POST /base/api/v1/aggregate/histogram HTTP/1.1");
    let recorded = include_str!("../../tapir-wire/vectors/edm/http_signature.json");
    let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
    let mut headers: Vec<_> = recorded["captured_request"]["headers_in_wire_order"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_lowercase())
        .collect();
    headers.sort();
    assert_eq!(request.headers.keys().cloned().collect::<Vec<_>>(), headers);
    assert_eq!(request.headers["aggregate-interval"], "2026-05-28T12:00:00Z/PT1M");
    assert_eq!(request.headers["content-type"], "application/vnd.apache.parquet");
    assert_eq!(request.headers["host"], format!("127.0.0.1:{}", receiver.port));
    assert!(request.headers["user-agent"].starts_with("edm/"));
    assert!(request.headers["signature-input"].ends_with(";alg=\"ed25519\";keyid=\"node.example\""));
}

#[tokio::test]
async fn answers_that_end_early_are_none_and_strange_locations_do_no_harm() {
    let receiver = Receiver::start(&[Act::BreaksOff, Act::StrangeLocation]).await;
    let mut bench = Bench::new(pace(), Bounds::default());
    bench.fill(0..1);
    bench.start(&receiver);
    until("the move", || names(&bench.folders.sent) == [name(0)]).await;
    assert_eq!(receiver.requests().len(), 2);
}

#[tokio::test]
async fn a_connection_is_used_again_and_a_closed_one_costs_nothing() {
    let receiver = Receiver::start(&[Act::Status(201), Act::Status(201), Act::AnswerAndClose]).await;
    let mut bench = Bench::new(pace(), Bounds::default());
    bench.fill(0..3);
    bench.start(&receiver);
    until("three files", || names(&bench.folders.sent).len() == 3).await;
    // The server has closed it meanwhile.
    until("the close", || receiver.open() == 0).await;
    bench.fill(3..5);
    until("five files", || names(&bench.folders.sent).len() == 5).await;
    let connections: Vec<_> = receiver.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 0, 1, 1]);
    assert_eq!(bench.counters.send_failures.get(), 0);
}

#[tokio::test]
async fn one_file_that_fails_does_not_stand_in_the_way() {
    let receiver = Receiver::start(&[Act::Status(500)]).await;
    let mut bench = Bench::new(pace(), Bounds::default());
    bench.fill(0..3);
    bench.start(&receiver);
    let intervals: Vec<_> =
        receiver.received(4).await.iter().map(|request| request.headers["aggregate-interval"][14..16].to_owned()).collect();
    assert_eq!(intervals, ["00", "01", "00", "02"]);
    until("all", || names(&bench.folders.sent).len() == 3).await;
}

#[tokio::test]
async fn what_core_refuses_for_good_is_kept_apart_and_told() {
    let receiver = Receiver::start(&[Act::Status(400), Act::Status(422), Act::Status(401)]).await;
    let mut bench = Bench::new(pace(), Bounds::default());
    bench.fill(0..4);
    bench.start(&receiver);
    until("the good one", || names(&bench.folders.sent) == [name(3)]).await;
    for (place, refusal) in (0..).zip([Refusal::BadRequest, Refusal::Unprocessable, Refusal::Unauthorized]) {
        assert_eq!(names(&bench.folders.refused(refusal)), [name(place)]);
    }
    assert_eq!(names(&bench.folders.outbox), [""; 0]);
    let mut registry = prometheus_client::registry::Registry::default();
    bench.counters.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for status in [400, 401, 422] {
        assert!(text.contains(&format!("aggregates_refused_total{{status=\"{status}\"}} 1\n")), "{text}");
    }

    // Whoever Core did not know may be known now; what was wrong in itself stays wrong.
    bench.target.send_replace(Some(target(&receiver.url())));
    until("the second try", || names(&bench.folders.sent) == [name(2), name(3)]).await;
    assert_eq!(names(&bench.folders.refused(Refusal::BadRequest)), [name(0)]);
}

#[tokio::test]
async fn a_refusal_is_told_until_core_takes_a_file() {
    let receiver = Receiver::start(&[Act::Status(422)]).await;
    let mut bench = Bench::new(pace(), Bounds::default());
    bench.fill(0..1);
    bench.start(&receiver);
    let told = bench.state.wait_for(|state| state.refused.is_some()).await.unwrap().clone();
    assert!(told.refused.unwrap().contains("with 422: becaus"));
    bench.fill(1..2);
    bench.state.wait_for(|state| state.refused.is_none()).await.unwrap();
}

#[tokio::test]
async fn a_new_target_is_taken_up_and_the_idle_connection_closed() {
    let (first, second) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let mut bench = Bench::new(pace(), Bounds::default());
    bench.fill(0..1);
    bench.start(&first);
    until("the first", || names(&bench.folders.sent).len() == 1).await;
    assert_eq!(first.open(), 1, "kept for the next file");
    bench.target.send_replace(Some(target(&second.url())));
    until("the close", || first.open() == 0).await;
    bench.fill(1..2);
    second.received(1).await;
    assert_eq!(first.requests().len(), 1);
    // Nowhere to: nothing is sent, nothing lost.
    bench.target.send_replace(None);
    until("the close", || second.open() == 0).await;
    bench.fill(2..3);
    bench.target.send_replace(Some(target(&first.url())));
    until("the third", || names(&bench.folders.sent).len() == 3).await;
    assert_eq!((first.requests().len(), second.requests().len()), (2, 1));
}

#[tokio::test]
async fn silence_is_given_up_and_the_file_sent_on_another_connection() {
    let receiver = Receiver::start(&[Act::Silence]).await;
    let mut bench = Bench::new(Pace { deadline: Duration::from_millis(200), ..pace() }, Bounds::default());
    bench.fill(0..1);
    bench.start(&receiver);
    until("the move", || names(&bench.folders.sent).len() == 1).await;
    assert!(receiver.requests().last().unwrap().connection >= 1);
}

#[tokio::test]
async fn what_an_earlier_run_left_is_sent_and_what_it_did_not_finish_is_swept() {
    let receiver = Receiver::start(&[]).await;
    let mut bench = Bench::new(pace(), Bounds::default());
    bench.fill(0..2);
    fs::write(bench.folders.outbox.join(name(2) + ".tmp"), "half").unwrap();
    fs::write(bench.folders.outbox.join("strange"), "").unwrap();
    bench.fill(3..4);
    assert_eq!(names(&bench.folders.outbox), [name(0), name(1), name(3), "strange".to_owned()]);
    bench.start(&receiver);
    until("all", || names(&bench.folders.sent).len() == 3).await;
    assert_eq!(names(&bench.folders.outbox), ["strange"]);
}

#[test]
fn the_outbox_stays_within_its_bounds_and_counts_what_it_drops() {
    let bench = Bench::new(pace(), Bounds::default());
    let bound = Bound { octets: u64::MAX, files: 3, age: Duration::from_secs(3600) };
    let store = bench.store(Bounds { outbox: bound, ..Bounds::default() });
    for minute in 0..2 {
        store.put(Box::new(Sample::new(minute, 5)));
    }
    assert!(store.finish(PATIENCE));
    let store = bench.store(Bounds { outbox: bound, ..Bounds::default() });
    for minute in 2..4 {
        store.put(Box::new(Sample::new(minute, 5)));
    }
    assert!(store.finish(PATIENCE));
    assert_eq!(names(&bench.folders.outbox), [name(1), name(2), name(3)]);
    assert_eq!((bench.counters.written.get(), bench.counters.dropped_room.get()), (4, 1));
}

#[test]
fn equal_seconds_make_two_files_and_an_empty_minute_none() {
    let bench = Bench::new(pace(), Bounds::default());
    for rows in [5, 6, 0] {
        let store = bench.store(Bounds::default());
        store.put(Box::new(Sample::new(0, rows)));
        assert!(store.finish(PATIENCE));
    }
    let interval = Sample::new(0, 0).interval;
    assert_eq!(names(&bench.folders.outbox), [interval.file_name(1), interval.file_name(0)]);
}

/// A minute whose rows wait until the test lets them go: a disk that hangs.
struct Hanging(std::sync::mpsc::Receiver<()>, std::sync::mpsc::Sender<()>);

impl Minute for Hanging {
    fn interval(&self) -> Interval {
        Sample::new(99, 0).interval
    }

    fn is_empty(&self) -> bool {
        false
    }

    fn rows(&self, _: &mut dyn FnMut(&Row<'_>)) {
        let _ = self.1.send(());
        let _ = self.0.recv();
    }
}

#[test]
fn a_disk_that_hangs_holds_up_nobody() {
    let bench = Bench::new(pace(), Bounds::default());
    let store = bench.store(Bounds::default());
    let ((go_on, gate), (began, begins)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    store.put(Box::new(Hanging(gate, began)));
    begins.recv_timeout(PATIENCE).unwrap();
    for minute in 0..5 {
        store.put(Box::new(Sample::new(minute, 5)));
    }
    assert_eq!(bench.counters.minutes_lost.get(), 3, "two wait, the oldest are lost");
    drop(go_on);
    assert!(store.finish(PATIENCE));
    assert_eq!(names(&bench.folders.outbox), [name(3), name(4), name(99)]);
}

#[test]
fn a_disk_that_takes_nothing_costs_the_minute_and_is_counted() {
    let bench = Bench::new(pace(), Bounds::default());
    fs::create_dir_all(bench.folders.outbox.parent().unwrap()).unwrap();
    fs::write(&bench.folders.outbox, "in the way").unwrap();
    let store = bench.store(Bounds::default());
    store.put(Box::new(Sample::new(0, 5)));
    until_failed(&bench.counters);
    // The way is free again: the minute was kept.
    fs::remove_file(&bench.folders.outbox).unwrap();
    let end = std::time::Instant::now() + PATIENCE;
    while names(&bench.folders.outbox) != [name(0)] {
        assert!(std::time::Instant::now() < end, "the minute is not written");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(bench.counters.minutes_lost.get(), 0);
    fs::remove_dir_all(&bench.folders.outbox).unwrap();
    fs::write(&bench.folders.outbox, "in the way").unwrap();
    store.put(Box::new(Sample::new(1, 5)));
    assert!(store.finish(PATIENCE));
    assert_eq!(bench.counters.minutes_lost.get(), 1);
    assert!(bench.folder.path().exists());
}

fn until_failed(counters: &Counters) {
    let end = std::time::Instant::now() + PATIENCE;
    while counters.write_failures.get() == 0 {
        assert!(std::time::Instant::now() < end, "the disk takes everything");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_name_is_not_given_twice_wherever_the_first_one_lies() {
    for lies in [None, Some(Refusal::Unauthorized), Some(Refusal::BadRequest)] {
        let bench = Bench::new(pace(), Bounds::default());
        let folder = lies.map_or(bench.folders.sent.clone(), |refusal| bench.folders.refused(refusal));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name(0)), "the first").unwrap();
        bench.fill(0..1);
        assert_ne!(names(&bench.folders.outbox), [name(0)], "{lies:?}");
    }
}

#[tokio::test]
async fn what_an_earlier_run_left_is_counted_although_there_is_nowhere_to_send_it() {
    let bench = Bench::new(pace(), Bounds::default());
    bench.fill(0..3);
    let refused = bench.folders.refused(Refusal::BadRequest);
    fs::create_dir_all(&refused).unwrap();
    fs::rename(bench.folders.outbox.join(name(2)), refused.join(name(2))).unwrap();
    let counters = Counters::default();
    let store =
        Store::start(bench.folders.clone(), Bounds::default(), Instance::draw(), counters.clone(), Arc::default()).unwrap();
    assert!(store.finish(PATIENCE));
    let octets = |folder: &Path, name: String| fs::metadata(folder.join(name)).unwrap().len() as i64;
    let waiting: i64 = (0..2).map(|minute| octets(&bench.folders.outbox, name(minute))).sum();
    assert_eq!((counters.waiting.get(), counters.waiting_octets.get()), (2, waiting));
    assert_eq!((counters.refused_files.get(), counters.refused_octets.get()), (1, octets(&refused, name(2))));
}
