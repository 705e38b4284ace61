//! Peers that send anything but dnstap, or dnstap that is damaged, or nothing, at full speed beside an honest resolver: its frames are all counted.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::super::frame::Writer;
use super::super::resolver::{READY, Resolver};
use super::super::stage::Stage;
use super::super::traffic::Dice;
use super::load::{Load, Rates, write};
use super::verdicts::Verdicts;
use super::{Counted, Scene, USABLE, resident};
use crate::say;

/// Names of the list alone: no damage makes a name of the list of those that are damaged.
const HONEST: Rates = Rates { new: 0, known: 5000 };
const HALF_OPEN: usize = 20;
const SLOW: usize = 4;
const DRIP: Duration = Duration::from_millis(50);
/// Frames that are damaged anew each time.
const FRAMES: u64 = 2000;
const PAUSE: Duration = Duration::from_millis(1);
/// After half of the time memory grows no more, in MiB.
const FLAT: f64 = 4.0;

/// What was done to it.
#[derive(Debug, Default)]
struct Done {
    stop: AtomicBool,
    connections: AtomicU64,
    octets: AtomicU64,
}

impl Done {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn wrote(&self, octets: usize) {
        self.octets.fetch_add(octets as u64, Ordering::Relaxed);
    }
}

pub(in super::super) fn garbage(stage: &mut Stage) -> Result<()> {
    let mut verdicts = Verdicts::of("garbage");
    let _scene = Scene::start(stage, "")?;
    let (socket, half) = (stage.edm.socket(), Duration::from_secs(stage.lasting.garbage_seconds / 2));
    let load = Load::start(socket.clone(), HONEST, 0);
    let done = Done::default();
    let begin = resident(stage)?;
    let ((middle, end), most) = thread::scope(|scope| {
        scope.spawn(|| noise(&socket, &done));
        scope.spawn(|| damaged(&socket, &done, false));
        scope.spawn(|| damaged(&socket, &done, true));
        scope.spawn(|| half_open(&socket, &done));
        for number in 0..SLOW {
            let (socket, done) = (&socket, &done);
            scope.spawn(move || slow(socket, done, number));
        }
        let watched = stage.edm.group.peak(stage.edm.pid()?, || {
            thread::sleep(half);
            let middle = resident(stage)?;
            thread::sleep(half);
            Ok((middle, resident(stage)?))
        });
        done.stop.store(true, Ordering::Relaxed);
        watched
    })?;
    let written = load.stop()?;
    let counted = Counted::now(stage)?;
    let (connections, octets) = (done.connections.into_inner(), done.octets.into_inner());
    say(&format!(
        "    {connections} connections with garbage, {} MiB of it; closed {}",
        octets >> 20,
        counted.of("input_connections_closed_total")
    ));
    say(&format!(
        "    frames: {}",
        [
            "undecodable",
            "no_message",
            "type_not_counted",
            "dns_truncated",
            "dns_name",
            "dns_record_data",
            "no_question",
            "other_name",
            "well_known"
        ]
        .map(|outcome| format!("{outcome} {}", counted.outcome("frames_total", outcome)))
        .join(", ")
    ));
    let honest = counted.outcome("frames_total", "well_known");
    let size = stage.size;
    size.figure("garbage_mib_per_s", (octets >> 20) as f64 / (2.0 * half.as_secs_f64()), "MiB/s");
    size.figure("garbage_honest_lost", written.known.abs_diff(honest) as f64, "frames");
    size.figure("garbage_honest_longest_write_ms", written.longest.as_secs_f64() * 1000.0, "ms");
    size.figure("garbage_rss_mib_begin", begin, "MiB");
    size.figure("garbage_rss_mib_end", end, "MiB");
    size.figure("garbage_cgroup_mib_most", most, "MiB");
    verdicts.promise("every honest frame is counted", honest == written.known, format!("{honest} of {}", written.known));
    verdicts.promise("the process lives", stage.edm.still_runs().is_ok(), "it does");
    verdicts.promise(
        "memory stays as it is",
        end - middle <= FLAT && most <= USABLE,
        format!("{begin:.1}, {middle:.1}, {end:.1} MiB resident, {most:.1} in the group at most"),
    );
    stage.edm.stop()?;
    verdicts.end()
}

/// Octets without any meaning, on one connection after the other.
fn noise(socket: &Path, done: &Done) {
    let mut dice = Dice::new(1);
    let mut octets = vec![0; 64 << 10];
    while done.goes_on() {
        octets.iter_mut().for_each(|octet| *octet = dice.below(256) as u8);
        let Ok(mut stream) = UnixStream::connect(socket) else {
            thread::sleep(PAUSE);
            continue;
        };
        done.connections.fetch_add(1, Ordering::Relaxed);
        // Some begin as they should.
        let opening: &[u8] = if dice.below(2) == 0 { READY } else { &[] };
        let _ = stream.write_all(opening);
        while done.goes_on() && stream.write_all(&octets).is_ok() {
            done.wrote(octets.len());
        }
    }
}

/// Real frames of which a few octets are changed: of what is in them, or of lengths as well, which ends the connection sooner or later.
fn damaged(socket: &Path, done: &Done, lengths: bool) {
    let (mut dice, mut writer) = (Dice::new(2 + u64::from(lengths)), Writer::default());
    let (mut good, mut starts) = (Vec::new(), Vec::new());
    for number in 0..FRAMES {
        starts.push(good.len());
        write(&mut writer, &format!("d{number}.damaged.test."), number, &mut good);
    }
    let mut bad = good.clone();
    while done.goes_on() {
        let Ok(mut resolver) = Resolver::connect(socket) else {
            thread::sleep(PAUSE);
            continue;
        };
        done.connections.fetch_add(1, Ordering::Relaxed);
        while done.goes_on() {
            bad.copy_from_slice(&good);
            for pair in starts.windows(2) {
                let &[start, end] = pair else { continue };
                let from = if lengths && dice.below(100) == 0 { start } else { start + 4 };
                for _ in 0..=dice.below(3) {
                    let at = from + dice.below((end - from) as u64) as usize;
                    bad.get_mut(at).into_iter().for_each(|octet| *octet ^= 1 << dice.below(8));
                }
            }
            if resolver.send(&bad).is_err() {
                break;
            }
            done.wrote(bad.len());
        }
    }
}

/// Connections on which nothing follows, opened again as they are closed.
fn half_open(socket: &Path, done: &Done) {
    let mut open: Vec<UnixStream> = Vec::new();
    while done.goes_on() {
        open.retain(|stream| stream.set_nonblocking(true).is_ok() && !is_closed(stream));
        while open.len() < HALF_OPEN {
            let Ok(stream) = UnixStream::connect(socket) else { break };
            done.connections.fetch_add(1, Ordering::Relaxed);
            open.push(stream);
        }
        thread::sleep(DRIP);
    }
}

fn is_closed(mut stream: &UnixStream) -> bool {
    matches!(stream.read(&mut [0; 1]), Ok(0))
}

/// A handshake an octet at a time, or a frame.
fn slow(socket: &Path, done: &Done, number: usize) {
    while done.goes_on() {
        let _ = drip(socket, done, number);
        thread::sleep(DRIP);
    }
}

fn drip(socket: &Path, done: &Done, number: usize) -> Result<()> {
    let mut stream = UnixStream::connect(socket).context("connecting")?;
    done.connections.fetch_add(1, Ordering::Relaxed);
    if number.is_multiple_of(2) {
        stream.write_all(READY).context("greeting")?;
    }
    for octet in [READY, &[0, 0, 3, 0]].concat().into_iter().chain(std::iter::repeat(7)) {
        if !done.goes_on() {
            break;
        }
        stream.write_all(&[octet]).context("dripping")?;
        thread::sleep(DRIP);
    }
    Ok(())
}
