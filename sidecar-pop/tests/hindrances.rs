//! Whoever never answers holds up nothing, and signals do what they say: the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;

use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::RData;
use process::{Pop, wait_for};

/// For `rpz.feed.`, which has a primary here.
const NOTIFY: &[u8] = b"\x12\x34\x24\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03rpz\x04feed\x00\x00\x06\x00\x01";

fn record(pop: &Pop, name: &str) -> String {
    pop.dig(&[&format!("{name}.dnstapir."), "CNAME", "+short"]).trim().to_owned()
}

/// The code of the answer.
fn notify(socket: &UdpSocket) -> Option<u8> {
    socket.send(NOTIFY).unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).ok()?;
    answer[..length].get(3).map(|octet| octet & 15)
}

/// The serial that was told last.
fn told(resolver: &UdpSocket) -> Option<u32> {
    let (mut buffer, mut serial) = ([0; 1500], None);
    while let Ok(length) = resolver.recv(&mut buffer) {
        let message = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(message.metadata.op_code, OpCode::Notify);
        let RData::SOA(soa) = &message.answers[0].data else { panic!("{message:?}") };
        serial = Some(soa.serial);
    }
    serial
}

/// A primary that takes everything and says nothing, though it is told to be newer again and again; two resolvers that never answer.
#[test]
fn a_silent_primary_and_silent_resolvers_hold_up_nothing() {
    let primary = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = primary.local_addr().unwrap();
    let _questions = UdpSocket::bind(at).unwrap();
    let resolvers = [(); 2].map(|()| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        socket
    });
    let targets = resolvers.each_ref().map(|socket| socket.local_addr().unwrap());
    let pop = Pop::new(None);
    pop.write_beside("own", "first.example\n");
    pop.write(&format!(
        "format: 2\nrevision: one\nlisten: '127.0.0.1:{}'\nhttpListen: '{}'\ndataDir: {}\nnotify: ['{}', '{}']\nsources:\n\
         - {{name: own, list: Deny, file: {{path: own}}}}\n- {{name: feed, list: Deny, rpz: {{primaries: ['{at}'], zone: rpz.feed}}}}\n",
        pop.port,
        pop.http,
        pop.state().display(),
        targets[0],
        targets[1],
    ));
    let _running = pop.start();
    pop.in_force("one");
    let notifier = UdpSocket::bind("127.0.0.1:0").unwrap();
    notifier.connect(("127.0.0.1", pop.port)).unwrap();
    notifier.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    wait_for("the feed waits for its primary", || notify(&notifier), |code| *code == Some(0));

    for round in 0..4 {
        for _ in 0..50 {
            assert_eq!(notify(&notifier), Some(0));
        }
        let name = format!("name-{round}.example");
        let changed = Instant::now();
        pop.write_beside("own", &format!("first.example\n{name}\n"));
        wait_for("the name in the zone", || record(&pop, &name), |record| record == ".");
        // Less than a primary may be silent.
        assert!(changed.elapsed() < Duration::from_secs(9), "{:?}", changed.elapsed());
        assert_eq!(record(&pop, "first.example"), ".");
    }
    let serial = pop.serial();
    for resolver in &resolvers {
        let mut last = None;
        wait_for(
            "the newest version told",
            || {
                last = told(resolver).or(last);
                last
            },
            |told| *told == serial,
        );
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_hangup_reads_again_and_loses_nothing_and_who_is_told_twice_ends_once() {
    let pop = Pop::new(None);
    pop.configure("one", "sources: [{name: own, list: Deny, inline: {names: [evil.example]}}]\n");
    let mut running = pop.start();
    let pid = running.0.id();
    pop.in_force("one");
    let serial = pop.serial();
    assert!(serial.is_some());
    pop.write("format: 2\nmood: bad\n");
    let hangups = || {
        let log = std::fs::read_to_string(pop.directory.path().join("log")).unwrap();
        log.matches("SIGHUP received").count()
    };
    for count in 1..4 {
        signal(pid, "HUP");
        wait_for("the signal in the log", hangups, |there| *there == count);
    }
    let status = wait_for("the refusal", || pop.status().unwrap(), |status| status["config"]["error"].is_string());
    assert_eq!(status["config"]["revision"], "one");
    assert_eq!((pop.serial(), record(&pop, "evil.example").as_str()), (serial, "."));

    signal(pid, "TERM");
    // It may be gone already.
    _ = Command::new("kill").args(["-TERM", &pid.to_string()]).output().unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    let log = std::fs::read_to_string(pop.directory.path().join("log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
    let _running = pop.start();
    wait_for("the same version", || pop.serial(), |now| *now == serial);
}
