//! Readers of what a resolver sends to EDM.

use std::path::Path;
use std::time::Duration;

use tapir_edm::decode::{Counted, CountedTypes, Query, Room, counted};
use tapir_edm::domains::{Refused, Source, compile, inspect};
use tapir_edm::events::queue::Writer;
use tapir_edm::events::seen::{Kind, Log, Secret, Table};
use tapir_edm::input::reader::{Next, Reader};
use tapir_edm::list::{ClientVerdict, Clients, List};
use tapir_edm::names::{Key, Presentation, WireName};
use tapir_edm::sessions::{Kept, without_client};
use tapir_wire::config::ConfigError;
use tapir_wire::config::edm::{EdmConfig, Form};
use tapir_wire::dawg::Header;

use crate::mend;
use crate::state::kept;

fn vectors(name: &str) -> serde_json::Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tapir-wire/vectors/edm").join(name);
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn octets(hexadecimal: &serde_json::Value) -> Vec<u8> {
    let digits = hexadecimal.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// As they were recorded.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    vectors("dnstap_frames.json")["vectors"].as_array().unwrap().iter().map(|entry| octets(&entry["frame_hex"])).collect()
}

/// A frame: what is borrowed from it is in order, whatever it was.
pub(crate) fn dnstap(frame: &[u8]) -> String {
    let mut room = Room::default();
    let Counted { message, query, question } = match counted(frame, CountedTypes::ALL_RESPONSES, &mut room) {
        Ok(counted) => counted,
        Err(reason) => return <&str>::from(reason).to_owned(),
    };
    let (mut key, mut text) = (Key::default(), Presentation::default());
    assert!(WireName::from_octets(question.name.octets()).is_some(), "no name: {:?}", question.name.octets());
    key.read(question.name);
    assert!(key.suffixes().all(|suffix| WireName::from_octets(suffix).is_some()));
    assert!(text.read(question.name).ends_with('.') && text.text().is_ascii());
    let mut others = 1;
    query.other_names(|_| others += 1);
    assert_eq!(others, query.questions());
    let client = message.client.ip().map(|ip| ip.is_ipv4());
    let escaped = text.text().contains('\\');
    format!(
        "{} {} {escaped} {client:?} {}",
        question.name.label_count().min(4),
        query.response_code > 15,
        query.questions().min(3)
    )
}

/// As they were recorded, and what stands in the recorded frames; the first octet says what stays of the options.
pub(crate) fn messages() -> Vec<Vec<u8>> {
    let recorded = vectors("dns_messages.json");
    let recorded: Vec<_> = recorded["vectors"].as_array().unwrap().iter().map(|entry| octets(&entry["message_hex"])).collect();
    let options: &[u8] = b"\x12\x34\x81\x80\0\x01\0\0\0\0\0\x01\x03www\x07example\0\0\x01\0\x01\
        \0\0\x29\x04\xd0\0\0\0\0\0\x17\0\x08\0\x07\0\x01\x18\0\xc6\x33\x64\0\x0a\0\x08\x01\x02\x03\x04\x05\x06\x07\x08";
    let all = recorded.iter().map(Vec::as_slice).chain([options]);
    all.flat_map(|message| [0, 1, 3].map(|kept| [&[kept], message].concat())).collect()
}

/// A DNS message: what is taken out of it for a file of sessions leaves a message that says the same of its question, and nothing of the client.
pub(crate) fn dns(input: &[u8]) -> String {
    let Some((kept, message)) = input.split_first() else { return "nothing".to_owned() };
    let kept = Kept { subnets: kept & 1 != 0, cookies: kept & 2 != 0 };
    let (mut room, mut rest, mut again) = (Room::default(), Vec::new(), Room::default());
    let query = match Query::read(message, &mut room) {
        Ok(query) => query,
        Err(reason) => return format!("{reason:?}"),
    };
    let said = |query: &Query<'_>| {
        let question = query.question.as_ref();
        let question = question.map(|question| (question.name.octets().to_vec(), question.question_type, question.class));
        (question, query.flags, query.response_code, query.questions())
    };
    let Some(stored) = without_client(message, kept, &mut rest) else { return format!("{} left out", query.questions().min(3)) };
    let stored = stored.to_vec();
    let second = Query::read(&stored, &mut again).expect("it was a message, and is one");
    assert_eq!(said(&query), said(&second));
    let mut none = Vec::new();
    assert_eq!(without_client(&stored, kept, &mut none), Some(stored.as_slice()), "nothing is left to be taken out");
    format!("{} {} {:?}", query.questions().min(3), query.response_code > 15, stored.len().cmp(&message.len()))
}

/// A whole session; the first octet says how it is cut.
pub(crate) fn sessions() -> Vec<Vec<u8>> {
    let recorded = octets(&vectors("framestream.json")["client_session_hex"]);
    let untyped =
        b"\0\0\0\0\0\0\0\x04\0\0\0\x04\0\0\0\0\0\0\0\x04\0\0\0\x02\0\0\0\x02hi\0\0\0\0\0\0\0\x04\0\0\0\x09\0\0\0\x01x".to_vec();
    [recorded, untyped].into_iter().flat_map(|session| [1, 7].map(|cut| [&[cut], session.as_slice()].concat())).collect()
}

/// Cut anyhow, it comes to the same.
pub(crate) fn frame_stream(input: &[u8]) -> String {
    let Some((cut, stream)) = input.split_first() else { return "nothing".to_owned() };
    let whole = session(stream, stream.len());
    assert_eq!(whole, session(stream, usize::from(*cut) + 1));
    let (frames, said) = whole;
    format!("{} {}", (usize::BITS - frames.len().leading_zeros()), said)
}

fn session(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, String) {
    let (mut reader, mut held, mut frames, mut said) = (Reader::default(), Vec::new(), Vec::new(), String::new());
    for piece in stream.chunks(piece.max(1)) {
        held.extend_from_slice(piece);
        loop {
            let mut places = Vec::new();
            let pass = reader.pass(&held, &mut places);
            frames.extend(places.iter().map(|place| held[place.range()].to_vec()));
            held.drain(..pass.consumed);
            match pass.next {
                Next::More => break,
                Next::Again => {}
                Next::Send(answer) => said += &format!("answer {} ", answer.len()),
                Next::Finish(_) => return (frames, said + "finish"),
                Next::Refuse(refused) => {
                    let text: String = format!("{refused:?}").chars().filter(|character| !character.is_ascii_digit()).collect();
                    return (frames, said + &text);
                }
            }
        }
    }
    (frames, format!("{said}{:?} {}", reader.phase(), held.len().min(9)))
}

/// A file as a table: what the table and the inspection say of it is the same, and each name finds itself.
pub(crate) fn well_known(octets: &[u8]) -> String {
    if Header::read(octets).is_ok_and(|header| header.words > 4096) {
        return "many".to_owned();
    }
    let (list, inspected) = (List::from_dawg(octets), inspect(octets));
    let (Ok(list), Ok(inspected)) = (&list, &inspected) else {
        assert!(list.is_err() && inspected.is_err(), "{list:?} {inspected:?}");
        let text = list.map_or_else(|error| error.to_string(), |_| String::new());
        return text.chars().filter(|character| !character.is_ascii_digit()).collect();
    };
    assert_eq!((u64::from(list.len()), list.unmatchable()), (inspected.exact + inspected.suffixes, inspected.unmatchable));
    for wire in [b"\0".as_slice(), b"\x03www\x07example\0", b"\x04mail\x03www\x07example\0"] {
        if let Some(entry) = list.find(wire) {
            assert_eq!(list.entry(list.name(entry)), Some(entry));
        }
    }
    format!("{} {} {}", list.len().min(2), list.unmatchable().min(2), inspected.as_compiled)
}

pub(crate) fn client_lists() -> Vec<Vec<u8>> {
    let texts = ["10.0.0.0/8\n10.1.0.0/16\r\n\n# a comment\n::1/128\n2001:db8::/32", "192.0.2.1\n", "0.0.0.0/0\n::/0\n"];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// A list of clients: an address is on it in one of the ways.
pub(crate) fn ignored_clients(text: &[u8]) -> String {
    let list = match Clients::parse(text) {
        Ok(list) => list,
        Err(error) => return format!("{:?}", error.reason),
    };
    let judged = [&[10, 1, 2, 3][..], &[0; 16], &[255; 4], &[1; 5]].map(|address| list.judge(Some(address)));
    assert_eq!(judged[3] == ClientVerdict::Unknown, !list.is_empty());
    format!("{} {judged:?}", list.len().min(3))
}

pub(crate) fn domain_texts() -> Vec<Vec<u8>> {
    let texts = [
        "# names\nexample.com\n.example.net.\r\nWWW.example.org\na\\.b.example\n",
        "rank,name\n1,example.com\n2,\"b.example\"\n",
        "a..b\n..\n",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// A text of names: the file that is made of it has nothing that cannot be matched.
pub(crate) fn domains_text(text: &[u8]) -> String {
    let source = if text.starts_with(b"rank") { Source::Csv } else { Source::Text };
    match compile(text, source) {
        Ok(compiled) => {
            let list = List::from_dawg(&compiled.file).unwrap();
            assert_eq!((list.len() as usize, list.unmatchable()), (compiled.words, 0));
            format!("{} {}", compiled.words.min(4), compiled.duplicates.min(2))
        }
        Err(Refused::Lines { first, total }) => format!("{} {:?}", total.min(3), first.first().map(|problem| problem.reason)),
        Err(Refused::Format(error)) => format!("{error:?}"),
    }
}

pub(crate) fn configurations() -> Vec<Vec<u8>> {
    let texts = [
        "format = 2\nrevision = 'x'\ncounted-types = ['AUTH_RESPONSE']\nstorage-mib = 64\nhttp-listen = '[::]:1'\n",
        "format = 1\ninput-unix = '/s'\nmqtt-keepalive = 5\n",
        "input-tls = 'h:1'\ninput-tls-cert-file = 'c'\ninput-tls-key-file = 'k'\ncryptopan-key = 'hush'\nmqtt-server = 'tcp://h:1'\n",
        "input-tcp = 'h:1'\npebble-sync = true\ncryptopan-key = \"hush\"\ndisable-mqtt = true\nhttp-url = 'http://h'\n",
        "format = 3\ncolours = [1]\n",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// A configuration: what is taken is written and read again as the same, and no secret is told.
pub(crate) fn configuration(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    match EdmConfig::parse(&text) {
        Ok(parsed) => {
            // Where it stands nowhere else.
            let is_secret = parsed.config.cryptopan_key.as_ref().is_some_and(|key| key.reveal() == "hush");
            assert!(!is_secret || text.matches("hush").count() > 1 || !format!("{parsed:?}").contains("hush"));
            if parsed.config.form == Form::Own {
                let again = EdmConfig::parse(&parsed.config.to_toml().unwrap()).unwrap().config;
                assert_eq!(EdmConfig { format: 0, ..again }, EdmConfig { format: 0, ..parsed.config.clone() });
            }
            format!("{:?} {}", parsed.config.form, parsed.warnings.len())
        }
        Err(ConfigError::Invalid(problems) | ConfigError::InvalidLines(problems)) => {
            problems.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>().join(" ")
        }
        Err(ConfigError::UnknownKeys(keys)) => format!("unknown {}", keys.len().min(4)),
        Err(error) => {
            let said = error.to_string();
            said.split(": ").nth(1).unwrap_or_default().chars().filter(char::is_ascii_lowercase).take(24).collect()
        }
    }
}

const SEEN: &str = "seen-0000000001.log";
const WAITING: &str = "waiting-0000000001.seg";
const NOW: u64 = 1_795_219_200;

fn open_seen(folder: &Path) -> Option<(Log, u64, bool)> {
    // Fingerprints mean something with their secret alone.
    std::fs::write(folder.join("secret"), [7; 16]).unwrap();
    let (table, secret) = (Table::new(1000), Secret::load(folder, Secret::draw()).unwrap());
    let (log, opened) = Log::open(folder, &secret, 1000, Duration::from_secs(1 << 30), NOW, &table).ok()?;
    Some((log, table.len(), opened.damaged > 0))
}

pub(crate) fn seen_logs() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, ..) = open_seen(folder.path()).unwrap();
    let secret = Secret::load(folder.path(), Secret::draw()).unwrap();
    for number in 0..6_u8 {
        let print = |number: u8| secret.fingerprint(&[1, number, 0]);
        let marks: Vec<_> = (0..=number).map(|number| (Kind::Mark, print(number))).collect();
        log.append(&marks).unwrap();
        log.append(&[(Kind::Unmark, print(number / 2))]).unwrap();
    }
    vec![std::fs::read(folder.path().join(SEEN)).unwrap(), b"tapirsn1".to_vec(), Vec::new()]
}

/// A log of seen names: what is read of it is read again after its end was mended.
pub(crate) fn seen_log(octets: &[u8]) -> String {
    let mut mended = octets.to_vec();
    mend::log(&mut mended, 36);
    [octets, &mended]
        .map(|octets| {
            kept(SEEN, octets, |folder| reopened(folder, |folder| open_seen(folder).map(|(_, names, damaged)| (names, damaged))))
        })
        .join(" ")
}

pub(crate) fn waiting_files() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(folder.path(), 0);
    for (number, name) in [b"\x01a\x02se\0".as_slice(), b"\0", b"\x03WWW\x07example\x03com\0"].iter().enumerate() {
        let mut record = vec![number as u8 + 1; 26];
        record.push(name.len() as u8);
        record.extend_from_slice(name);
        let (taken, result) = writer.append(&record.repeat(number + 1), NOW, &mut |_| {});
        assert!(result.is_ok() && taken > 0);
    }
    vec![std::fs::read(folder.path().join(WAITING)).unwrap(), b"tapirev1".to_vec(), Vec::new()]
}

/// A file of waiting events: as many as are counted can be read, after another start too.
pub(crate) fn waiting_file(octets: &[u8]) -> String {
    let mut mended = octets.to_vec();
    mend::log(&mut mended, 36);
    [octets, &mended]
        .map(|octets| {
            kept(WAITING, octets, |folder| {
                reopened(folder, |folder| {
                    let (_, queue) = Writer::open(folder, 0);
                    let (mut text, mut events, waiting, lost) = (Presentation::default(), 0, queue.len(), queue.unreadable());
                    loop {
                        let block = queue.read();
                        if block.is_empty() {
                            break;
                        }
                        events += block.len() as u64;
                        assert!(block.iter().all(|(_, event)| event.new_qname(&mut text).qname.ends_with('.')));
                    }
                    assert_eq!((events, queue.len(), queue.unreadable()), (waiting, waiting, lost));
                    Some((events, lost > 0))
                })
            })
        })
        .join(" ")
}

/// The same twice, but for damage, which is set aside the first time.
fn reopened(folder: &Path, open: impl Fn(&Path) -> Option<(u64, bool)>) -> String {
    let first = open(folder).map(|(held, damaged)| (held.min(9), damaged));
    assert_eq!(open(folder).map(|(held, _)| held.min(9)), first.map(|(held, _)| held));
    format!("{first:?}")
}
