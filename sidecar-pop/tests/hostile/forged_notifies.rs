//! NOTIFY floods, from strangers and in a primary's name.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::primary::{Primary, Script};
use crate::probe::{Probe, forget_peak, memory, zone};
use crate::process::{Pop, wait_for};

const FLOOD: usize = 20_000;
const MOST_GROWTH_KIBIBYTES: usize = 8 * 1024;

/// Of `rpz.feed.`, with an SOA of a serial that is far ahead (RFC 1996 section 3.7).
const OF_THE_FEED: &[u8] = b"\x12\x34\x24\x00\x00\x01\x00\x01\x00\x00\x00\x00\x03rpz\x04feed\x00\x00\x06\x00\x01\
    \xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x3c\x00\x16\x00\x00\x70\x00\x00\x00\x00\x00\x0e\x10\x00\x00\x00\x01\x00\x00\x0e\x10\x00\x00\x00\x3c";
/// Of POP's own zone.
const OF_THE_ZONE: &[u8] = b"\x12\x34\x24\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08dnstapir\x00\x00\x06\x00\x01";

/// With a signature by a key that nobody has.
fn signed() -> Vec<u8> {
    let mut message = OF_THE_FEED.to_vec();
    message[11] = 1;
    message.extend(b"\x06forged\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x3d\x0bhmac-sha256\x00");
    message.extend([0, 0, 0x69, 0, 0, 0, 1, 0x2c, 0, 32]);
    message.extend([7; 32]);
    message.extend([0x12, 0x34, 0, 0, 0, 0]);
    message
}

fn flood(from: &str, to: SocketAddr, messages: &[Vec<u8>]) {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut answer = [0; 512];
    for index in 0..FLOOD {
        // A full buffer drops, which is what a flood does.
        _ = socket.send_to(&messages[index % messages.len()], to);
        while socket.recv(&mut answer).is_ok() {}
    }
}

#[test]
fn floods_of_notifies_ask_a_primary_at_most_once_a_second_and_forged_ones_never() {
    let records = (0..100).map(|index| (format!("name-{index}.example"), ".".to_owned())).collect();
    let primary = Primary::new(Script { serial: 7, refresh: 3600, expire: 86_400, records, ..Script::default() });
    let pop = Pop::new(None);
    let feed = format!("sources: [{{name: feed, list: Deny, rpz: {{primaries: ['{}'], zone: rpz.feed}}}}]\n", primary.address);
    pop.configure("one", &feed);
    let running = pop.start();
    let all = || pop.status().map(|status| status["pop"]["records"].as_u64().unwrap());
    wait_for("the feed in the zone", all, |records| *records == Some(100));
    let (before, serial, pid) = (zone(&pop), pop.serial(), running.0.id());
    let to = SocketAddr::from(([127, 0, 0, 1], pop.port));
    let probe = Probe::start(pop.port);
    let rest = forget_peak(pid);
    primary.asked();
    let messages = [OF_THE_FEED.to_vec(), OF_THE_ZONE.to_vec(), signed(), OF_THE_FEED[..20].to_vec()];
    // An address of this host, and not the primary's.
    flood("127.0.0.2", to, &messages);
    assert_eq!(primary.asked(), [], "a stranger's word");

    let begun = Instant::now();
    flood("127.0.0.1", to, &messages);
    let asked = || primary.script().asked.len();
    wait_for("the primary asked", asked, |asked| *asked > 0);
    let most = usize::try_from((begun.elapsed() + Duration::from_secs(2)).as_secs()).unwrap();
    assert!(asked() <= most, "{:?} in {most} s", primary.asked());
    let grown = memory(pid, "VmHWM").saturating_sub(rest);
    probe.end(&format!("{} NOTIFY messages, {grown} KiB more", 2 * FLOOD));
    assert!(grown < MOST_GROWTH_KIBIBYTES, "{grown} KiB");
    assert!(zone(&pop) == before && pop.serial() == serial, "the zone is another one");
}
