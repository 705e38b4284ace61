//! Lists in every form, good and hostile, as tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::io::Write as _;

use tapir_pop::feeds::collect::{CollectError, Collected, Place, collect, collect_names};
use tapir_pop::feeds::lists::{Fit, Form};
use tapir_table::{Code, Cursor};
use tapir_wire::dawg;
use tapir_wire::name::Name;

fn fit() -> Fit {
    Fit::new(&Name::parse("dnstapir.").unwrap())
}

fn file(octets: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(octets).unwrap();
    File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file))).unwrap()
}

fn taken(form: &Form, octets: &[u8]) -> Result<Collected, CollectError> {
    collect(form, &file(octets), fit(), &Place::Memory)
}

fn shown(code: Code, collected: &Collected) -> String {
    match (code, collected.palette.get(code)) {
        (_, Some(set)) => set.records().map(|(kind, data)| format!("{kind}:{}", hex::encode(data))).collect::<Vec<_>>().join("+"),
        (Code::SILENT, _) => "-".to_owned(),
        (code, _) => code.number().to_string(),
    }
}

/// `name own below`, in the order of their text.
fn names(collected: &Collected) -> Vec<String> {
    let mut scan = collected.table.scan();
    let mut found = Vec::new();
    while scan.advance().unwrap() {
        let value = scan.value();
        found.push(format!("{} {} {}", scan.key(), shown(value.own, collected), shown(value.below, collected)));
    }
    found.sort();
    found
}

fn check(form: &Form, text: &str, expected: &[&str], rejected: &[u64]) {
    let collected = taken(form, text.as_bytes()).unwrap();
    assert_eq!(names(&collected), expected, "{text}");
    let lines: Vec<u64> = collected.rejected.first.iter().map(|line| line.line).collect();
    assert_eq!(lines, rejected, "{text}\n{:?}", collected.rejected);
}

const CSV: Form = Form::Csv { column: 1, has_heading: true };

#[test]
fn domains_as_they_are_published() {
    let text = "\u{feff}# comment line\r\nExample.COM\n\n  padded.example.net  \n*.wild.example.\ndup.example.\ndup.example\n\
        räksmörgås.example\nunder_score.example.\nwild.example\n.\na..b\n192.0.2.1\nlast-line-no-newline.example";
    let expected = [
        "dup.example. 1 -",
        "example.com. 1 -",
        "last-line-no-newline.example. 1 -",
        "padded.example.net. 1 -",
        "under_score.example. 1 -",
        "wild.example. 1 1",
        "xn--rksmrgs-5wao1o.example. 1 -",
    ];
    check(&Form::Domains, text, &expected, &[11, 12, 13]);
}

#[test]
fn hosts() {
    let text = "127.0.0.1 localhost\n0.0.0.0 Evil.example www.evil.example # both\nevil.example\n";
    check(&Form::Hosts, text, &["evil.example. 1 -", "www.evil.example. 1 -"], &[3]);
}

#[test]
fn csv_with_and_without_heading() {
    let text =
        "id,domain,category\n1,malicious.example.com,malware\n2,\"phishing.example.org\",phishing\n3,Upper.Example.NET.,x\n4\n";
    let expected = ["malicious.example.com. 1 -", "phishing.example.org. 1 -", "upper.example.net. 1 -"];
    check(&CSV, text, &expected, &[5]);
    check(&Form::Csv { column: 0, has_heading: false }, "a.example\nb.example\n", &["a.example. 1 -", "b.example. 1 -"], &[]);
    check(&CSV, "h1\nexample.com\n", &[], &[2]);
    check(&CSV, "h1,h2\na\n", &[], &[2]);
    check(&CSV, "h1,h2\na,\"b\n", &[], &[2]);
    check(&CSV, "", &[], &[]);
}

#[test]
fn a_zone_keeps_the_action_of_each_record() {
    let text = "$TTL 60\n$ORIGIN rpz.example.\n@ SOA ns h 7 60 60 60 60\n@ NS ns.other.\nEvil.example CNAME .\n*.evil.example CNAME *.\n\
        drop.example.RPZ.example. CNAME rpz-drop.\nok.example CNAME rpz-passthru.\nold.example CNAME old.example.\ntcp.example CNAME rpz-tcp-only.\n\
        new.example CNAME rpz-newer.\n32.1.2.0.192.rpz-ip CNAME .\ngarden.example CNAME garden.example.net.\nhost.example A 192.0.2.1\n\
        host.example AAAA 2001:db8::1\nother.example A 192.0.2.9\nhost.example TXT x\n@ CNAME .\n* CNAME .\nelsewhere.example. CNAME .\n";
    let expected = [
        "drop.example. 5 -",
        "evil.example. 4 3",
        "garden.example. 5:0667617264656e076578616d706c65036e657400 -",
        "host.example. 1:c0000201+16:0178+28:20010db8000000000000000000000001 -",
        "ok.example. 1 -",
        "old.example. 1 -",
        "other.example. 1:c0000209 -",
        "tcp.example. 2 -",
    ];
    let form = Form::Rpz { zone: None };
    check(&form, text, &expected, &[11, 12, 18, 19, 20]);
    assert_eq!(taken(&form, text.as_bytes()).unwrap().serial, Some(7));
    // The zone's name from the configuration; without a SOA it is not known what the names are below.
    let named = Form::Rpz { zone: Some(Name::parse("RPZ.example").unwrap()) };
    check(&named, "evil.example CNAME .\n", &["evil.example. 4 -"], &[]);
    assert!(matches!(taken(&form, b"evil.example CNAME .\n"), Err(CollectError::List(_))));
    check(&named, "evil.example 60 IN CNAME .\n\tIN 60 TXT bad-beside-alias\n", &["evil.example. 4 -"], &[]);
}

#[test]
fn compiled_lists() {
    let words = [".example.net.", "a.example.", "b.example."];
    let octets = dawg::compile(words).unwrap();
    let collected = taken(&Form::Dawg, &octets).unwrap();
    assert_eq!(names(&collected), ["a.example. 1 -", "b.example. 1 -", "example.net. - 1"]);
    let mut damaged = octets;
    damaged[6] ^= 1;
    assert!(taken(&Form::Dawg, &damaged).is_err());
    // A small file that stands for thousands of millions of names costs nothing.
    let bomb =
        dawg::compile((0..1_u32 << 14).map(|number| format!("{number:014b}")).collect::<Vec<_>>().iter().map(String::as_str))
            .unwrap();
    assert_eq!(taken(&Form::Dawg, &bomb).unwrap().table.nodes(), 1 << 14);
}

#[test]
fn inline_names() {
    let list: Vec<String> = [" Evil.example", "", "a..b", "*.x.example"].map(str::to_owned).into();
    let collected = collect_names(&list, fit(), &Place::Memory).unwrap();
    assert_eq!(names(&collected), ["evil.example. 1 -", "x.example. - 1"]);
    assert_eq!(collected.rejected.first.iter().map(|line| line.line).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn many_names_take_little_memory_and_leave_no_files_beside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list");
    let mut list = std::io::BufWriter::new(File::create(&path).unwrap());
    for number in 0..600_000_u32 {
        writeln!(list, "host-{}.example", number.wrapping_mul(2_654_435_761)).unwrap();
    }
    list.into_inner().unwrap();
    let tables = tempfile::tempdir().unwrap();
    let place = Place::File(tables.path().join("data-1.tab"));
    let before = resident();
    let collected = collect(&Form::Domains, &File::open(&path).unwrap(), fit(), &place).unwrap();
    assert_eq!(collected.table.nodes(), 600_000);
    // Arena and index of the sorter, one block index: far below what the names take.
    assert!(resident().saturating_sub(before) < 30 << 20, "{} octets more", resident().saturating_sub(before));
    assert_eq!(std::fs::read_dir(tables.path()).unwrap().count(), 1);
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Each parser with what is nearly right: an outcome, never a panic, and nothing that cannot be in the zone.
#[test]
fn hostile_octets() {
    let zone = "$TTL 60\n@ SOA ns h 7 60 60 60 60\nevil.example 60 IN CNAME .\n*.x CNAME (\n *. )\ny TXT \"a\\\"b\" c\nz TYPE65 \\# 2 0a0b\n";
    let forms: [(Form, Vec<u8>); 5] = [
        (Form::Domains, "a.example\n*.b.example # x\nräksmörgås.se\r\n\\046x.example\n".into()),
        (Form::Hosts, "::1 a.example b.example\n192.0.2.1 c # x\n".into()),
        (CSV, "a,b\n1,\"x\"\"y\"\n2,evil.example\r\n".into()),
        (Form::Rpz { zone: None }, zone.into()),
        (Form::Dawg, dawg::compile(["a.example.", "b.example.", "bb.example."]).unwrap()),
    ];
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    };
    for (form, good) in &forms {
        assert!(taken(form, good).is_ok(), "{form:?}");
        for end in 0..good.len() {
            _ = taken(form, &good[..end]);
        }
        for round in 0..4000 {
            let mut bad = good.clone();
            for _ in 0..=round % 4 {
                let at = random() % bad.len();
                match random() % 4 {
                    0 => bad[at] ^= 1 << (random() % 8),
                    1 => bad.insert(at, b"\n\"(;\\.@$*\0 \xff,"[random() % 13]),
                    2 => bad[at] = (random() % 256) as u8,
                    _ => drop(bad.remove(at)),
                }
                if bad.is_empty() {
                    bad.push(0);
                }
            }
            if let Ok(collected) = taken(form, &bad) {
                let mut scan = collected.table.scan();
                while scan.advance().unwrap() {
                    assert!((1..=245).contains(&scan.key().len()));
                    assert!(scan.key().labels().all(|label| label != b"*"));
                }
            }
        }
        for size in 0..500 {
            let octets: Vec<u8> = std::iter::repeat_with(|| (random() % 256) as u8).take(size).collect();
            _ = taken(form, &octets);
        }
    }
}

fn vector(file: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../tapir-wire/vectors/pop/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn json(file: &str) -> serde_json::Value {
    serde_json::from_slice(&vector(file)).unwrap()
}

fn texts(value: &serde_json::Value) -> Vec<String> {
    let mut texts: Vec<String> = value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
    texts.sort();
    texts
}

/// Names as people would write them.
fn written(collected: &Collected) -> Vec<String> {
    let mut found: Vec<String> = names(collected)
        .iter()
        .map(|row| match row.rsplit(' ').collect::<Vec<_>>().as_slice() {
            ["-", _, name] => (*name).to_owned(),
            [_, "-", name] => format!("*.{name}"),
            other => panic!("{other:?}"),
        })
        .collect();
    found.sort();
    found
}

#[test]
fn files_of_the_vectors() {
    let hard = taken(&Form::Domains, &vector("files/domains-hard.txt")).unwrap();
    assert_eq!(written(&hard), texts(&json("files/domains-hard.expected.json")["recommended"]["names"]));
    assert_eq!(hard.rejected.count, 0);
    assert_eq!(taken(&Form::Domains, &vector("files/domains.txt")).unwrap().table.nodes(), 3);
    let expected = json("files/list.csv.expected.json");
    assert_eq!(written(&taken(&CSV, &vector("files/list.csv")).unwrap()), texts(&expected["recommended"]));
    for case in expected["rejected_inputs"].as_array().unwrap() {
        let collected = taken(&CSV, case["csv"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(collected.table.nodes(), 0, "{case}");
    }
}

/// Where upstream is wrong the vectors say what is meant; a target that upstream does not know is an action of the draft here.
#[test]
fn records_of_the_vectors() {
    let rows = json("rpz/import.json");
    let form = Form::Rpz { zone: Some(Name::parse("rpz.example").unwrap()) };
    let mut seen = 0;
    for row in rows["rows"].as_array().unwrap() {
        let (owner, kind, data) = (row["owner"].as_str().unwrap(), row["type"].as_str().unwrap(), row["rdata"].as_str().unwrap());
        if matches!(kind, "SOA" | "NS") {
            continue;
        }
        let collected = taken(&form, format!("{owner} 60 IN {kind} {data}\n").as_bytes()).unwrap();
        let expected: &[&str] = match (owner, kind, data) {
            ("32.1.2.0.192.rpz-ip.rpz.example.", ..) => &[],
            ("*.evil.example.rpz.example.", ..) => &["evil.example. - 4"],
            ("good.example.rpz.example.", ..) => &["good.example. 1 -"],
            (_, "A", _) => &["x.example. 1:c0000201 -"],
            (_, _, "rpz-tcp-only.") => &["x.example. 2 -"],
            (_, _, "walled-garden.example.net.") => &["x.example. 5:0d77616c6c65642d67617264656e076578616d706c65036e657400 -"],
            (_, _, "x.example.") => &["x.example. 1 -"],
            (_, _, ".") => &["evil.example. 4 -"],
            (_, _, "*.") => &["evil.example. 3 -"],
            (_, _, "rpz-drop.") => &["evil.example. 5 -"],
            other => panic!("{other:?}"),
        };
        assert_eq!(names(&collected), expected, "{row}");
        seen += 1;
    }
    assert_eq!(seen, 20);
}
