//! A panic is noticed by whoever waits for one, unless it is contained.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::pin::pin;
use std::task::{Context, Waker};

use tapir_runtime::logging;
use tapir_runtime::panics::{self, Panicked};

fn happened() -> bool {
    pin!(panics::happened()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[tokio::test]
async fn a_panic_is_noticed_unless_it_is_contained() {
    let _log = logging::init("test");
    let waiting = tokio::spawn(panics::happened());
    let broken = tokio::spawn(panics::contained(async {
        // Not in its first step only.
        tokio::task::yield_now().await;
        panic!("of a connection")
    }));
    assert!(broken.await.unwrap_err().is_panic());
    assert!(!happened());
    let broken = panics::caught_task(async {
        tokio::task::yield_now().await;
        panic!("of an attempt")
    });
    assert_eq!(broken.await, Err::<(), _>(Panicked));
    assert_eq!(tokio::task::spawn_blocking(|| panics::caught(|| panic!("of another"))).await.unwrap(), Err::<(), _>(Panicked));
    assert!(!happened());
    // The thread is as it was.
    assert_eq!(panics::contained(panics::contained(async { 7 })).await, 7);
    assert_eq!((panics::caught(|| 7), panics::caught_task(async { 8 }).await), (Ok(7), Ok(8)));
    assert!(!happened());
    assert!(std::thread::spawn(|| panic!("of a thread that nobody can do without")).join().is_err());
    assert!(happened());
    waiting.await.unwrap();
}
