use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;
use crate::vectors;

/// An answer of 198.51.100.30 to 198.51.100.20, and what it is made of.
fn recorded() -> Vec<u8> {
    vectors::octets(&vectors::load("dnstap_frames.json")["vectors"][0]["frame_hex"])
}

fn asked(folder: &tempfile::TempDir, addresses: bool) -> Asked {
    Asked { file: folder.path().join("dump"), addresses }
}

fn line(frame: &[u8], addresses: bool) -> Value {
    serde_json::from_str(&line::of(frame, addresses).unwrap()).unwrap()
}

#[test]
fn a_line_has_upstreams_members_and_addresses_only_where_that_is_confirmed() {
    let (bare, whole) = (line(&recorded(), false), line(&recorded(), true));
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!((whole["type"].as_str(), whole["identity"].as_str()), (Some("MESSAGE"), Some("server-1")));
    let upstreams = [
        "type",
        "query_time",
        "response_time",
        "socket_family",
        "socket_protocol",
        "query_address",
        "response_address",
        "query_port",
        "response_port",
        "query_zone",
        "query_message",
        "response_message",
    ];
    assert!(members(&whole["message"]).iter().all(|member| upstreams.contains(&member.as_str())), "{whole}");
    let message = &whole["message"];
    assert_eq!(message["type"], "CLIENT_RESPONSE");
    assert_eq!((message["socket_family"].as_str(), message["socket_protocol"].as_str()), (Some("INET"), Some("UDP")));
    assert_eq!((&message["query_address"], &message["response_address"]), (&"198.51.100.20".into(), &"198.51.100.30".into()));
    assert_eq!((&message["query_port"], &message["response_time"]), (&12345.into(), &"2026-05-28T12:13:14.000000015Z".into()));
    let text = message["response_message"].as_str().unwrap();
    assert!(text.starts_with(";; opcode: QUERY, status: NOERROR, id: 4660\n;; flags: qr rd ra; QUERY: 1,"), "{text}");
    assert!(text.contains("\n;www.Example.com.\tIN\tA\n"), "{text}");
    for gone in ["query_address", "response_address"] {
        assert!(bare["message"].get(gone).is_none());
    }
    assert!(!bare.to_string().contains("198.51.100"), "{bare}");
    assert_eq!(bare["message"]["query_port"], 12345);
}

#[test]
fn every_frame_that_can_be_read_has_a_line_and_no_other() {
    let vector = vectors::load("dnstap_frames.json");
    for entry in vector["vectors"].as_array().unwrap() {
        let frame = vectors::octets(&entry["frame_hex"]);
        for addresses in [false, true] {
            if let Some(line) = line::of(&frame, addresses) {
                assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
                serde_json::from_str::<Value>(&line).unwrap();
            }
        }
        if entry["expect"].as_str().unwrap().starts_with("processed") || entry["desc"] == "CLIENT_QUERY" {
            assert!(line::of(&frame, false).is_some(), "{}", entry["desc"]);
        }
    }
    assert_eq!(line::of(b"not protobuf", true), None);
    let vector = vectors::load("dns_messages.json");
    for entry in vector["vectors"].as_array().unwrap() {
        // Whatever it is, it has a text.
        assert!(!text::message(&vectors::octets(&entry["message_hex"]), true).is_empty());
    }
}

#[test]
fn records_and_what_edns_tells_of_clients() {
    // One question, an A, an MX and a TXT record, an OPT record with a cookie.
    let head = "123481800001000300000001";
    let name = "076578616d706c6503636f6d00";
    let a = "c00c00010001000000780004c0000201";
    let mx = "c00c000f00010000007800090005046d61696cc00c";
    let txt = "c00c0010000100000078000403612262";
    let opt = "00002904d00000800000 0c000a0008aabbccddeeff0011".replace(' ', "");
    let octets = hex::decode(format!("{head}{name}00010001{a}{mx}{txt}{opt}")).unwrap();
    let text = text::message(&octets, true);
    for line in [
        "example.com.\t120\tIN\tA\t192.0.2.1",
        "example.com.\t120\tIN\tMX\t5 mail.example.com.",
        "example.com.\t120\tIN\tTXT\t\"a\\\"b\"",
        "; EDNS: version: 0, flags: do; udp: 1232; options: 000a0008aabbccddeeff0011",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} not in\n{text}");
    }
    let text = text::message(&octets, false);
    assert!(text.contains("udp: 1232\n") && !text.contains("aabbcc"), "{text}");
    assert!(text::message(&octets[..40], false).ends_with("cannot be read\n"));
    assert!(text::message(b"", false).ends_with("cannot be read\n"));
}

#[test]
fn a_file_is_appended_to_private_and_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let (asked, counts) = (asked(&folder, false), Dumped::default());
    std::fs::write(&asked.file, "before\n").unwrap();
    let line = line::of(&recorded(), false).unwrap();
    let room = 7 + 2 * line.len() as u64 + 5;
    let mut writer = Writer::open(&asked, counts.clone()).holding(room);
    for _ in 0..5 {
        writer.write(&recorded());
    }
    writer.write(b"nothing that could be written");
    assert_eq!(std::fs::read_to_string(&asked.file).unwrap(), format!("before\n{line}{line}"));
    assert_eq!(std::fs::metadata(&asked.file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(counts.written.get(), 2);
    assert_eq!(counts.dropped.get(), 4, "frames behind the end are not even read");
}

/// Takes what comes.
#[derive(Default)]
struct Nothing(usize);

impl FrameSink for Nothing {
    fn frames(&mut self, frames: &[&[u8]]) {
        self.0 += frames.len();
    }
}

#[test]
fn nobody_waits_for_a_file_that_takes_nothing_and_what_is_dropped_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let counts = Dumped::default();
    let dump = Dump::new(counts.clone());
    // The thread that writes hangs for ever.
    let (_gate, hangs) = std::sync::mpsc::channel::<()>();
    let running = Running::start(asked(&folder, true), move |_| hangs.recv().is_ok()).unwrap();
    dump.current.store(Some(Arc::new(running)));
    let (mut sink, frame) = (dump.clone().before(Nothing::default()), recorded());
    let begun = Instant::now();
    for _ in 0..1000 {
        sink.frames(&[frame.as_slice(); 16]);
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(sink.sink.0, 16_000, "and whoever counts has all of them");
    assert!(counts.dropped.get() > 10_000, "{}", counts.dropped.get());
    // Nobody asks any more.
    dump.ask(None);
    let dropped = counts.dropped.get();
    sink.frames(&[&frame]);
    assert_eq!(counts.dropped.get(), dropped);
}

#[test]
fn what_waits_has_a_bound_in_octets_too() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, hangs) = std::sync::mpsc::channel::<()>();
    let running = Running::start(asked(&folder, true), move |_| hangs.recv().is_ok()).unwrap();
    let large = vec![0; WAITING_OCTETS / 10];
    assert_eq!((0..30).filter(|_| running.put(&large)).count(), 10, "the one included that is being written");
    gate.send(()).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while !running.put(&large) {
        assert!(Instant::now() < end, "what is written makes room");
        std::thread::yield_now();
    }
}

#[test]
fn nobody_copies_a_frame_for_a_file_that_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let counts = Dumped::default();
    let dump = Dump::new(counts.clone());
    dump.ask(Some(Asked { file: folder.path().join("none/at/all"), addresses: false }));
    let (mut sink, frame, end) = (dump.clone().before(Nothing::default()), recorded(), Instant::now() + Duration::from_secs(60));
    let running = dump.current.load_full().unwrap();
    let mut frames = 0;
    while !running.has_ended.load(Ordering::Relaxed) {
        sink.frames(&[&frame]);
        frames += 1;
        assert!(Instant::now() < end);
    }
    // What was on its way is done with.
    while running.octets.load(Ordering::Relaxed) > 0 {
        assert!(Instant::now() < end);
    }
    assert!(!running.put(&frame));
    sink.frames(&[frame.as_slice(); 3]);
    assert_eq!((running.octets.load(Ordering::Relaxed), running.jobs.waiting()), (0, 0));
    assert_eq!((counts.dropped.get(), counts.written.get()), (frames + 3, 0));
}

#[test]
fn only_a_file_of_its_own_is_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "theirs").unwrap();
    std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o644)).unwrap();
    let dump = asked(&folder, false);
    let refused = || {
        let mut writer = Writer::open(&dump, Dumped::default());
        writer.write(&recorded());
        let mode = std::fs::metadata(&victim).unwrap().permissions().mode() & 0o777;
        assert_eq!((std::fs::read_to_string(&victim).unwrap().as_str(), mode), ("theirs", 0o644));
        assert!(writer.has_ended());
        std::fs::remove_file(&dump.file).unwrap();
    };
    std::os::unix::fs::symlink(&victim, &dump.file).unwrap();
    refused();
    std::fs::hard_link(&victim, &dump.file).unwrap();
    refused();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &dump.file, mode).unwrap();
    // With a reader, it could be opened.
    let _reader = std::fs::OpenOptions::new().read(true).write(true).open(&dump.file).unwrap();
    refused();
}
