//! What is looked at throughout.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use crate::process::{Pop, wait_for};

/// Half of all answers come within this.
pub(crate) const USUAL: Duration = Duration::from_millis(50);
/// Each answer comes within this. On a busy machine the kernel drops a SYN of a flood now and then, and sends it again after a second, and
/// after two more.
pub(crate) const WORST: Duration = Duration::from_secs(4);
/// After this a datagram is sent again.
const AGAIN: Duration = Duration::from_millis(100);
/// Answers that say something, however short it was looked at.
const LEAST: usize = 20;
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// `dnstapir. SOA`.
pub(crate) const QUESTION: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08dnstapir\x00\x00\x06\x00\x01";

/// Asks again and again until it is ended.
#[derive(Debug)]
pub(crate) struct Probe {
    done: Arc<AtomicBool>,
    threads: Vec<(&'static str, JoinHandle<Vec<Duration>>)>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

impl Probe {
    pub(crate) fn start(port: u16) -> Self {
        let done = Arc::new(AtomicBool::default());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let thread = |ask: fn(SocketAddr)| {
            let done = Arc::clone(&done);
            spawn(move || {
                let mut took = Vec::new();
                while !done.load(Ordering::Relaxed) || took.len() < LEAST {
                    let begun = Instant::now();
                    ask(address);
                    took.push(begun.elapsed());
                    sleep(PAUSE);
                }
                took
            })
        };
        let threads = vec![("UDP", thread(over_udp)), ("TCP", thread(over_tcp))];
        Self { done, threads }
    }

    /// Ends it: every question was answered, and in time. The figures, for people.
    pub(crate) fn end(mut self, what: &str) -> String {
        self.done.store(true, Ordering::Relaxed);
        let mut figures = Vec::new();
        for (transport, thread) in std::mem::take(&mut self.threads) {
            let mut took = thread.join().unwrap_or_else(|_| panic!("{what}: no answer over {transport}"));
            took.sort_unstable();
            let at = |percent: usize| took[(took.len() - 1) * percent / 100];
            let figure =
                format!("{transport}: {} answers, median {:?}, 99 % {:?}, worst {:?}", took.len(), at(50), at(99), at(100));
            assert!(at(50) < USUAL && at(100) < WORST, "{what}: {figure}");
            figures.push(figure);
        }
        let figures = figures.join("; ");
        println!("{what}: {figures}");
        figures
    }
}

/// One question over each.
pub(crate) fn once(port: u16) {
    over_udp(([127, 0, 0, 1], port).into());
    over_tcp(([127, 0, 0, 1], port).into());
}

fn over_udp(address: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(AGAIN)).unwrap();
    let mut answer = [0; 512];
    // The kernel drops what a flood leaves no room for; so clients ask again.
    for _ in 0..WORST.as_millis() / AGAIN.as_millis() {
        socket.send_to(QUESTION, address).unwrap();
        if let Ok(length) = socket.recv(&mut answer) {
            return good(&answer[..length]);
        }
    }
    panic!("no answer over UDP");
}

/// Who is slow to ask while thousands come may be the one that has waited longest; so clients ask again (RFC 7766, section 6.2.4).
fn over_tcp(address: SocketAddr) {
    let begun = Instant::now();
    let mut seen = None;
    while begun.elapsed() < WORST {
        match ask_over_tcp(address) {
            Ok(answer) => return good(&answer),
            Err(error) => seen = Some(error),
        }
    }
    panic!("no answer over TCP: {seen:?}");
}

fn ask_over_tcp(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, WORST)?;
    stream.set_read_timeout(Some(WORST))?;
    stream.write_all(&framed(QUESTION))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// NOERROR with one answer.
fn good(answer: &[u8]) {
    assert_eq!((&answer[..2], answer[3] & 15, &answer[6..8]), (&QUESTION[..2], 0, &[0, 1][..]), "{answer:?}");
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    framed.extend(message);
    framed
}

/// Memory of a process in KiB, by its name in `/proc/PID/status`.
pub(crate) fn memory(pid: u32, what: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// From now on the peak is that of what comes.
pub(crate) fn forget_peak(pid: u32) -> usize {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    memory(pid, "VmRSS")
}

/// All records but the SOA, as `dig` shows them; waits until there is a turn.
pub(crate) fn zone(pop: &Pop) -> BTreeSet<String> {
    let whole = || pop.dig(&["dnstapir.", "AXFR", "+nocmd", "+nostats", "+time=30"]);
    let is_whole = |text: &String| text.matches("\tSOA\t").count() == 2;
    let text = wait_for("a transfer", whole, is_whole);
    text.lines()
        .filter(|line| !line.starts_with(';') && !line.contains("\tSOA\t") && !line.is_empty())
        .map(str::to_owned)
        .collect()
}
