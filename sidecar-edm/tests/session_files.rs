//! dnstap in, session files out, through the real program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/dnstap.rs"]
mod dnstap;
#[path = "support/histogram.rs"]
mod histogram;
#[path = "support/parquet_dump.rs"]
mod parquet_dump;
#[path = "session_files/program.rs"]
mod program;
#[path = "support/parquet_programs.rs"]
mod programs;
#[path = "support/parquet.rs"]
mod reader;
#[path = "support/session_sample.rs"]
mod sample;
mod support;

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use dnstap::{Response, answer, octets, with_options};
use jiff::Timestamp;
use parquet_dump::{dump, rows};
use program::{ON, Program, SECRET, finished, folder, names};
use reader as parquet;
use reader::{Cell, File};
use sample::{RECORDED, recorded_responses};
use support::until;

const CLIENT: &str = "198.51.100.20";
/// Columns of a row.
const LABELS: usize = 5;
const MESSAGE: usize = 17;

fn to(client: &str, name: &str) -> Response {
    Response::to(client.parse().unwrap(), answer(name.as_bytes()))
}

fn frames(name: &str, count: usize) -> impl Iterator<Item = Vec<u8>> {
    std::iter::repeat_n(to(CLIENT, name).frame(), count)
}

async fn started() -> Program {
    let program = Program::start(ON).await;
    program.becomes("/edm/sessions/key", true).await;
    program
}

/// Labels of all rows, the last label first.
fn labels(file: &File) -> Vec<String> {
    let label = |cell: &Cell| if let Cell::Octets(label) = cell { Some(String::from_utf8(label.clone()).unwrap()) } else { None };
    file.rows.iter().map(|row| row[LABELS..LABELS + 10].iter().filter_map(label).collect::<Vec<_>>().join(" ")).collect()
}

fn messages(file: &File) -> Vec<Vec<u8>> {
    let octets = |row: &Vec<Cell>| if let Cell::Octets(message) = &row[MESSAGE] { message.clone() } else { Vec::new() };
    file.rows.iter().map(octets).collect()
}

/// Whether octets stand anywhere in a file, compressed or not, forward or backward.
fn has(path: &Path, wanted: &[u8]) -> bool {
    let raw = std::fs::read(path).unwrap();
    let mut places = vec![raw.clone()];
    for cell in File::read(&raw).rows.into_iter().flatten() {
        places.push(match cell {
            Cell::Null => continue,
            Cell::Number(number) => number.to_be_bytes().to_vec(),
            Cell::Octets(octets) => octets,
        });
    }
    let backward: Vec<u8> = wanted.iter().rev().copied().collect();
    let found = |place: &Vec<u8>| place.windows(wanted.len()).any(|part| part == wanted || part == backward);
    places.iter().any(found)
}

/// What was recorded of upstream comes out of the process: schema, pseudonyms by the derived key, and everything else.
#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_rows_come_out_of_the_program() {
    let program = started().await;
    let responses = recorded_responses();
    program.tell(responses.iter().map(Response::frame)).await;
    program.rotate().await;
    program.becomes("/edm/sessions/rows", 2).await;
    assert_eq!((program.metric("pseudonym_keys_derived_total").await, program.metric("session_files_total").await), (1, 1));
    let files = program.stop().await;
    let [name] = &names(files.path())[..] else { panic!("{:?}", names(files.path())) };
    let (path, recorded) = (folder(files.path()).join(name), dump(RECORDED));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(rows(&finished(files.path())[0], &recorded), *recorded["row_data"].as_array().unwrap());
    for response in &responses {
        for address in [&response.client, &response.server] {
            assert!(!has(&path, address.as_deref().unwrap()), "an address is in it");
        }
    }
    programs::agree(programs::SESSIONS, &[path.as_os_str(), programs::recorded(RECORDED).as_ref()]);
}

/// `spec/edm.md` 15, end-to-end case 1.
#[tokio::test(flavor = "multi_thread")]
async fn two_entries_and_the_rows_of_names_beside_them() {
    let program = started().await;
    let mut other = to(CLIENT, "www.example.net");
    // NXDOMAIN for AAAA.
    other.message[3] |= 3;
    let kind = other.message.len() - 3;
    other.message[kind] = 28;
    let all = [
        to(CLIENT, "example.com"),
        to("198.51.100.21", "example.com"),
        to("2001:db8::1", "example.com"),
        other,
        to(CLIENT, "example.net"),
        to(CLIENT, "WWW.example.com"),
    ];
    program.tell(all.iter().map(Response::frame)).await;
    program.becomes("/edm/eventsQueued", 2).await;
    let files = program.stop().await;
    assert_eq!(finished(files.path()).iter().map(labels).collect::<Vec<_>>(), [["net example", "com example WWW"]]);
    let outbox = files.path().join("data/parquet/histograms/outbox");
    let mut waiting = std::fs::read_dir(outbox).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let rows = histogram::rows(&waiting.next().unwrap());
    assert_eq!(rows.keys().collect::<Vec<_>>(), [".example.net.", "example.com."]);
    assert_eq!((rows["example.com."].clients, rows[".example.net."].types[1]), ([2, 1], 1));
}

/// `spec/edm.md` 15, end-to-end case 8: both files end when the process was told to.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_within_a_minute_it_writes_both_files_with_that_end() {
    let program = started().await;
    // More than a block of them.
    program.tell(frames("other.example", 3000).chain(frames("example.com", 5))).await;
    let before = Timestamp::now().as_second();
    let files = program.stop().await;
    let after = Timestamp::now().as_second();
    let rows: usize = finished(files.path()).iter().map(|file| file.rows.len()).sum();
    assert_eq!(rows, 3000);
    let outbox = files.path().join("data/parquet/histograms/outbox");
    let histograms = std::fs::read_dir(outbox).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let sessions = names(files.path());
    assert!(sessions.iter().all(|name| name.starts_with("dns_session_block-")), "{sessions:?}");
    let log = std::fs::read_to_string(files.path().join("log")).unwrap();
    assert!(!log.contains("in time"), "what is written last is waited for no longer than it takes: {log}");
    // A full minute of the clock may lie between.
    for last in [sessions.last().unwrap().clone(), histograms.max().unwrap()] {
        let stop = last.split_once('_').unwrap().1.rsplit_once('_').unwrap().1.strip_suffix("Z.parquet").unwrap().to_owned();
        let (day, time) = stop.split_once('T').unwrap();
        let stop: Timestamp = format!("{day}T{}Z", time.replace('-', ":")).parse().unwrap();
        assert!((before..=after).contains(&stop.as_second()), "{last}: {before} to {after}");
    }
}

/// Without a restart, and with a file for each way.
#[tokio::test(flavor = "multi_thread")]
async fn client_subnets_and_cookies_are_stored_only_while_they_are_asked_for() {
    let client: IpAddr = "198.51.100.77".parse().unwrap();
    let (subnet, cookie) = ([0, 1, 32, 0, 198, 51, 100, 77], [0xc0, 0x0c, 0x1e, 7, 7, 7, 7, 7]);
    let plain = answer(b"www.example");
    let with = with_options(plain.clone(), &[(8, &subnet), (10, &cookie)]);
    let frame = Response::to(client, with.clone()).frame();
    let program = started().await;
    for (keys, kept) in [
        ("", vec![]),
        ("session-keep-ecs = true\n", vec![(8, &subnet[..])]),
        ("session-keep-cookies = true\n", vec![(10, &cookie[..])]),
    ] {
        let before = names(program.files().data().parent().unwrap());
        let revision = format!("revision = \"{}\"\n", keys.len());
        program.configure(&format!("{ON}{keys}{revision}"));
        program.becomes("/config/revision", keys.len().to_string()).await;
        let rows = program.status().await["edm"]["sessions"]["rows"].as_u64().unwrap();
        program.tell([frame.clone()]).await;
        program.rotate().await;
        program.becomes("/edm/sessions/rows", rows + 1).await;
        let files = program.files();
        let files = files.data();
        let all = names(files.parent().unwrap());
        let new: Vec<_> = all.iter().filter(|name| !before.contains(name)).collect();
        let [new] = &new[..] else { panic!("{new:?}") };
        let path = folder(files.parent().unwrap()).join(new);
        let stored = messages(&File::read(&std::fs::read(&path).unwrap()));
        assert_eq!(stored, [with_options(plain.clone(), &kept)], "{keys}");
        assert_eq!(has(&path, &cookie), keys.contains("cookies"));
        assert_eq!(has(&path, &octets(client)), keys.contains("ecs"));
    }
    assert_eq!(program.metric("pseudonym_keys_derived_total").await, 1, "nothing of this makes another key");
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn off_nothing_is_made_and_on_and_off_need_no_restart() {
    let program = Program::start("").await;
    program.tell(frames("other.example", 100)).await;
    program.rotate().await;
    program.becomes("/edm/eventsQueued", 1).await;
    let data = program.files().data();
    assert_eq!(program.metric("pseudonym_keys_derived_total").await, 0);
    let before = program.memory("VmHWM");
    assert_eq!(program.status().await["edm"]["memory"]["sessions"], 0);
    assert!(!data.join("parquet/sessions").exists());

    program.configure(ON);
    program.becomes("/edm/sessions/key", true).await;
    assert_ne!(program.status().await["edm"]["memory"]["sessions"], 0);
    assert!(program.memory("VmHWM") > before + (48 << 10), "a key was derived");
    assert!(program.memory("VmRSS") < before + (24 << 10), "what it took is given back");
    program.tell(frames("other.example", 7)).await;
    program.configure("");
    program.becomes("/edm/sessions/enabled", false).await;
    program.becomes("/edm/sessions/rows", 7).await;
    program.tell(frames("other.example", 100)).await;
    program.rotate().await;
    let files = program.stop().await;
    assert_eq!(finished(files.path()).iter().map(|file| file.rows.len()).collect::<Vec<_>>(), [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_no_row_is_written_and_everything_else_goes_on() {
    let program = Program::start("").await;
    let files = program.files();
    std::fs::remove_file(files.config().join("cryptopan.key")).unwrap();
    program.configure(ON);
    program.becomes("/edm/sessions/error", "cryptopan.key is missing").await;
    program.tell(frames("other.example", 5).chain(frames("example.com", 3))).await;
    program.becomes("/edm/sessions/rowsDropped", 5).await;
    assert_eq!(program.metric("session_rows_dropped_total{reason=\"no_key\"}").await, 5);
    assert_eq!(program.metric("frames_total{outcome=\"well_known\"}").await, 3);
    program.becomes("/edm/eventsQueued", 1).await;
    assert!(!files.data().join("parquet/sessions").exists() && program.metric("pseudonym_keys_derived_total").await == 0);

    files.write("cryptopan.key", SECRET.as_bytes());
    program.becomes("/edm/sessions/key", true).await;
    assert!(program.status().await["edm"]["sessions"]["error"].is_null());
    program.tell(frames("other.example", 2)).await;
    // Another secret makes another pseudonym, in a file of its own.
    files.write("cryptopan.key", b"key2");
    until("another key", async || program.metric("pseudonym_keys_derived_total").await == 2).await;
    program.becomes("/edm/sessions/rows", 2).await;
    program.tell(frames("other.example", 1)).await;
    let files = program.stop().await;
    let mut clients: Vec<Vec<Cell>> =
        finished(files.path()).iter().map(|file| file.rows.iter().map(|row| row[20].clone()).collect()).collect();
    clients.sort_by_key(Vec::len);
    let pseudonym = |octets: [u8; 4]| Cell::Number(u32::from_be_bytes(octets).into());
    // `spec/edm.md` 5.4.
    assert_eq!(clients, [vec![pseudonym([185, 204, 164, 235])], vec![pseudonym([58, 92, 11, 53]); 2]]);
}

/// Nobody at Core need have heard of this edge.
#[tokio::test(flavor = "multi_thread")]
async fn the_secret_may_come_by_the_environment() {
    let folder = Program::start("").await.stop().await;
    std::fs::remove_file(folder.path().join("config/cryptopan.key")).unwrap();
    let program = Program::start_in(folder, ON, &[("DNSTAPIR_EDM_CRYPTOPAN_KEY", SECRET)]).await;
    program.becomes("/edm/sessions/key", true).await;
    program.tell(frames("other.example", 1)).await;
    let files = program.stop().await;
    // `spec/edm.md` 5.4.
    assert_eq!(finished(files.path())[0].rows[0][20], Cell::Number(u32::from_be_bytes([58, 92, 11, 53]).into()));
}

/// Whatever it was doing: what has a finished file's name is one, and what has not is gone after the next start.
#[tokio::test(flavor = "multi_thread")]
async fn killed_it_leaves_no_torn_file() {
    let program = started().await;
    program.tell(frames("whole.example", 10)).await;
    program.rotate().await;
    program.becomes("/edm/sessions/rows", 10).await;
    let data = program.files().data();
    let files = data.parent().unwrap().to_owned();
    // Again and again: a full minute of the clock may finish one.
    until("an unfinished file", async || {
        program.tell(frames("lost.example", 2500)).await;
        names(&files).iter().any(|name| name.ends_with(".tmp"))
    })
    .await;
    let mut files = program.kill().await;
    for point in ["file-created", "file-half", "file-written", "file-synced", "file-renamed"] {
        // Read to the last octet.
        let left = finished(files.path()).len();
        let program = Program::start_in(files, ON, &[("TAPIR_FAILPOINT", point)]).await;
        let files_of = program.files().data().parent().unwrap().to_owned();
        until("what was unfinished is gone", async || !names(&files_of).iter().any(|name| name.ends_with(".tmp"))).await;
        program.becomes("/edm/sessions/key", true).await;
        program.tell(frames("whole.example", 3)).await;
        // It dies of it.
        let _ = support::ask(program.files().http(), "POST", "/debug/rotate-parquet").await;
        files = program.died().await;
        let now = names(files.path());
        let died_writing = now.iter().any(|name| name.ends_with(".tmp")) || now.len() > left;
        assert!(died_writing, "{point}: {left} before, {now:?}");
    }
    let rows = |files: &Path| finished(files).iter().flat_map(labels).filter(|labels| labels == "example whole").count();
    assert_eq!(rows(files.path()), 13, "the last one had its name");
    let files = Program::start_in(files, "", &[]).await.stop().await;
    assert_eq!(rows(files.path()), 13, "off: those that are whole stay until their age");
}
