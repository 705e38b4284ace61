//! Adds to what is kept: `cargo run --release -p tapir-fuzz [SECONDS]`.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a program for tests alone")]

use std::time::Duration;

use tapir_fuzz::{TARGETS, corpus};

fn main() {
    let seconds = std::env::args().nth(1).map_or(60, |text| text.parse().expect("a number of seconds"));
    let seed = std::env::var("TAPIR_FUZZ_SEED").ok().map_or(1, |text| text.parse().expect("TAPIR_FUZZ_SEED is a number"));
    // Said once for each input that fails otherwise; the tests tell of those.
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for target in &TARGETS {
            scope.spawn(move || {
                let files = corpus::grow(target, Duration::from_secs(seconds), seed);
                println!("{:<18} {:>3} more", target.name, files.len());
            });
        }
    });
}
