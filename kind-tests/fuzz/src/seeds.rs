//! Good inputs to begin with, as our own writers and recorded vectors make them.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tapir_pop::knowledge::observations::{Known, LONGEST_TTL, Observations};
use tapir_pop::state::observation_log::ObservationLog;
use tapir_pop::state::zone_log::record::{Body, Change, Step};
use tapir_pop::state::zone_log::{Limits, ZoneLog};
use tapir_pop::zone::Serial;
use tapir_table::{Code, Codes, KeyBuf, Palette, RecordSet, TableWriter};
use tapir_wire::jwk::{DataKey, TrustedKeys};
use tapir_wire::jws;
use tapir_wire::name::Name;
use tapir_wire::observation::Entry;

/// A fixed key: what it signs is the same in each run.
const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"core.test","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#;

fn key() -> DataKey {
    DataKey::from_jwk(KEY).unwrap()
}

pub(crate) fn trusted() -> TrustedKeys {
    TrustedKeys::from_value(&json!({"keys": [key().public_jwk()]})).unwrap()
}

fn vector(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tapir-wire/vectors/pop").join(path)).unwrap()
}

fn question(name: &[u8], kind: u8, flags: u8) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(name);
    message.extend([0, kind, 0, 1]);
    message
}

/// The first octet says how it comes.
pub(crate) fn dns_requests() -> Vec<Vec<u8>> {
    const ZONE: &[u8] = b"\x08dnstapir\0";
    let mut ixfr = question(ZONE, 251, 0);
    ixfr[9] = 1;
    ixfr.extend(b"\xc0\x0c\0\x06\0\x01\0\0\0\0\0\x16\0\0\0\0\0\x07\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x01");
    let mut edns = question(ZONE, 6, 1);
    edns[11] = 1;
    edns.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
    let mut signed = question(ZONE, 252, 0);
    signed[11] = 1;
    signed.extend(b"\x01k\0\0\xfa\0\xff\0\0\0\0\0\x3d\x0bhmac-sha256\0\0\0\x69\0\0\0\x01\x2c\0\x20");
    signed.extend([7; 32]);
    signed.extend(b"\x12\x34\0\0\0\0");
    let plain = [
        question(ZONE, 6, 1),
        question(ZONE, 252, 0),
        question(ZONE, 6, 0x24),
        question(ZONE, 16, 0x28),
        question(b"\x01a\x07example\x08dnstapir\0", 5, 1),
        question(b"\x03www\x01a\x07example\x08dnstapir\0", 255, 1),
        question(b"\x07example\x03com\0", 1, 1),
        ixfr,
        edns,
        signed,
    ];
    plain.into_iter().flat_map(|message| [0, 1].map(|how| [&[how], message.as_slice()].concat())).collect()
}

pub(crate) fn transfers() -> Vec<Vec<u8>> {
    const ZONE: &[u8] = b"\x04feed\x07example\0";
    let record = |owner: &[u8], kind: u8, data: &[u8]| {
        [owner, b"\xc0\x0c\0", &[kind], b"\0\x01\0\0\0\x3c\0", &[u8::try_from(data.len()).unwrap()], data].concat()
    };
    let soa =
        |serial: u32| record(&[], 6, &[&b"\x02ns\0\xc0\x0c"[..], &[serial, 1, 2, 3, 4].map(u32::to_be_bytes).concat()].concat());
    let name = |text: &str| record(&[&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat(), 5, &[0]);
    let message = |asked: u8, records: &[Vec<u8>]| {
        let mut message = 4711_u16.to_be_bytes().to_vec();
        message.extend([0x84, 0, 0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
        message.extend(ZONE);
        message.extend([0, asked, 0, 1]);
        message.extend(records.concat());
        [&u16::try_from(message.len()).unwrap().to_be_bytes(), message.as_slice()].concat()
    };
    let address = record(b"\x03sea", 1, &[192, 0, 2, 1]);
    let whole = [&[0][..], &message(252, &[soa(7), name("a"), address, name("b"), soa(7)])].concat();
    let parts = [&[0][..], &message(252, &[soa(7)]), &message(252, &[name("a")]), &message(252, &[name("b"), soa(7)])].concat();
    let steps = [soa(7), soa(5), name("a"), soa(6), name("b"), soa(6), name("b"), soa(7), name("c"), soa(7)];
    let changes = [&[1][..], &message(251, &steps)].concat();
    vec![whole, parts, changes, [&[1][..], &message(251, &[soa(5)])].concat()]
}

fn payloads() -> Vec<String> {
    let entry = |name: &str, mask: u32| json!({"name": name, "time_added": "2026-11-21T00:00:00.123456789Z", "ttl": 3600, "tag_mask": mask, "extended_tags": []});
    let message = |added: Vec<serde_json::Value>, removed: Vec<serde_json::Value>| {
        json!({
            "src_name": "dns-tapir", "creator": "observation-encoder", "msg_type": "observation", "list_type": "doubtlist",
            "added": added, "removed": removed, "msg": "", "timestamp": "2026-11-21T00:00:00Z", "time_str": "",
        })
        .to_string()
    };
    vec![
        message(vec![entry("evil.example", 1)], vec![]),
        message(vec![entry("Evil.Example.", 1025), entry("a\\.b.example", 4)], vec![entry("gone.example.", 0)]),
        message(vec![entry("", 1), entry(".", 1), entry("a..b", 1), entry(&"l".repeat(64), 1), json!({"name": 1})], vec![json!([])]),
        json!({"TapirConfigVersion": "17", "ObservationTopics": [{"Topic": "observations/down/x"}], "Bootstrap": {"Servers": ["192.0.2.1:1"]}}).to_string(),
    ]
}

pub(crate) fn observations() -> Vec<Vec<u8>> {
    payloads().into_iter().map(String::into_bytes).collect()
}

pub(crate) fn signed() -> Vec<Vec<u8>> {
    let mut signed: Vec<_> = payloads().into_iter().map(|payload| jws::sign_flattened(payload.as_bytes(), &key())).collect();
    let flat: serde_json::Value = serde_json::from_str(&signed[0]).unwrap();
    let part = |name: &str| flat[name].as_str().unwrap();
    let (header, payload, signature) = (part("protected"), part("payload"), part("signature"));
    signed.push(format!("{header}.{payload}.{signature}"));
    let one = json!({"protected": header, "signature": signature});
    signed.push(json!({"payload": payload, "signatures": [{"protected": "e30", "signature": ""}, one]}).to_string());
    // {"alg":"none","kid":"core.test"}
    signed.push(format!("eyJhbGciOiJub25lIiwia2lkIjoiY29yZS50ZXN0In0.{payload}."));
    signed.into_iter().map(String::into_bytes).collect()
}

pub(crate) fn lists() -> Vec<Vec<u8>> {
    let text = "# comment\nevil.example\nEVIL.example.\n*.below.example\n; x\n// y\nr\u{e4}ksm\u{f6}rg\u{e5}s.example\na..b\n192.0.2.1\n127.0.0.1 localhost a.example b.example\n::1 ip6-localhost\n";
    vec![
        text.into(),
        format!("{text}\n").into_bytes(),
        format!("\u{feff}{}", text.replace('\n', "\r\n")).into_bytes(),
        vector("files/domains-hard.txt"),
    ]
}

pub(crate) fn csv() -> Vec<Vec<u8>> {
    let text = "rank,name,x\n1,evil.example,\"a, \"\"b\"\"\"\n2,\"two.example\",\n3,four.example,x\n";
    vec![text.into(), format!("{text}\r\n").into_bytes(), vector("files/list.csv"), b"\"a\nb\",c\n\"".to_vec()]
}

pub(crate) fn zone_files() -> Vec<Vec<u8>> {
    let text = "$ORIGIN rpz.example.\n$TTL 60\n@ IN SOA ns.example. h.example. ( 7 60 60 ; x\n 86400 60 )\n  NS ns.example.\nevil.example CNAME .\n*.evil.example 60 IN CNAME *.\nsea.example A 192.0.2.1\n AAAA 2001:db8::1\ntext.example TXT \"a b\" c\n32.1.2.0.192.rpz-ip CNAME .\nq.example CNAME rpz-drop.\n";
    vec![text.into(), format!("{text}\n").into_bytes(), text.replace("$TTL 60", "$INCLUDE x").into_bytes()]
}

pub(crate) fn dawgs() -> Vec<Vec<u8>> {
    let mut words: Vec<_> = (0..60).map(|index| format!("{}{index}.example.", ["www.", "mail.", "."][index % 3])).collect();
    words.sort();
    let made = tapir_wire::dawg::compile(words.iter().map(String::as_str)).unwrap();
    let files = ["allow-small", "prefixchain", "single", "suffixes"];
    files.into_iter().map(|file| vector(&format!("dawg/{file}.dawg"))).chain([made]).collect()
}

pub(crate) fn exports() -> Vec<Vec<u8>> {
    let files = ["empty", "one-name", "forty-names", "with-json-trailer"];
    files.into_iter().map(|file| vector(&format!("bootstrap/bootstrap-export-{file}.gob"))).collect()
}

fn names(count: usize) -> Vec<KeyBuf> {
    let tops = ["example", "org", "a-long-top-level-label.example"];
    let mut names: Vec<_> = (0..count)
        .flat_map(|index| {
            let name = format!("name-{index}.{}", tops[index % 3]);
            [KeyBuf::from_text(&name, 200).unwrap(), KeyBuf::from_text(&format!("www.{name}"), 200).unwrap()]
        })
        .chain(["a.example", "www.a.example"].map(|name| KeyBuf::from_text(name, 200).unwrap()))
        .collect();
    names.sort();
    names.dedup();
    names
}

pub(crate) fn tables() -> Vec<Vec<u8>> {
    [40, 0, 1, 400]
        .into_iter()
        .map(|count| {
            let mut writer = TableWriter::new(Vec::new()).unwrap();
            let codes = [Codes::LISTED, Codes::new(Code::NXDOMAIN, Code::NXDOMAIN), Codes::new(Code::PASSTHRU, Code::SILENT)];
            for (index, name) in names(count).iter().enumerate() {
                writer.push(name, codes[index % 3]).unwrap();
            }
            writer.finish(7, &Palette::default()).unwrap().0
        })
        .collect()
}

pub(crate) fn zone_logs() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { octets: 1 << 20, versions: 100, segment: 4096 };
    let (mut log, _) = ZoneLog::open(folder.path(), Serial(1), limits).unwrap();
    for version in 1..6_u32 {
        let mut palette = Palette::default();
        let local = palette.intern(RecordSet::new(vec![(1, vec![192, 0, 2, 1])]).unwrap()).unwrap();
        let palette = Arc::new(palette);
        let mut body = Body::between(Arc::clone(&palette), palette);
        for key in names(usize::try_from(version).unwrap() * 3) {
            body.push(&Change { key, old: Codes::SILENT, new: Codes::new(Code::PASSTHRU, local) });
        }
        let step = Step { from: Serial(version), to: Serial(version + 1), time: 1_795_219_200_000 };
        log.append(step, &body).unwrap();
    }
    drop(log);
    let mut octets = std::fs::read(folder.path().join("journal-0000000001.log")).unwrap();
    // What was taken from the disk ahead.
    octets.truncate(octets.iter().rposition(|octet| *octet != 0).unwrap() + 1);
    vec![octets, b"TAPZLOG2".to_vec(), Vec::new()]
}

pub(crate) fn observation_logs() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let now = Timestamp::from_second(1_795_219_200).unwrap();
    let mut observations = Observations::new(1 << 20);
    let (mut log, _) = ObservationLog::open(folder.path(), &mut observations, now).unwrap();
    for (index, key) in names(12).into_iter().enumerate() {
        let age = SignedDuration::from_secs(i64::try_from(index).unwrap());
        let entry = Entry { name: Name::parse("x.example").unwrap(), time_added: now - age, ttl: 3600, tag_mask: 5 };
        let known = Known::Live(observations.add(&key, &entry, LONGEST_TTL, now).unwrap());
        log.append([(&key, known)]).unwrap();
        if index % 3 == 0 {
            let later = Entry { time_added: now, ..entry };
            if let Ok(guard) = observations.remove(&key, &later, now) {
                log.append([(&key, Known::Over(guard))]).unwrap();
            }
        }
    }
    vec![std::fs::read(folder.path().join("log-0000000001.log")).unwrap(), Vec::new(), vec![0; 16]]
}

pub(crate) fn state_json() -> Vec<Vec<u8>> {
    let texts = [
        json!({"format": 1, "zone": "dnstapir.", "apex": "x", "base": "base-1.tab", "serial": 7, "sources": ["a"]}),
        json!({"format": 2, "reservedThrough": 4_000_000_000_u32, "bootId": "x"}),
        json!({"format": 1, "name": "edge.example", "mqttBroker": "mqtts://b", "mqttTopics": {"config": "c"}}),
        json!({"format": 1, "identity": "identity", "meta": {"entries": 1}, "file": "data-1.tab"}),
        json!([]),
    ];
    texts.iter().map(|text| text.to_string().into_bytes()).collect()
}
