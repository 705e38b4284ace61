//! Ten million names of a feed, and 128 MiB for all that POP needs.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::spawn;
use std::time::{Duration, Instant};

use crate::probe::{Probe, QUESTION, framed, memory};
use crate::process::{Pop, Program};

const NAMES: usize = 10_000_000;
const LIMIT: usize = 128 << 20;
/// A debug build is several times slower; the figures of docs/performance.md are a release build's.
const PATIENCE: Duration = Duration::from_secs(1800);

/// A cgroup of this test; none where the kernel has another layout or we may not make one.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Option<Self> {
        let folder = PathBuf::from(format!("/sys/fs/cgroup/memory/tapir-huge-feed-{}", std::process::id()));
        std::fs::create_dir(&folder).ok()?;
        let cgroup = Self(folder);
        std::fs::write(cgroup.0.join("memory.limit_in_bytes"), LIMIT.to_string()).ok()?;
        Some(cgroup)
    }

    fn read(&self, what: &str) -> String {
        std::fs::read_to_string(self.0.join(what)).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel lets go of it when its last process is gone.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The program that is started in it: the shell enters and becomes POP.
fn start(pop: &Pop, cgroup: Option<&Cgroup>) -> Program {
    let log = std::fs::File::create(pop.directory.path().join("log")).unwrap();
    let enter = cgroup.map_or(String::new(), |cgroup| format!("echo $$ > {}/cgroup.procs && ", cgroup.0.display()));
    let child: Child = Command::new("sh")
        .arg("-c")
        .arg(format!("{enter}exec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_tapir-pop"))
        .args(["run", "--config-file"])
        .arg(pop.file())
        .arg("--state-dir")
        .arg(pop.state())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Program(child)
}

fn soa() -> Vec<u8> {
    let mut record = b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x3c\x00\x16\x00\x00".to_vec();
    for number in [7_u32, 3600, 60, 86_400, 60] {
        record.extend(number.to_be_bytes());
    }
    record
}

fn header(request: &[u8], answers: u16) -> Vec<u8> {
    let mut message = request[..2].to_vec();
    message.extend([0x84, 0, 0, 1]);
    message.extend(answers.to_be_bytes());
    message.extend([0; 4]);
    // The question, whose name all owners end in.
    message.extend(&request[12..12 + b"\x03rpz\x04feed\x00".len() + 4]);
    message
}

/// A primary of that many names, which it makes as it sends them.
fn primary() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(address).unwrap();
    spawn(move || {
        let mut request = [0; 512];
        while let Ok((_, from)) = socket.recv_from(&mut request) {
            let mut answer = header(&request, 1);
            answer.extend(soa());
            _ = socket.send_to(&answer, from);
        }
    });
    spawn(move || {
        for stream in listener.incoming().flatten() {
            spawn(move || _ = transfer(stream));
        }
    });
    address
}

fn transfer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut request)?;
    let send = |stream: &mut TcpStream, records: &[u8], count: u16| {
        let mut message = header(&request, count);
        message.extend(records);
        stream.write_all(&framed(&message))
    };
    send(&mut stream, &soa(), 1)?;
    let mut next = 0;
    while next < NAMES {
        let (mut records, mut count) = (Vec::with_capacity(17 << 10), 0);
        while records.len() < 16 << 10 && next < NAMES {
            // In no order that would be of help.
            let number = next * 7_654_321 % NAMES;
            records.extend(format!("\x0ename-{number:09}\x06site{:02}", number % 89).bytes());
            records.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x01\x00");
            (next, count) = (next + 1, count + 1);
        }
        send(&mut stream, &records, count)?;
    }
    send(&mut stream, &soa(), 1)
}

/// Records that a transfer of the zone has.
fn transferred(port: u16) -> usize {
    let mut question = QUESTION.to_vec();
    let kind = question.len() - 4;
    question[kind..kind + 2].copy_from_slice(&[0, 252]);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(&framed(&question)).unwrap();
    let mut stream = std::io::BufReader::with_capacity(1 << 20, stream);
    let (mut records, mut message) = (0, Vec::new());
    while records < NAMES + 4 {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        message.resize(usize::from(u16::from_be_bytes(length)), 0);
        stream.read_exact(&mut message).unwrap();
        assert_eq!(message[3] & 15, 0, "no transfer");
        records += usize::from(u16::from_be_bytes([message[6], message[7]]));
    }
    records
}

/// Run by hand in a release build: `cargo test --release -p tapir-pop --test hostile -- --ignored --nocapture ten_million`.
#[test]
#[ignore = "takes a minute in a release build, many in a debug build"]
fn ten_million_names_of_a_feed_fit_into_128_mebibytes() {
    let cgroup = Cgroup::new();
    if cgroup.is_none() {
        println!("no cgroup can be made here: the peak of the process counts in its place");
    }
    let pop = Pop::new(None);
    let feed = format!("sources: [{{name: feed, list: Deny, rpz: {{primaries: ['{}'], zone: rpz.feed}}}}]\n", primary());
    pop.configure("one", &feed);
    let mut running = start(&pop, cgroup.as_ref());
    pop.in_force("one");
    let begun = Instant::now();
    let probe = Probe::start(pop.port);
    loop {
        assert_eq!(running.0.try_wait().unwrap(), None, "it ended");
        if pop.status().is_some_and(|status| status["pop"]["records"].as_u64() == Some(NAMES as u64)) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{:?}", pop.status());
        std::thread::sleep(Duration::from_millis(200));
    }
    let in_force = begun.elapsed();
    // SOA, two NS, the names, SOA.
    assert_eq!(transferred(pop.port), NAMES + 4);
    let whole = begun.elapsed() - in_force;
    let pid = running.0.id();
    let (peak, anonymous) = (memory(pid, "VmHWM") / 1024, memory(pid, "RssAnon") / 1024);
    let figures = format!(
        "10 million names: in force after {in_force:.1?}, transferred in {whole:.1?}, peak {peak} MiB, anonymous {anonymous} MiB"
    );
    probe.end(&figures);
    match &cgroup {
        Some(cgroup) => {
            let most = cgroup.read("memory.max_usage_in_bytes").parse::<usize>().unwrap() >> 20;
            println!(
                "cgroup: most {most} MiB of {}, refused {} times; {}",
                LIMIT >> 20,
                cgroup.read("memory.failcnt"),
                cgroup.read("memory.oom_control").replace('\n', ", ")
            );
            assert!(most <= LIMIT >> 20);
        }
        None => assert!(peak < LIMIT >> 20, "{figures}"),
    }
}
