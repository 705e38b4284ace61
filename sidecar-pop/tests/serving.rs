//! What clients get: `dig` with and without a key, readers that take nothing, connections that say nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "common/versions.rs"]
#[allow(dead_code)]
mod versions;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use process::{dig, free_port, wait_for};
use serde_json::Value;
use tapir_pop::dns::acl::Acl;
use tapir_pop::dns::answer::{Answer, Transport, answer};
use tapir_pop::dns::guard::Guard;
use tapir_pop::dns::server;
use tapir_pop::dns::stream::{Limits, SendError, Windows, send};
use tapir_pop::dns::transfer::Outgoing;
use tapir_pop::dns::tsig::{Key, Keys};
use tapir_pop::status::Telemetry;
use tapir_runtime::shutdown::Shutdown;
use tapir_table::{Code, Codes, KeyBuf, Palette, RecordSet};
use tapir_wire::tsig::TsigKey;
use tokio::sync::watch;
use versions::{Names, Versions, messages};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const KEY: &str = "hmac-sha256:xfr:c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA==";

fn names(range: std::ops::Range<u32>) -> Names {
    range.map(|number| (KeyBuf::from_text(&format!("name-{number}.example"), 245).unwrap(), codes())).collect()
}

fn codes() -> Codes {
    Codes::new(Code::NXDOMAIN, Code::SILENT)
}

fn request(name: &str, kind: RecordType, held: Option<u32>) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    let zone = Name::from_ascii("dnstapir.").unwrap();
    let soa = |serial| Record::from_rdata(zone.clone(), 0, RData::SOA(SOA::new(Name::root(), Name::root(), serial, 0, 0, 0, 0)));
    message.authorities.extend(held.map(soa));
    message.to_vec().unwrap()
}

fn guard(signed_only: bool) -> Guard {
    let keys = Keys::first_of([Key::from(&TsigKey::parse(KEY).unwrap())]);
    Guard { acl: Acl { signed_only, ..Acl::default() }, keys, ..Guard::default() }
}

/// A server for as long as this is held.
struct Serving {
    port: u16,
    second: u16,
    shutdown: Shutdown,
    _listen: watch::Sender<Vec<SocketAddr>>,
    _guard: watch::Sender<Arc<Guard>>,
    _zone: watch::Sender<Option<Arc<Versions>>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

fn serve(zone: Versions, guard: Guard) -> Serving {
    let (port, second, shutdown) = (free_port(), free_port(), Shutdown::manual().1);
    let at = |port| SocketAddr::from((LOCALHOST, port));
    let (_listen, listen) = watch::channel(vec![at(port), at(second)]);
    let (_guard, guard) = watch::channel(Arc::new(guard));
    let (_zone, zone) = watch::channel(Some(Arc::new(zone)));
    tokio::spawn(server::serve_guarded(listen, guard, zone, Telemetry::new(None, None), shutdown.clone()));
    wait_for("the ports", || [port, second].map(|port| TcpStream::connect(at(port)).is_ok()), |open| *open == [true; 2]);
    Serving { port, second, shutdown, _listen, _guard, _zone }
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_transfers_all_and_what_changed_with_a_key_and_nothing_without() {
    let versions = vec![(5, names(0..40_000)), (7, names(100..40_001))];
    let serving = serve(Versions::new(versions), guard(true));
    for port in [serving.port, serving.second] {
        let all = dig(port, &["-y", KEY, "dnstapir.", "AXFR"]);
        assert!(all.contains("XFR size: 39905 records") && !all.contains("verify"), "{}", &all[all.len() - 500..]);
        assert!(all.contains("name-40000.example.dnstapir. 60"), "{all:.900}");
    }
    // Opening and closing SOA, two between, 101 records.
    let changed = dig(serving.port, &["-y", KEY, "dnstapir.", "IXFR=5"]);
    assert!(changed.contains("XFR size: 105 records"), "{}", &changed[changed.len() - 500..]);
    let current = dig(serving.port, &["-y", KEY, "dnstapir.", "IXFR=7"]);
    assert!(current.contains("XFR size: 1 records"), "{current}");
    let unknown = dig(serving.port, &["-y", KEY, "dnstapir.", "IXFR=6"]);
    assert!(unknown.contains("XFR size: 39905 records"), "{}", &unknown[unknown.len() - 500..]);

    let soa = dig(serving.port, &["dnstapir.", "SOA"]);
    assert!(soa.contains("status: NOERROR") && soa.contains("ANSWER: 1"), "questions need no key: {soa}");
    let refused = dig(serving.port, &["dnstapir.", "AXFR"]);
    assert!(refused.contains("Transfer failed"), "{refused}");
    let other = KEY.replace("c2Vj", "b2Vj");
    let wrong = dig(serving.port, &["-y", &other, "dnstapir.", "AXFR"]);
    assert!(!wrong.contains("XFR size"), "{wrong}");
}

#[test]
fn incremental_answers_are_those_recorded() {
    let path = format!("{}/../tapir-wire/vectors/pop/ixfr/scenario.json", env!("CARGO_MANIFEST_DIR"));
    let scenario: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let entry = |row: &Value| {
        let code = match row["rdata"].as_str().unwrap() {
            "." => Code::NXDOMAIN,
            "*." => Code::NODATA,
            "rpz-drop." => Code::DROP,
            other => panic!("{other}"),
        };
        let owner = row["owner"].as_str().unwrap().strip_suffix("dnstapir.").unwrap();
        (KeyBuf::from_text(owner, 245).unwrap(), Codes::new(code, Code::SILENT))
    };
    let mut zone: Names = scenario["baseline_serial_10"].as_array().unwrap().iter().map(entry).collect();
    let mut versions = vec![(10, zone.clone())];
    for step in scenario["chain"].as_array().unwrap() {
        step["removed"].as_array().unwrap().iter().for_each(|row| {
            zone.remove(&entry(row).0);
        });
        zone.extend(step["added"].as_array().unwrap().iter().map(entry));
        versions.push((u32::try_from(step["to"].as_u64().unwrap()).unwrap(), zone.clone()));
    }
    let served = Arc::new(Versions::new(versions.clone()));
    for row in scenario["requests"].as_array().unwrap() {
        let held = row["client_serial"].as_u64().map(|serial| u32::try_from(serial).unwrap());
        let request = request("dnstapir.", RecordType::IXFR, held);
        let octets = match answer(&request, Transport::Tcp, Some(&served)) {
            Answer::Message(message) => vec![message],
            Answer::Transfer(transfer) => {
                let mut outgoing = transfer.begin(None).unwrap();
                messages(|window| outgoing.fill(window).unwrap())
            }
            Answer::None => panic!("an answer was due"),
        };
        let texts = |record: &Record| match &record.data {
            RData::SOA(soa) => format!("SOA {}", soa.serial),
            data => format!("{} {data}", record.name.to_string().to_lowercase()),
        };
        let records = octets.iter().flat_map(|message| Message::from_vec(message).unwrap().answers);
        let got: Vec<String> = records.map(|record| texts(&record)).collect();
        let recorded = row.get("answer_recommended").unwrap_or(&row["answer"]).as_array().unwrap();
        let wanted: Vec<String> = recorded
            .iter()
            .map(|row| match row["serial"].as_u64() {
                Some(serial) => format!("SOA {serial}"),
                None => format!("{} {}", row["owner"].as_str().unwrap(), row["rdata"].as_str().unwrap()),
            })
            .collect();
        if row["kind"] != "incremental" {
            assert_eq!(got, wanted, "{row}");
            continue;
        }
        // Ours is condensed, and left out altogether where the zone is smaller than what changed; upstream's goes through all steps.
        let old = &versions.iter().find(|(serial, _)| Some(*serial) == held).unwrap().1;
        let changed = got.iter().filter(|text| text.starts_with("SOA")).count() == 4;
        assert_eq!(changed, held == Some(12), "{got:?}");
        if changed {
            assert_eq!(got, wanted);
        }
        assert!(!old.is_empty());
    }
}

#[test]
fn long_answers_over_udp_say_come_over_tcp() {
    let mut palette = Palette::default();
    let addresses = (0..60).map(|number: u32| (1, number.to_be_bytes().to_vec())).collect();
    let code = palette.intern(RecordSet::new(addresses).unwrap()).unwrap();
    let names = [(KeyBuf::from_text("much.example", 245).unwrap(), Codes::new(code, Code::SILENT))].into();
    let zone = Arc::new(Versions { versions: vec![(1, names)], palette: Arc::new(palette) });
    let ask = |transport, payload: Option<u16>, guard: &Guard| {
        let mut message = Message::from_vec(&request("much.example.dnstapir.", RecordType::A, None)).unwrap();
        if let Some(payload) = payload {
            let mut edns = hickory_proto::op::Edns::new();
            edns.set_max_payload(payload);
            message.set_edns(edns);
        }
        match guard.answer(&message.to_vec().unwrap(), LOCALHOST, transport, Some(&zone)).answer {
            Answer::Message(octets) => (octets.len(), Message::from_vec(&octets).unwrap()),
            _ => panic!("an answer was due"),
        }
    };
    for (payload, limit, complete) in
        [(None, 512, false), (Some(512), 512, false), (Some(1200), 1200, true), (Some(65_000), 1232, true)]
    {
        let (octets, message) = ask(Transport::Udp, payload, &Guard::default());
        assert!(octets <= limit, "{payload:?}: {octets}");
        assert_eq!(
            (message.metadata.truncation, message.answers.len()),
            (!complete, if complete { 60 } else { 0 }),
            "{payload:?}"
        );
        assert_eq!(message.queries.len(), 1);
    }
    let (_, message) = ask(Transport::Tcp, None, &Guard::default());
    assert_eq!((message.metadata.truncation, message.answers.len()), (false, 60));
}

#[test]
fn who_may_not_ask_hears_so() {
    let zone = Arc::new(Versions::new(vec![(1, names(0..3))]));
    let code = |guard: &Guard, peer: &str, kind| {
        let request = request("dnstapir.", kind, None);
        let guarded = guard.answer(&request, peer.parse().unwrap(), Transport::Tcp, Some(&zone));
        match guarded.answer {
            Answer::Message(octets) => (Message::from_vec(&octets).unwrap().metadata.response_code, guarded.refused),
            Answer::Transfer(_) => (ResponseCode::NoError, guarded.refused),
            Answer::None => panic!("an answer was due"),
        }
    };
    assert_eq!(code(&guard(false), "192.0.2.1", RecordType::SOA), (ResponseCode::Refused, Some("address")));
    assert_eq!(code(&guard(false), "127.0.0.1", RecordType::AXFR), (ResponseCode::NoError, None));
    assert_eq!(code(&guard(true), "127.0.0.1", RecordType::AXFR), (ResponseCode::Refused, Some("not_signed")));
    assert_eq!(code(&guard(true), "127.0.0.1", RecordType::SOA), (ResponseCode::NoError, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_take_nobodys_place() {
    let serving = serve(Versions::new(vec![(5, names(0..10))]), Guard::default());
    let connect = || TcpStream::connect((LOCALHOST, serving.port)).unwrap();
    let mut silent: Vec<TcpStream> = (0..300).map(|_| connect()).collect();
    // Half a request is no request.
    silent.iter_mut().step_by(2).for_each(|stream| drop(stream.write(&[0, 99, 1])));
    let began = Instant::now();
    for _ in 0..20 {
        let mut stream = connect();
        let request = request("dnstapir.", RecordType::SOA, None);
        stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        stream.write_all(&[&u16::try_from(request.len()).unwrap().to_be_bytes(), request.as_slice()].concat()).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
    }
    // Silent ones are closed after ten seconds.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_take_nothing_hold_up_nobody() {
    let serving = serve(Versions::new(vec![(5, names(0..100_000))]), Guard::default());
    let request = request("dnstapir.", RecordType::AXFR, None);
    let framed = [&u16::try_from(request.len()).unwrap().to_be_bytes(), request.as_slice()].concat();
    let stalled: Vec<TcpStream> = (0..10)
        .map(|_| {
            let mut stream = TcpStream::connect((LOCALHOST, serving.port)).unwrap();
            stream.write_all(&framed).unwrap();
            stream
        })
        .collect();
    // More of them than there are windows, and each has something that it does not read.
    let mut octets = [0; 1];
    stalled.iter().for_each(|stream| assert!(stream.peek(&mut octets).unwrap() == 1));
    let whole = dig(serving.port, &["dnstapir.", "AXFR"]);
    assert!(whole.contains("XFR size: 100004 records"), "{}", &whole[whole.len() - 300..]);
    let unsigned = dig(serving.port, &["dnstapir.", "SOA", "+tcp"]);
    assert!(unsigned.contains("NOERROR"), "{unsigned}");
}

/// So many windows of one message each.
struct Endless(usize);

impl Outgoing for Endless {
    fn fill(&mut self, window: &mut tapir_pop::dns::render::Window) -> Result<bool, tapir_table::ReadError> {
        let zone = Arc::new(Versions::new(vec![(5, names(0..8000))]));
        let Answer::Transfer(transfer) = answer(&request("dnstapir.", RecordType::AXFR, None), Transport::Tcp, Some(&zone))
        else {
            panic!("a transfer was due");
        };
        self.0 = self.0.saturating_sub(1);
        if self.0 == 0 { Ok(false) } else { transfer.begin(None).unwrap().fill(window) }
    }
}

async fn pair() -> (tokio::net::TcpStream, TcpStream) {
    // The kernel takes little, so that a reader that stops is felt soon.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(32 << 10).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().await.unwrap().0, client)
}

fn impatient() -> Limits {
    let milliseconds = Duration::from_millis;
    Limits {
        keep_window: milliseconds(20),
        stalled: milliseconds(200),
        slow: milliseconds(600),
        least: 1 << 20,
        longest: milliseconds(60_000),
    }
}

/// The same for one that may take as long as a busy machine makes it.
fn patient() -> Limits {
    Limits { stalled: Duration::from_secs(300), slow: Duration::from_secs(300), ..impatient() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_is_closed_and_gives_its_window_back_before() {
    let (stream, _client) = pair().await;
    let windows = Arc::new(Windows::new(1));
    let shared = Arc::clone(&windows);
    let stalled = tokio::spawn(async move { send(&stream, &mut Endless(10_000), &shared, &patient()).await });
    // The only window comes to the other once the first reader stalls.
    let (stream, mut client) = pair().await;
    let reader = std::thread::spawn(move || std::io::copy(&mut client, &mut std::io::sink()).unwrap());
    let (sent, ended) = send(&stream, &mut Endless(20), &windows, &patient()).await;
    ended.unwrap();
    drop(stream);
    assert_eq!(reader.join().unwrap(), sent);
    assert!(!stalled.is_finished());
    stalled.abort();

    let (stream, _client) = pair().await;
    let began = Instant::now();
    let (_, ended) = send(&stream, &mut Endless(10_000), &windows, &impatient()).await;
    assert!(matches!(ended, Err(SendError::Slow)), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_little_is_closed() {
    let (stream, mut client) = pair().await;
    let reader = std::thread::spawn(move || {
        let mut octets = [0; 20_000];
        // More often than the time of a stall, and less than what has to be taken.
        while client.read(&mut octets).is_ok_and(|read| read > 0) {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let limits = Limits { least: 64 << 20, ..impatient() };
    let began = Instant::now();
    let (_, ended) = send(&stream, &mut Endless(10_000), &Windows::new(1), &limits).await;
    assert!(matches!(ended, Err(SendError::Slow)), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    drop(stream);
    reader.join().unwrap();

    let (stream, client) = pair().await;
    drop(client);
    let (_, ended) = send(&stream, &mut Endless(10_000), &Windows::new(1), &limits).await;
    assert!(matches!(ended, Err(SendError::Gone(_))), "{ended:?}");
}
