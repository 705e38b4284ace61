//! However transfers fare, whoever asks for the number of the version gets it at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "common/versions.rs"]
#[allow(dead_code)]
mod versions;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use process::{free_port, wait_for};
use tapir_pop::dns::guard::Guard;
use tapir_pop::dns::render::Changed;
use tapir_pop::dns::server;
use tapir_pop::dns::zone::{Apex, Since, Zone};
use tapir_pop::status::Telemetry;
use tapir_pop::zone::Serial;
use tapir_runtime::shutdown::Shutdown;
use tapir_table::{Code, Codes, Cursor, KeyBuf, Listed, Palette, ReadError};
use tokio::sync::watch;
use versions::{History, Versions};

const TRANSFERS: usize = 8;

/// A disk that gives nothing until it is told to.
#[derive(Default)]
struct Disk {
    gives: Mutex<bool>,
    told: Condvar,
    waiting: AtomicUsize,
}

impl Disk {
    fn read(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        drop(self.told.wait_while(self.gives.lock().unwrap(), |gives| !*gives).unwrap());
    }

    fn give(&self) {
        *self.gives.lock().unwrap() = true;
        self.told.notify_all();
    }
}

/// A zone on it.
struct Hung(Versions, Arc<Disk>);

struct Reading(Listed<Codes>, Arc<Disk>);

impl Cursor for Reading {
    type Value = Codes;

    fn advance(&mut self) -> Result<bool, ReadError> {
        self.1.read();
        self.0.advance()
    }

    fn seek(&mut self, key: &[u8]) -> Result<bool, ReadError> {
        self.0.seek(key)
    }

    fn key(&self) -> &KeyBuf {
        self.0.key()
    }

    fn shared(&self) -> usize {
        self.0.shared()
    }

    fn value(&self) -> Codes {
        self.0.value()
    }
}

impl Zone for Hung {
    type Cursor = Reading;
    type Changes = Listed<Changed>;
    type Steps = History;

    fn apex(&self) -> Arc<Apex> {
        self.0.apex()
    }

    fn serial(&self) -> Serial {
        self.0.serial()
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn palette(&self) -> Arc<Palette> {
        self.0.palette()
    }

    fn find(&self, key: &KeyBuf) -> Result<Codes, ReadError> {
        self.1.read();
        self.0.find(key)
    }

    fn cursor(&self) -> Reading {
        Reading(self.0.cursor(), Arc::clone(&self.1))
    }

    fn since(&self, serial: Serial) -> Since<History> {
        self.0.since(serial)
    }
}

/// Gives in the end, whatever became of the test: else it would not end.
struct Giving(Arc<Disk>);

impl Drop for Giving {
    fn drop(&mut self) {
        self.0.give();
    }
}

fn request(kind: RecordType) -> Vec<u8> {
    request_for("dnstapir.", kind)
}

fn request_for(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn framed(kind: RecordType) -> Vec<u8> {
    with_length(&request(kind))
}

fn with_length(request: &[u8]) -> Vec<u8> {
    [&u16::try_from(request.len()).unwrap().to_be_bytes(), request].concat()
}

fn message(stream: &mut TcpStream) -> Message {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut octets).unwrap();
    Message::from_vec(&octets).unwrap()
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn datagrams(at: SocketAddr) -> UdpSocket {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    udp.connect(at).unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    udp
}

fn answer(udp: &UdpSocket) -> Message {
    let mut answer = [0; 512];
    let length = udp.recv(&mut answer).expect("an answer while the disk hangs");
    Message::from_vec(&answer[..length]).unwrap()
}

/// The number of the version, over UDP and TCP.
fn is_prompt(at: SocketAddr) {
    let (udp, mut tcp) = (datagrams(at), connect(at));
    tcp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        let began = Instant::now();
        udp.send(&request(RecordType::SOA)).unwrap();
        assert_eq!(answer(&udp).answers.len(), 1);
        tcp.write_all(&framed(RecordType::SOA)).unwrap();
        assert_eq!(message(&mut tcp).answers.len(), 1);
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}

/// Serves it until the shutdown.
fn served(zone: Hung) -> (SocketAddr, Shutdown) {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let (listens, listen) = watch::channel(vec![at]);
    let (guards, guard) = watch::channel(Arc::new(Guard::default()));
    let (zones, zone) = watch::channel(Some(Arc::new(zone)));
    let shutdown = Shutdown::manual().1;
    let until = shutdown.clone();
    tokio::spawn(async move {
        let _kept = (listens, guards, zones);
        server::serve_guarded(listen, guard, zone, Telemetry::new(None, None), until).await;
    });
    (at, shutdown)
}

/// People look up names, and the page of the file that one stands in is not in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_on_a_disk_that_hangs_hold_up_no_answer() {
    const NAME: &str = "name-7.example.dnstapir.";
    let disk = Arc::new(Disk::default());
    let giving = Giving(Arc::clone(&disk));
    let listed = KeyBuf::from_text("name-7.example", 245).unwrap();
    let zone = Hung(Versions::new(vec![(5, [(listed, Codes::new(Code::NXDOMAIN, Code::SILENT))].into())]), Arc::clone(&disk));
    let (at, shutdown) = served(zone);
    let asked = tokio::task::spawn_blocking(move || {
        wait_for("the port", || TcpStream::connect(at).is_ok(), |open| *open);
        let name = request_for(NAME, RecordType::CNAME);
        let (udp, mut tcp) = (datagrams(at), connect(at));
        for _ in 0..3 {
            udp.send(&name).unwrap();
        }
        tcp.write_all(&with_length(&name)).unwrap();
        wait_for("lookups that read", || disk.waiting.load(Ordering::SeqCst), |waiting| *waiting == 4);
        is_prompt(at);
        // As many as may wait; the others are turned away, or lost.
        for _ in 0..40 {
            udp.send(&name).unwrap();
        }
        wait_for("all that may wait", || disk.waiting.load(Ordering::SeqCst), |waiting| *waiting == 16);
        let mut late = connect(at);
        late.write_all(&with_length(&name)).unwrap();
        assert_eq!(message(&mut late).metadata.response_code, ResponseCode::ServFail);
        is_prompt(at);

        disk.give();
        for _ in 0..15 {
            assert_eq!(answer(&udp).answers.len(), 1);
        }
        assert_eq!(message(&mut tcp).answers.len(), 1);
        late.write_all(&with_length(&name)).unwrap();
        assert_eq!(message(&mut late).answers.len(), 1);
    });
    asked.await.unwrap();
    drop(giving);
    shutdown.trigger();
}

/// As many threads as the program has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_under_all_transfers_holds_up_no_answer() {
    let disk = Arc::new(Disk::default());
    let giving = Giving(Arc::clone(&disk));
    let name =
        |number| (KeyBuf::from_text(&format!("name-{number}.example"), 245).unwrap(), Codes::new(Code::NXDOMAIN, Code::SILENT));
    let zone = Hung(Versions::new(vec![(5, (0..1000).map(name).collect())]), Arc::clone(&disk));
    let (at, shutdown) = served(zone);
    let asked = tokio::task::spawn_blocking(move || {
        wait_for("the port", || TcpStream::connect(at).is_ok(), |open| *open);
        let mut transfers: Vec<TcpStream> = (0..TRANSFERS).map(|_| connect(at)).collect();
        transfers.iter_mut().for_each(|stream| stream.write_all(&framed(RecordType::AXFR)).unwrap());
        wait_for("transfers that read", || disk.waiting.load(Ordering::SeqCst), |waiting| *waiting > 1);

        is_prompt(at);
        disk.give();
        for stream in &mut transfers {
            let mut records = 0;
            while records < 1000 + 4 {
                records += message(stream).answers.len();
            }
            assert_eq!(records, 1000 + 4);
            // The connection is good for more.
            stream.write_all(&framed(RecordType::SOA)).unwrap();
            assert_eq!(message(stream).answers.len(), 1);
        }
    });
    asked.await.unwrap();
    drop(giving);
    shutdown.trigger();
}

/// Two sources whose copies lie on a disk that gives nothing, as many as there are threads for it.
#[test]
fn sources_on_a_disk_that_hangs_hold_up_no_answer_and_no_policy() {
    let pop = process::Pop::new(None);
    for source in ["one", "two"] {
        let folder = pop.state().join("sources").join(source);
        std::fs::create_dir_all(&folder).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(folder.join("meta.json")).status().unwrap().success());
        pop.write_beside(source, "evil.example\n");
    }
    let configure = |revision: &str, name: &str| {
        let file = |name: &str| format!("- {{name: {name}, list: Deny, file: {{path: {name}}}}}\n");
        let inline = format!("- {{name: inline, list: Deny, inline: {{names: [{name}]}}}}\n");
        pop.configure(revision, &format!("sources:\n{}{}{inline}", file("one"), file("two")));
    };
    configure("r0", "first.example");
    let _running = pop.start();
    pop.in_force("r0");
    for round in 1..4 {
        let name = format!("name-{round}.example");
        configure(&format!("r{round}"), &name);
        pop.in_force(&format!("r{round}"));
        wait_for(
            "the name in the zone",
            || pop.dig(&[&format!("{name}.dnstapir."), "CNAME", "+short"]),
            |answer| answer.trim() == ".",
        );
        assert!(pop.serial().is_some());
    }
}
