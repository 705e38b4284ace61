//! A panic is noticed by whoever waits for one, unless it is contained.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::pin::pin;
use std::task::{Context, Waker};

use tapir_runtime::{logging, panics};

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
    // The thread is as it was.
    assert_eq!(panics::contained(panics::contained(async { 7 })).await, 7);
    assert!(!happened());
    assert!(std::thread::spawn(|| panic!("of a thread that nobody can do without")).join().is_err());
    assert!(happened());
    waiting.await.unwrap();
}
