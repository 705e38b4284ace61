//! The writer's memory does not depend on how many rows a minute has. Alone in its process, which is what is measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/minutes.rs"]
mod minutes;

use minutes::Sample;
use tapir_edm::histogram_file::write;
use tapir_edm::instance::Instance;

/// The most that was ever resident, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_the_rows() {
    let (few, many) = (Sample::new(0, 4_000), Sample::new(0, 200_000));
    let instance = Instance::draw();
    write(std::io::sink(), &few, &instance).unwrap();
    let before = peak();
    let (_, written) = write(std::io::sink(), &many, &instance).unwrap();
    assert_eq!(written.rows, 200_000);
    // Sixty megabytes went through; kept are the footers of some hundred groups.
    let grown = peak() - before;
    assert!(grown < 4 * 1024, "{grown} KiB more for fifty times the rows");
}
