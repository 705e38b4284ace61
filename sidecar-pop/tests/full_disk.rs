//! The disk is full: what is known stays in force, what is new comes into force, and it is said until there is room.
//!
//! The disk is a file system in memory that only this test sees, for which it needs `unshare` (util-linux) and either root or user namespaces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use process::{Pop, Program, program, wait_for};

/// Octets of the disk: some more than the history takes at once.
const SIZE: &str = "4m";

/// A disk of its own, for as long as this is held.
struct Disk {
    _holder: Program,
    folder: PathBuf,
}

impl Disk {
    fn new(at: &Path) -> Self {
        fs::create_dir(at).unwrap();
        let script = format!("mount -t tmpfs -o size={SIZE} tmpfs \"$0\"; echo mounted; exec sleep 600");
        let mut command = Command::new(program("unshare"));
        command.args(["--map-root-user", "--mount", "--", "sh", "-ec", &script]).arg(at);
        let mut holder = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(
            line.trim(),
            "mounted",
            "unshare --map-root-user --mount does not work here: it needs root or user namespaces"
        );
        // Seen through the process that sees it.
        let folder = Path::new("/proc").join(holder.id().to_string()).join("root").join(at.strip_prefix("/").unwrap());
        Self { _holder: Program(holder), folder }
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Takes everything that is left, also what POP gives back meanwhile.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        let left = || {
            for octets in [64 << 10, 4096, 1] {
                while file.write_all(&vec![0; octets]).is_ok() {}
            }
            let left = rustix::fs::statvfs(&self.folder).unwrap();
            assert_eq!(left.f_blocks * left.f_frsize, 4 << 20, "a disk of {SIZE}");
            left.f_bavail
        };
        wait_for("a full disk", left, |left| *left == 0);
    }
}

fn start(pop: &Pop) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapir-pop"));
    command.arg("run").arg("--config-file").arg(pop.file()).arg("--state-dir").arg(pop.directory.path());
    let log = File::options().create(true).append(true).open(pop.directory.path().join("log")).unwrap();
    Program::start(command.stdout(log.try_clone().unwrap()).stderr(log))
}

fn list(names: u32, of: &str) -> String {
    let mut text = String::new();
    for number in 0..names {
        writeln!(text, "name-{number}.{of}.example").unwrap();
    }
    text
}

/// A list of a kind that is not read together with the configuration.
fn configure(pop: &Pop, disk: &Disk, revision: &str, name: &str) {
    pop.write(&format!(
        "format: 2\nrevision: {revision}\nlisten: '127.0.0.1:{}'\nhttpListen: '{}'\ndataDir: {}\nsources:\n\
         - {{name: file, list: Deny, file: {{path: own, format: Csv, column: 1, header: false}}}}\n- {{name: inline, list: Deny, inline: {{names: [{name}]}}}}\n",
        pop.port,
        pop.http,
        disk.folder.display(),
    ));
}

/// Number, and names in order.
fn zone(pop: &Pop) -> Option<(u32, Vec<String>)> {
    let text = pop.dig(&["dnstapir.", "AXFR", "+tcp", "+noall", "+answer"]);
    let serial = text.lines().find(|line| line.contains("SOA"))?.split_whitespace().nth(6)?.parse().ok()?;
    let owners = text.lines().filter(|line| line.contains("CNAME")).filter_map(|line| line.split(".dnstapir.").next());
    let mut names: Vec<String> = owners.map(str::to_owned).collect();
    names.sort_unstable();
    Some((serial, names))
}

fn is_zone(pop: &Pop, list: &str, name: &str) -> (u32, Vec<String>) {
    let mut wanted: Vec<String> = list.lines().chain([name]).map(str::to_owned).collect();
    wanted.sort_unstable();
    let good = |zone: &Option<(u32, Vec<String>)>| zone.as_ref().is_some_and(|(_, names)| *names == wanted);
    let count = |zone: Option<(u32, Vec<String>)>| zone.map(|(serial, names)| (serial, names.len()));
    let mut last = None;
    wait_for(
        &format!("{} names and {name}", wanted.len()),
        || {
            last = zone(pop);
            (good(&last), count(last.clone()))
        },
        |(good, _)| *good,
    );
    last.unwrap()
}

/// Left out where there is nothing to say.
fn errors(pop: &Pop) -> String {
    let status = pop.status().unwrap_or_default();
    if status["pop"].is_object() {
        status["pop"]["errors"].as_array().map_or_else(String::new, |all| format!("{all:?}"))
    } else {
        "no status".to_owned()
    }
}

/// What POP said since it was started last.
fn log(pop: &Pop) -> String {
    let log = fs::read_to_string(pop.directory.path().join("log")).unwrap();
    log.rsplit_once("\"starting\"").map_or(log.clone(), |(_, last)| last.to_owned())
}

/// Whether the file was looked at.
fn file_is_good(pop: &Pop) -> bool {
    let status = pop.status().unwrap_or_default();
    let rows = status["pop"]["sources"].as_array().cloned().unwrap_or_default();
    rows.iter().any(|row| row["name"] == "file" && row["state"] == "Ready")
}

#[test]
fn a_full_disk_costs_nothing_but_what_a_restart_would_know() {
    let pop = Pop::new(None);
    let disk = Disk::new(&pop.directory.path().join("disk"));
    let mut own = list(20_000, "some");
    pop.write_beside("own", &own);
    configure(&pop, &disk, "r0", "first.example");
    let running = start(&pop);
    pop.in_force("r0");
    is_zone(&pop, &own, "first.example");
    assert_eq!(errors(&pop), "");

    disk.fill();
    let mut last = 0;
    for round in 1..6 {
        // A few names, all names, another policy.
        own = list(20_000 + round, if round > 3 { "other" } else { "some" });
        pop.write_beside("own", &own);
        let (revision, name) = (format!("r{round}"), format!("inline-{round}.example"));
        configure(&pop, &disk, &revision, &name);
        let changed = Instant::now();
        pop.in_force(&revision);
        let (serial, _) = is_zone(&pop, &own, &name);
        assert!(changed.elapsed() < Duration::from_secs(30), "{:?}", changed.elapsed());
        assert!(serial > last, "{serial} after {last}");
        last = serial;
        // What was given back is taken again.
        disk.fill();
    }
    wait_for("the full disk in the status", || errors(&pop), |errors| errors.contains("state cannot be kept in"));

    // A kill loses nothing that its sources still say, and no number is used twice.
    running.kill();
    let running = start(&pop);
    pop.in_force("r5");
    let (serial, _) = is_zone(&pop, &own, "inline-5.example");
    assert!(serial >= last, "{serial} after {last}");

    // What came while the disk was full goes there now: a restart does not begin with what was before.
    fs::remove_file(disk.filler()).unwrap();
    wait_for("no trouble any more", || errors(&pop), String::is_empty);
    wait_for("the list on the disk", || log(&pop), |log| log.contains("the list is on the disk now"));
    configure(&pop, &disk, "r6", "last.example");
    pop.in_force("r6");
    let before = is_zone(&pop, &own, "last.example");
    running.kill();
    let _running = start(&pop);
    let after = wait_for("the zone of before", || zone(&pop), Option::is_some).unwrap();
    assert_eq!(after.0, before.0);
    assert!(after.1 == before.1, "{} names after {}", after.1.len(), before.1.len());
    // Nor does it publish any, once all sources were read.
    pop.in_force("r6");
    wait_for("the file in the status", || file_is_good(&pop), |good| *good);
    assert_eq!(zone(&pop).unwrap().0, before.0, "{}", log(&pop));
}
