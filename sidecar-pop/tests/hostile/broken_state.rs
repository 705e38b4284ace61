//! State that somebody has broken: each file, in several ways, and a start from it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::primary::{Primary, Script};
use crate::probe::{self, zone};
use crate::process::{Pop, wait_for};

/// What is done to a file.
type Breaking = (&'static str, fn(&Path));

const BREAKINGS: [Breaking; 5] = [
    ("empty", |file| fs::write(file, "").unwrap()),
    ("half", |file| {
        let octets = fs::read(file).unwrap();
        fs::write(file, &octets[..octets.len() / 2]).unwrap();
    }),
    ("one bit", |file| {
        let mut octets = fs::read(file).unwrap();
        let middle = octets.len() / 2;
        if let Some(octet) = octets.get_mut(middle) {
            *octet ^= 0x10;
        }
        fs::write(file, octets).unwrap();
    }),
    ("rubbish", |file| fs::write(file, [0xff; 70_000]).unwrap()),
    ("a folder", |file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    }),
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.file_name().is_some_and(|name| name != "lock" && name != "admin.sock") {
            found.push(path);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else if path.is_file() {
            fs::copy(&path, target).unwrap();
        }
    }
}

/// Zone, journal, numbers, and the copy of a feed: whatever is broken, the zone is that of the sources again, under a number that was
/// not used for another one.
#[test]
fn whatever_file_is_broken_in_whatever_way_the_zone_is_that_of_the_sources() {
    let records = (0..50).map(|index| (format!("of-feed-{index}.example"), ".".to_owned())).collect();
    let primary = Primary::new(Script { serial: 7, refresh: 60, expire: 86_400, records, ..Script::default() });
    let pop = Pop::new(None);
    pop.write_beside("list", "own.example\n");
    let policy = format!(
        "sources:\n- {{name: own, list: Deny, file: {{path: list}}}}\n\
         - {{name: feed, list: Deny, rpz: {{primaries: ['{}'], zone: rpz.feed}}}}\n",
        primary.address
    );
    pop.configure("one", &policy);
    let records = || pop.status().map(|status| status["pop"]["records"].as_u64().unwrap());
    let running = pop.start();
    wait_for("the whole zone", records, |records| *records == Some(51));
    // A version that stands in the journal alone.
    pop.write_beside("list", "own.example\nlater.example\n");
    wait_for("the later name", records, |records| *records == Some(52));
    let (whole, serial) = (zone(&pop), pop.serial().unwrap());
    running.kill();
    let kept = pop.directory.path().join("kept");
    copy(&pop.state(), &kept);
    let mut all = Vec::new();
    files(&kept, &mut all);
    let relative: Vec<_> = all.iter().map(|file| file.strip_prefix(&kept).unwrap().to_owned()).collect();
    assert!(relative.len() >= 6, "{relative:?}");

    for (file, (way, breaking)) in relative.iter().enumerate().flat_map(|(index, file)| {
        // Each file in two of the ways, all of them in turn.
        [BREAKINGS[index % BREAKINGS.len()], BREAKINGS[(index + 2) % BREAKINGS.len()]].map(|breaking| (file, breaking))
    }) {
        let what = format!("{} {way}", file.display());
        fs::remove_dir_all(pop.state()).unwrap();
        copy(&kept, &pop.state());
        breaking(&pop.state().join(file));
        let mut running = pop.start();
        wait_for(&format!("{what}: the whole zone"), records, |records| *records == Some(52));
        probe::once(pop.port);
        assert!(zone(&pop) == whole, "{what}: another zone");
        let now = pop.serial().unwrap();
        assert!(now.wrapping_sub(serial) < 1 << 31, "{what}: {now} after {serial}");
        assert_eq!(running.0.try_wait().unwrap(), None, "{what}: it ended");
        running.kill();
    }
}
