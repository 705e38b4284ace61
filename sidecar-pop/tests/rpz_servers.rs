//! Real servers as primaries of a feed: BIND, NSD and Knot DNS, each with AXFR, IXFR, NOTIFY, TSIG and a serial that wraps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/feed.rs"]
#[allow(dead_code, reason = "disks are of other tests")]
mod feed;
#[path = "common/process.rs"]
#[allow(dead_code, reason = "of POP as a process only what starts others is used")]
mod process;

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use feed::Listener;
use process::{Program, dig, free_port, program, wait_for};
use tapir_pop::dns::records::Reader;
use tapir_pop::dns::tsig::{self, Key, Keys};
use tapir_pop::feeds::channel;
use tapir_pop::feeds::lists::Fit;
use tapir_pop::feeds::rpz::{Notified, RpzFeed};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::config::pop::RpzSource;
use tapir_wire::name::Name;
use tapir_wire::tsig::TsigKey;

const SECRET: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA==";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bind,
    Nsd,
    Knot,
}

struct Server {
    kind: Kind,
    folder: PathBuf,
    port: u16,
    running: Option<Program>,
}

impl Server {
    fn new(kind: Kind, folder: &Path, port: u16, notify: u16) -> Self {
        let server = Self { kind, folder: folder.to_owned(), port, running: None };
        let at = folder.display();
        let algorithm = server.algorithm();
        let text = match kind {
            Kind::Bind => format!(
                "options {{ directory \"{at}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file \"{at}/pid\"; \
                 session-keyfile \"{at}/session\"; recursion no; dnssec-validation no; notify explicit; notify-delay 0; }};\ncontrols {{ }};\n\
                 key k {{ algorithm {algorithm}; secret \"{SECRET}\"; }};\n\
                 zone \"rpz.feed\" {{ type primary; file \"{at}/zone\"; ixfr-from-differences yes; allow-transfer {{ key k; }}; \
                 also-notify {{ 127.0.0.1 port {notify} key k; }}; }};\n"
            ),
            Kind::Nsd => format!(
                "server:\n  ip-address: 127.0.0.1@{port}\n  zonesdir: \"{at}\"\n  database: \"\"\n  username: \"\"\n  pidfile: \"{at}/pid\"\n  \
                 xfrdfile: \"{at}/xfrd\"\n  xfrdir: \"{at}\"\n  zonelistfile: \"{at}/zones\"\n  logfile: \"{at}/log\"\n  server-count: 1\n\
                 remote-control:\n  control-enable: no\nkey:\n  name: k\n  algorithm: {algorithm}\n  secret: \"{SECRET}\"\n\
                 zone:\n  name: rpz.feed\n  zonefile: zone\n  provide-xfr: 127.0.0.1 k\n  notify: 127.0.0.1@{notify} k\n  \
                 store-ixfr: yes\n  create-ixfr: yes\n"
            ),
            Kind::Knot => format!(
                "server:\n  rundir: \"{at}\"\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n  \
                 pidfile: \"{at}/pid\"\ncontrol:\n  listen: \"{at}/control\"\nlog:\n - target: stderr\n   any: info\ndatabase:\n  storage: \"{at}/database\"\n  \
                 journal-db-max-size: 16M\n  timer-db-max-size: 5M\n  kasp-db-max-size: 5M\n  catalog-db-max-size: 5M\n\
                 key:\n - id: k\n   algorithm: {algorithm}\n   secret: {SECRET}\n\
                 remote:\n - id: pop\n   address: 127.0.0.1@{notify}\n   key: k\nacl:\n - id: pop\n   key: k\n   action: transfer\n\
                 zone:\n - domain: rpz.feed\n   file: \"{at}/zone\"\n   zonefile-load: difference\n   zonefile-sync: -1\n   \
                 journal-content: changes\n   notify: pop\n   acl: pop\n   semantic-checks: off\n"
            ),
        };
        std::fs::write(folder.join("conf"), text).unwrap();
        server
    }

    const fn algorithm(&self) -> &'static str {
        match self.kind {
            Kind::Bind => "hmac-sha256",
            Kind::Nsd => "hmac-sha512",
            Kind::Knot => "hmac-sha384",
        }
    }

    fn key(&self) -> TsigKey {
        TsigKey::parse(&format!("{}:k:{SECRET}", self.algorithm())).unwrap()
    }

    fn write(&self, serial: u32, records: &str) {
        let mut text =
            format!("$ORIGIN rpz.feed.\n$TTL 60\n@ SOA ns.other. h.other. {serial} 3600 60 86400 60\n@ NS ns.other.\n{records}");
        for number in 0..300 {
            writeln!(text, "filler-{number}.example CNAME .").unwrap();
        }
        std::fs::write(self.folder.join("zone.new"), text).unwrap();
        std::fs::rename(self.folder.join("zone.new"), self.folder.join("zone")).unwrap();
    }

    fn start(&mut self, serial: u32) {
        let conf = self.folder.join("conf");
        let log = std::fs::File::create(self.folder.join("stderr")).unwrap();
        let mut command = match self.kind {
            Kind::Bind => {
                let mut command = Command::new(program("named"));
                command.args(["-f", "-n", "1", "-L"]).arg(self.folder.join("log")).arg("-c").arg(&conf);
                command
            }
            Kind::Nsd => {
                let mut command = Command::new(program("nsd"));
                command.args(["-d", "-c"]).arg(&conf);
                command
            }
            Kind::Knot => {
                let mut command = Command::new(program("knotd"));
                command.arg("-c").arg(&conf);
                command
            }
        };
        self.running = Some(Program::start(command.stdout(log.try_clone().unwrap()).stderr(log)));
        self.answers(serial);
    }

    fn answers(&self, serial: u32) {
        let soa = || dig(self.port, &["rpz.feed", "SOA", "+short"]);
        wait_for("the server's SOA", soa, |answer| answer.contains(&format!(" {serial} ")));
    }

    /// Another version while it runs.
    fn update(&self, serial: u32, records: &str) {
        self.write(serial, records);
        let pid = self.running.as_ref().unwrap().0.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
        self.answers(serial);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running = None;
        if std::thread::panicking() {
            for file in ["stderr", "log"] {
                let text = std::fs::read_to_string(self.folder.join(file)).unwrap_or_default();
                _ = writeln!(std::io::stderr(), "{file}: {text}");
            }
        }
    }
}

/// What POP's server does with a NOTIFY, over UDP and over TCP, which Knot takes: checks the signature, rings, answers.
fn notifies(socket: UdpSocket, notified: &Notified, key: &TsigKey) {
    let keys = Keys::first_of([Key::from(key)]);
    let listener = TcpListener::bind(socket.local_addr().unwrap()).unwrap();
    let answer = {
        let notified = notified.clone();
        move |request: &[u8], from: IpAddr| {
            let reader = Reader::new(request).unwrap();
            assert_eq!(reader.header().opcode(), 4);
            let zone = reader.question().unwrap().name;
            let verified = keys.check(request, tsig::now()).ok().flatten();
            let taken = notified.ring(&zone, from, verified.as_ref().map(|verified| &verified.key.name));
            let mut answer = request[..12 + zone.as_bytes().len() + 4].to_vec();
            answer[2] |= 0x84;
            answer[3] = if taken { 0 } else { 9 };
            answer[6..12].fill(0);
            if let Some(verified) = verified {
                verified.signer(tsig::now).append(&mut answer);
            }
            answer
        }
    };
    let of_datagrams = answer.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            _ = socket.send_to(&of_datagrams(&buffer[..length], from.ip()), from);
        }
    });
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let from = stream.peer_addr().unwrap().ip();
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut request).unwrap();
                let answer = answer(&request, from);
                stream.write_all(&[&u16::try_from(answer.len()).unwrap().to_be_bytes(), answer.as_slice()].concat()).unwrap();
            }
        }
    });
}

const ONE: &str = "gone.example CNAME .\nchanged.example CNAME .\n*.changed.example CNAME *.\nok.example CNAME rpz-passthru.\n\
    host.example A 192.0.2.1\nhost.example AAAA 2001:db8::1\n32.1.2.0.192.rpz-ip CNAME .\nUPPER.example CNAME rpz-drop.\n";
const TWO: &str = "changed.example CNAME rpz-tcp-only.\nok.example CNAME rpz-passthru.\nhost.example A 192.0.2.1\nhost.example A 192.0.2.2\n\
    32.9.2.0.192.rpz-ip CNAME .\nupper.example CNAME rpz-drop.\nnew.example CNAME garden.example.net.\n*.new.example CNAME .\n";

async fn check(kind: Kind) {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(folder.path().join("database")).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut server = Server::new(kind, folder.path(), free_port(), socket.local_addr().unwrap().port());
    let notified = Notified::default();
    notifies(socket, &notified, &server.key());
    server.write(u32::MAX - 5, ONE);
    server.start(u32::MAX - 5);

    let fit = Fit::new(&Name::parse("dnstapir").unwrap());
    // So long that nothing but a NOTIFY makes it ask.
    let source = RpzSource {
        primaries: vec![([127, 0, 0, 1], server.port).into()],
        zone: "RPZ.feed".to_owned(),
        refresh_seconds: Some(3600),
        ..RpzSource::default()
    };
    let begin = |key: Option<&TsigKey>| {
        let feed = RpzFeed::new("f", &source, key, fit, data.path(), 1 << 30, &notified).unwrap();
        let (to, news) = channel();
        let (_, shutdown) = Shutdown::manual();
        (tokio::spawn(feed.run(to, shutdown.clone())), shutdown, Listener::new(news))
    };

    // Without the key nothing is to be had.
    let (task, shutdown, mut listener) = begin(None);
    assert_eq!(listener.next().await, "bad");
    assert!(listener.error().contains("127.0.0.1"), "{}", listener.error());
    shutdown.trigger();
    task.await.unwrap();

    let key = server.key();
    let (task, shutdown, mut listener) = begin(Some(&key));
    assert_eq!(listener.until_serial(u32::MAX - 5).await, "whole");
    assert_eq!(listener.content().len(), 300 + 5);
    for (name, expected) in [
        ("gone.example.", "4 0"),
        ("changed.example.", "4 3"),
        ("ok.example.", "1 0"),
        ("host.example.", "1:c0000201+28:20010db8000000000000000000000001 0"),
        ("upper.example.", "5 0"),
    ] {
        assert_eq!(listener.of(name), expected, "{name}");
    }
    assert_eq!(listener.meta.rejected.count, 1, "{:?}", listener.meta.rejected);
    listener.until("good").await;

    // NOTIFY, then IXFR. NSD 4.6 writes differences only for zones that it was started with, and BIND sends the whole where that is
    // shorter; both are told apart by what is heard.
    server.update(u32::MAX - 2, TWO);
    assert_eq!(listener.until_serial(u32::MAX - 2).await, "changes", "{:?}", listener.heard);
    let two = |listener: &Listener| {
        assert_eq!(listener.content().len(), 300 + 5, "{:?}", listener.content());
        assert_eq!(listener.of("gone.example."), "");
        assert_eq!(listener.of("changed.example."), "2 0");
        assert_eq!(listener.of("host.example."), "1:c0000201+1:c0000202 0");
        assert_eq!(listener.of("new.example."), "5:0667617264656e076578616d706c65036e657400 4");
    };
    two(&listener);
    // Round the end of the numbers (RFC 1982).
    server.update(3, ONE);
    assert_eq!(listener.until_serial(3).await, "changes");
    assert_eq!(listener.of("gone.example."), "4 0");
    server.update(4, TWO);
    assert_eq!(listener.until_serial(4).await, "changes");
    two(&listener);
    shutdown.trigger();
    task.await.unwrap();

    // A restart tells what was held, changes included, before the primary is asked; then nothing is new.
    let (task, shutdown, mut listener) = begin(Some(&key));
    assert_eq!(listener.next().await, "whole");
    assert_eq!(listener.meta.serial, Some(4));
    two(&listener);
    assert_eq!(listener.next().await, "good");

    // A server that has forgotten what it had sends the whole.
    server.running = None;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("zone.") || name == "database" || name == "xfrd" || name == "zones" {
            _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path).and_then(|()| std::fs::create_dir(&path)));
        }
    }
    server.write(9, ONE);
    server.start(9);
    assert_eq!(listener.until_serial(9).await, "whole");
    assert_eq!(listener.of("gone.example."), "4 0");
    shutdown.trigger();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bind() {
    check(Kind::Bind).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nsd() {
    check(Kind::Nsd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn knot() {
    check(Kind::Knot).await;
}
