//! What must not be sent any more.

use std::os::unix::fs::symlink;

use super::*;

#[tokio::test]
async fn what_is_forbidden_stops_at_once_and_is_forgotten() {
    let receiver = Receiver::start(&[Act::Silence]).await;
    let mut bench = Bench::new(pace(), Bounds::default());
    bench.fill(0..3);
    fs::write(bench.folders.outbox.join("notes"), "somebody's").unwrap();
    bench.start(&receiver);
    receiver.received(1).await;
    let refused = bench.folders.refused(Refusal::Unauthorized).join(name(9));
    fs::create_dir_all(refused.parent().unwrap()).unwrap();
    fs::copy(bench.folders.outbox.join(name(0)), &refused).unwrap();
    bench.target.send_replace(None);
    until("the end of the upload", || receiver.open() == 0).await;
    assert_eq!(bench.counters.sent.get(), 0);
    let store = bench.store(Bounds::default());
    store.put(Box::new(Sample::new(7, 5)));
    store.forget();
    assert!(store.finish(PATIENCE));
    assert_eq!((names(&bench.folders.outbox), refused.exists()), (vec!["notes".to_owned()], false));
    assert_eq!(bench.counters.forgotten.get(), 5);
}

#[tokio::test]
async fn what_was_forbidden_for_a_moment_stops_as_well() {
    let receiver = Receiver::start(&[Act::Silence]).await;
    // The deadline of an upload is no help.
    let mut bench = Bench::new(Pace { deadline: PATIENCE * 10, ..pace() }, Bounds::default());
    bench.fill(0..1);
    bench.start(&receiver);
    receiver.received(1).await;
    let (store, again) = (bench.store(Bounds::default()), target(&receiver.url()));
    // On one thread nobody sees what lies between.
    bench.target.send_replace(None);
    store.forget();
    bench.target.send_replace(Some(again));
    until("the end of the upload", || receiver.open() == 0).await;
    assert!(store.finish(PATIENCE));
    assert_eq!((names(&bench.folders.outbox).len(), bench.counters.sent.get(), receiver.requests().len()), (0, 0, 1));
}

/// Only what was there when it was forbidden goes, however much waits for the disk.
#[test]
fn minutes_that_come_when_sending_is_allowed_again_are_kept_although_the_disk_hangs() {
    let bench = Bench::new(pace(), Bounds::default());
    let store = bench.store(Bounds::default());
    let ((go_on, gate), (began, begins)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    store.put(Box::new(Hanging(gate, began)));
    begins.recv_timeout(PATIENCE).unwrap();
    store.put(Box::new(Sample::new(0, 5)));
    store.put(Box::new(Sample::new(1, 5)));
    store.forget();
    for minute in 2..4 {
        store.put(Box::new(Sample::new(minute, 5)));
    }
    drop(go_on);
    assert!(store.finish(PATIENCE));
    assert_eq!(names(&bench.folders.outbox), [name(2), name(3)]);
    assert_eq!((bench.counters.minutes_lost.get(), bench.counters.forgotten.get()), (0, 3));
}

#[tokio::test]
async fn what_the_disk_does_not_let_go_of_is_not_sent_and_goes_later() {
    let receiver = Receiver::start(&[]).await;
    let mut bench = Bench::new(pace(), Bounds::default());
    bench.fill(0..2);
    let refused = bench.folders.refused(Refusal::Unauthorized);
    fs::create_dir_all(&refused).unwrap();
    fs::rename(bench.folders.outbox.join(name(1)), refused.join(name(1))).unwrap();
    // The rest of it can be removed, and is counted.
    let (outbox, aside) = (&bench.folders.outbox, bench.folder.path().join("aside"));
    fs::rename(outbox, &aside).unwrap();
    symlink("/dev/null", outbox).unwrap();
    let store = bench.store(Bounds::default());
    store.forget();
    until("what can be removed", || bench.counters.forgotten.get() == 1).await;
    // More than may wait; none of them can be written.
    for minute in 2..6 {
        store.put(Box::new(Sample::new(minute, 5)));
    }
    // Not for a moment as if it was empty.
    let back = bench.folder.path().join("back");
    symlink(&aside, &back).unwrap();
    fs::rename(&back, outbox).unwrap();
    bench.start(&receiver);
    let sent = bench.folders.sent.clone();
    until("what came afterwards", || names(&sent) == [name(4), name(5)]).await;
    assert_eq!((bench.counters.forgotten.get(), bench.counters.minutes_lost.get()), (2, 2));
    assert_eq!(receiver.requests().len(), 2);
    assert!(store.finish(PATIENCE));
}
