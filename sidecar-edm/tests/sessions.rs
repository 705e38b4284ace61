//! Rows in, session files out: as upstream writes them, within their bounds, and without what tells of clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/dnstap.rs"]
mod dnstap;
#[path = "support/parquet_dump.rs"]
mod parquet_dump;
#[path = "support/parquet.rs"]
mod reader;
#[path = "support/session_sample.rs"]
mod sample;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dnstap::{Response, answer, with_options};
use parquet_dump::{dump, recorded_schema, rows, schema};
use proptest::prelude::*;
use reader::{Cell, File};
use sample::{RECORDED, finish, key, minute, offer, recorded_responses};
use serde_json::{Value as Json, json};
use tapir_edm::decode::{CountedTypes, Room, counted};
use tapir_edm::sessions::{Counters, Kept, Reason, ReasonLabels, SessionRow, Sessions, Settings};

/// Sessions in a folder of their own.
struct Scene {
    folder: tempfile::TempDir,
    counters: Counters,
}

impl Scene {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), counters: Counters::default() }
    }

    fn settings(&self) -> Settings {
        // However full the machine's disk is.
        Settings { spare: 0, ..Settings::new(self.folder.path()) }
    }

    fn start(&self, settings: Settings) -> Sessions {
        Sessions::start(settings, Some(&key()), self.counters.clone()).unwrap()
    }

    fn sessions(&self) -> PathBuf {
        self.folder.path().join("parquet/sessions")
    }

    fn files(&self) -> Vec<String> {
        names(&self.sessions())
    }

    fn dropped(&self, reason: Reason) -> u64 {
        self.counters.rows_dropped.get_or_create(&ReasonLabels { reason }).get()
    }

    fn read(&self, name: &str) -> File {
        File::read(&std::fs::read(self.sessions().join(name)).unwrap())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(found) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_recorded_file_comes_out_again() {
    let scene = Scene::new();
    let sessions = scene.start(scene.settings());
    recorded_responses().iter().for_each(|response| offer(&sessions, response));
    finish(&sessions, minute(0));
    assert_eq!(scene.files(), [RECORDED]);
    let (read, recorded) = (scene.read(RECORDED), dump(RECORDED));
    assert_eq!(rows(&read, &recorded), *recorded["row_data"].as_array().unwrap());
    assert_eq!(schema(&read), recorded_schema(&recorded));
    assert_eq!(read.footer.at(2).list()[0].at(4).text(), recorded["root_name"].as_str().unwrap());
    assert_eq!(read.metadata().len(), 0);
    let metadata = std::fs::metadata(scene.sessions().join(RECORDED)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!((scene.counters.rows.get(), scene.counters.files.get(), scene.counters.cache_hits.get()), (2, 1, 0));
}

#[test]
fn each_interval_has_its_file_and_an_empty_one_has_none() {
    let scene = Scene::new();
    let sessions = scene.start(scene.settings());
    let response = &recorded_responses()[0];
    sessions.rotate(minute(0));
    for number in [1, 1, 3] {
        offer(&sessions, response);
        sessions.rotate(minute(number));
    }
    finish(&sessions, minute(4));
    offer(&sessions, response);
    let name = |number: i64, again| minute(number).session_file_name(again);
    assert_eq!(scene.files(), [name(1, 1), name(1, 0), name(3, 0)]);
    assert_eq!((scene.counters.rows.get(), scene.counters.files.get()), (3, 3));
    assert_eq!(scene.dropped(Reason::Ended), 1, "one came after the end");
}

#[test]
fn options_that_tell_of_the_client_are_stored_only_when_asked_for() {
    let plain = answer(b"www.example");
    let client = "192.0.2.1".parse().unwrap();
    let with = with_options(plain.clone(), &[(8, &[0, 1, 24, 0, 192, 0, 2]), (10, &[7; 8]), (15, &[0, 3])]);
    let mut signed = [with.clone(), vec![0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0]].concat();
    signed[11] = 2;
    for keep in [false, true] {
        let scene = Scene::new();
        let sessions = scene.start(Settings { kept: Kept { subnets: keep, cookies: keep }, ..scene.settings() });
        for message in [&plain, &with, &signed] {
            offer(&sessions, &Response::to(client, message.clone()));
        }
        finish(&sessions, minute(0));
        let stored: Vec<_> = scene.read(RECORDED).rows.iter().map(|row| row[17].clone()).collect();
        let whole = |message: &[u8]| Cell::Octets(message.to_vec());
        let without = whole(&with_options(plain.clone(), &[(15, &[0, 3])]));
        if keep {
            assert_eq!(stored, [whole(&plain), whole(&with), whole(&signed)]);
        } else {
            assert_eq!(stored, [whole(&plain), without, Cell::Null]);
        }
        assert_eq!(scene.counters.messages_left_out.get(), u64::from(!keep));
    }
}

#[test]
fn what_is_too_much_or_too_old_goes_and_so_does_what_was_unfinished() {
    let scene = Scene::new();
    let folder = scene.sessions();
    std::fs::create_dir_all(&folder).unwrap();
    let old = minute(0).session_file_name(0);
    for name in [&old, &minute(1).session_file_name(0), &minute(2).session_file_name(0), "else", "dns_session_block.tmp"] {
        std::fs::write(folder.join(name), [0; 1000]).unwrap();
    }
    let file = std::fs::File::options().write(true).open(folder.join(&old)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(48 * 3600)).unwrap();
    let mut settings = scene.settings();
    // Room for the file that is written, and for little beside it.
    settings.bound.files = 2;
    let sessions = scene.start(settings);
    offer(&sessions, &recorded_responses()[0]);
    finish(&sessions, minute(3));
    assert_eq!(scene.files(), [&minute(2).session_file_name(0), &minute(3).session_file_name(0), "else"]);
    assert_eq!((scene.counters.files_dropped_old.get(), scene.counters.files_dropped_room.get()), (1, 1));
    let held = std::fs::metadata(folder.join(minute(3).session_file_name(0))).unwrap().len() + 1000;
    assert_eq!(scene.counters.octets.get().cast_unsigned(), held);
}

#[test]
fn a_file_ends_before_it_is_larger_than_it_may_be() {
    let scene = Scene::new();
    let mut settings = scene.settings();
    settings.bound.octets = 8 << 20;
    let sessions = scene.start(settings);
    // What does not compress; three intervals, each with more than a file may have and no more than all blocks hold.
    let mut offered = 0;
    let mut state = 1_u64;
    for _ in 0..900 {
        let mut message = answer(b"www.example");
        message[7] = 1;
        message.extend_from_slice(&[0xc0, 12, 0xff, 0, 0, 1, 0, 0, 0, 0]);
        message.extend_from_slice(&16_000_u16.to_be_bytes());
        message.extend((0..16_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        }));
        offer(&sessions, &Response::to("192.0.2.1".parse().unwrap(), message));
        offered += 1;
        if offered % 300 == 0 {
            sessions.rotate(minute(99));
        }
    }
    finish(&sessions, minute(99));
    let files = scene.files();
    let sizes: Vec<_> = files.iter().map(|name| std::fs::metadata(scene.sessions().join(name)).unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size <= 4 << 20), "{sizes:?}");
    assert!(sizes.iter().sum::<u64>() <= 8 << 20, "{sizes:?}");
    let lost: u64 = [Reason::Busy, Reason::FileFull].map(|reason| scene.dropped(reason)).iter().sum();
    assert_eq!(scene.counters.rows.get() + lost, offered);
    assert!(scene.counters.rows.get() > 0 && scene.dropped(Reason::FileFull) > 0 && scene.counters.files_dropped_room.get() > 0);
}

#[test]
fn the_last_of_a_disk_is_left_to_others_and_a_folder_that_cannot_be_made_costs_rows_alone() {
    let scene = Scene::new();
    let sessions = scene.start(Settings { spare: u64::MAX / 2, ..scene.settings() });
    offer(&sessions, &recorded_responses()[0]);
    finish(&sessions, minute(0));
    assert_eq!((scene.dropped(Reason::DiskLow), scene.files().len()), (1, 0));

    let scene = Scene::new();
    std::fs::write(scene.folder.path().join("parquet"), "a file in its place").unwrap();
    let sessions = scene.start(scene.settings());
    offer(&sessions, &recorded_responses()[0]);
    sessions.rotate(minute(0));
    offer(&sessions, &recorded_responses()[0]);
    finish(&sessions, minute(1));
    assert_eq!((scene.dropped(Reason::WriteFailed), scene.counters.write_failures.get()), (2, 2));
}

#[test]
fn nothing_of_a_client_is_printed() {
    let scene = Scene::new();
    let sessions = scene.start(scene.settings());
    let response = &recorded_responses()[0];
    let (frame, mut room) = (response.frame(), Room::default());
    let counted = counted(&frame, CountedTypes::default(), &mut room).unwrap();
    let row = SessionRow { message: Default::default(), name: counted.question.name };
    assert_eq!(format!("{sessions:?}"), "Sessions { .. }");
    let printed = format!("{row:?} {:?}", counted.message.client);
    assert!(!printed.contains("198") && !printed.to_lowercase().contains("example"), "{printed}");
}

/// What a row should have, by the words of the specification.
fn expected(response: &Response, name: &[Vec<u8>], minute_of: &Json) -> Json {
    let port = |port: Option<u64>| port.map_or(Json::Null, |port| if port > i32::MAX as u64 { 0.into() } else { port.into() });
    let mut row = minute_of.clone();
    let escaped = |label: &Vec<u8>| -> String {
        let octet = |octet: &u8| match octet {
            b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => format!("\\{}", char::from(*octet)),
            0x20..0x7f => char::from(*octet).to_string(),
            other => format!("\\{other:03}"),
        };
        label.iter().map(octet).collect()
    };
    let labels: Vec<_> = name.iter().rev().map(escaped).collect();
    for place in 0..9 {
        row[format!("label{place}")] = labels.get(place).map_or(Json::Null, |label| label.as_str().into());
    }
    row["label9"] = labels.get(9..).filter(|rest| !rest.is_empty()).map_or(Json::Null, |rest| rest.join(".").into());
    row["source_port"] = port(response.client_port);
    row["dest_port"] = port(response.server_port);
    row["dns_protocol"] = response.protocol.map_or(Json::Null, Json::from);
    row["server_id"] =
        response.identity.as_ref().filter(|id| !id.is_empty()).map_or(Json::Null, |id| json!({"hex": hex::encode(id)}));
    row["response_message"] = json!({"hex": hex::encode(&response.message)});
    let (seconds, nanoseconds) = response.time.unwrap_or_default();
    row["response_time"] = (seconds * 1_000_000 + u64::from(nanoseconds) / 1000).into();
    row
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Without family no address is stored, so everything else can be compared with a slow model.
    #[test]
    fn rows_are_what_the_slow_model_says(
        sent in prop::collection::vec((
            prop::collection::vec(prop::collection::vec(any::<u8>().prop_filter("no separator", |octet| *octet != b'.'), 1..8), 0..14),
            prop::option::of(0_u64..1 << 32),
            prop::option::of(0_u64..70_000),
            prop::option::of(0_u64..300),
            prop::option::of((0_u64..1 << 40, any::<u32>())),
            prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        ), 1..40),
    ) {
        let (scene, recorded) = (Scene::new(), dump(RECORDED));
        let empty: Json = recorded["columns"].as_array().unwrap().iter()
            .map(|column| (column["name"].as_str().unwrap().to_owned(), Json::Null)).collect::<serde_json::Map<_, _>>().into();
        let sessions = scene.start(scene.settings());
        let mut all = Vec::new();
        for (name, client_port, server_port, protocol, time, identity) in sent {
            let message = answer(&name.join(&b'.'));
            let response = Response { client_port, server_port, protocol, time, identity, message, client: Some(vec![1; 4]), ..Response::default() };
            offer(&sessions, &response);
            all.push(expected(&response, &name, &empty));
        }
        finish(&sessions, minute(0));
        prop_assert_eq!(rows(&scene.read(RECORDED), &recorded), all);
    }
}
