//! Thousands who say nothing, and thousands who take nothing.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::probe::{Probe, QUESTION, forget_peak, framed, memory, zone};
use crate::process::{Pop, get, wait_for};

const HALF_OPEN: usize = 4000;
const SLOW: usize = 2000;
/// More than lies in the buffers of a connection that nobody reads from.
const NAMES: usize = 60_000;
/// 16 transfers with what the kernel does not count here, eight windows, and what 64 connections take.
const MOST_GROWTH_KIBIBYTES: usize = 24 * 1024;

#[test]
fn silent_connections_and_readers_that_take_nothing_keep_nobody_out_and_take_no_memory() {
    let pop = Pop::new(None);
    let mut names = String::new();
    (0..NAMES).for_each(|index| writeln!(names, "name-{index:06}.example").unwrap());
    pop.write_beside("list", &names);
    pop.configure("one", "sources: [{name: own, list: Deny, file: {path: list}}]\n");
    let running = pop.start();
    let all = || pop.status().map(|status| status["pop"]["records"].as_u64().unwrap());
    wait_for("all names in the zone", all, |records| *records == Some(NAMES as u64));
    let before = zone(&pop);
    assert!(before.len() >= NAMES);

    let (pid, address) = (running.0.id(), SocketAddr::from(([127, 0, 0, 1], pop.port)));
    let probe = Probe::start(pop.port);
    let rest = forget_peak(pid);
    let mut question = QUESTION.to_vec();
    let kind = question.len() - 4;
    question[kind..kind + 2].copy_from_slice(&[0, 252]);
    let transfer = framed(&question);
    let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
    let mut open = Vec::new();
    for index in 0..HALF_OPEN {
        let mut stream = connect();
        // Nothing, half of a length, a length without a message, half of a message. It may be closed already.
        _ = stream.write_all(&framed(QUESTION)[..[0, 1, 2, 9][index % 4]]);
        open.push(stream);
        if index % (HALF_OPEN / SLOW) == 0 {
            let mut stream = connect();
            _ = stream.write_all(&transfer);
            open.push(stream);
        }
    }
    assert_eq!(open.len(), HALF_OPEN + SLOW);
    let metrics = || get(pop.http, "/metrics").unwrap();
    wait_for("the slow ones closed", metrics, |text| {
        !text.contains("tapir_pop_dns_transfers_total{kind=\"axfr\",outcome=\"slow\"} 0\n")
    });
    let grown = memory(pid, "VmHWM").saturating_sub(rest);
    probe.end(&format!("{HALF_OPEN} half-open connections and {SLOW} slow readers, {grown} KiB more"));
    assert!(grown < MOST_GROWTH_KIBIBYTES, "{grown} KiB");
    drop(open);
    assert!(zone(&pop) == before, "the zone is another one");
}

/// The one that has waited longest goes: of twenty that say nothing the last five stay.
#[test]
fn there_are_as_many_connections_as_the_file_says() {
    let pop = Pop::new(None);
    pop.configure("one", "limits: {connections: 5}\n");
    let _running = pop.start();
    pop.in_force("one");
    wait_for("the port", || pop.serial(), Option::is_some);
    let begun = Instant::now();
    let silent: Vec<_> = (0..20)
        .map(|_| {
            let stream = TcpStream::connect(("127.0.0.1", pop.port)).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let open = || silent.iter().map(|mut stream| stream.read(&mut [0]).is_err()).collect::<Vec<_>>();
    let wanted: Vec<_> = (0..20).map(|index| index >= 15).collect();
    wait_for("the first fifteen closed", open, |open| *open == wanted);
    // They would all be closed after ten seconds.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

/// Where there are few connections some stay for those who ask for little.
#[test]
fn few_connections_are_never_all_for_transfers() {
    let pop = Pop::new(None);
    let mut names = String::new();
    (0..NAMES).for_each(|index| writeln!(names, "name-{index:06}.example").unwrap());
    pop.write_beside("list", &names);
    pop.configure("one", "limits: {connections: 5}\nsources: [{name: own, list: Deny, file: {path: list}}]\n");
    let _running = pop.start();
    let all = || pop.status().map(|status| status["pop"]["records"].as_u64().unwrap());
    wait_for("all names in the zone", all, |records| *records == Some(NAMES as u64));
    let mut question = QUESTION.to_vec();
    let kind = question.len() - 4;
    question[kind..kind + 2].copy_from_slice(&[0, 252]);
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", pop.port)).unwrap();
            _ = stream.write_all(&framed(&question));
            stream
        })
        .collect();
    let metrics = || get(pop.http, "/metrics").unwrap();
    // Those that were sent away for others: 20 came, 5 have room, 2 of them are sent the zone.
    wait_for("some sent away", metrics, |text| {
        !text.contains("tapir_pop_dns_transfers_total{kind=\"axfr\",outcome=\"busy\"} 0\n")
    });
    let probe = Probe::start(pop.port);
    wait_for("the slow ones closed", metrics, |text| {
        !text.contains("tapir_pop_dns_transfers_total{kind=\"axfr\",outcome=\"slow\"} 0\n")
    });
    probe.end("5 connections, 20 slow readers");
    drop(slow);
}
