//! What a real unbound says: recorded once, then replayed again and again.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use tapir_rig::{Process, free_port};

use super::load;
use super::rates::Rounds;
use super::resolver::{ACCEPT, FINISH, READY, START, STOP, expect};
use super::stage::Stage;
use super::traffic::Stream;
use crate::broker;
use crate::say;
use crate::values::median;

/// Questions that it is asked.
const QUESTIONS: usize = 20_000;
/// Of them, waiting for their answers at a time.
const WINDOW: usize = 64;
/// Each of so many clients has an address of its own (127.1.0.0/16).
const CLIENTS: usize = 500;
/// So many frames make a round.
const FRAMES: usize = 8_000_000;
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn rate(stage: &mut Stage) -> Result<()> {
    super::rates::begin(stage)?;
    let names = stage.traffic.asked(QUESTIONS);
    let once = record(&stage.folder.join("unbound"), &names)?;
    say(&format!(
        "    {} frames of unbound, of {} octets on average",
        once.frames,
        once.octets.len() as u64 / once.frames.max(1)
    ));
    let times = (stage.size.of(FRAMES) / QUESTIONS).max(1);
    let stream = Stream { octets: once.octets.repeat(times), frames: once.frames * times as u64, ..Stream::default() };
    load::send(&stage.edm, &[&stream])?;
    let mut rounds = Rounds::default();
    for _ in 0..stage.rounds {
        rounds.add(load::send(&stage.edm, &[&stream])?);
    }
    rounds.tell();
    stage.size.figure("frames_per_s_recorded", median(&mut rounds.rates).round(), "frames/s");
    stage.size.figure("cpu_s_per_million_recorded", median(&mut rounds.costs), "s");
    Ok(())
}

/// Asks each name once; gives what it told of its answers.
fn record(folder: &Path, names: &[Vec<u8>]) -> Result<Stream> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let (socket, port) = (folder.join("dnstap.sock"), free_port());
    let listener = UnixListener::bind(&socket).context("listening for unbound")?;
    broker::write(&folder.join("unbound.conf"), &configuration(folder, &socket, port))?;
    let arguments = ["-d".to_owned(), "-c".to_owned(), folder.join("unbound.conf").display().to_string()];
    let unbound = Process::start(folder, "unbound", &broker::program("unbound")?, &arguments, &[])?;
    let reader = std::thread::spawn(move || take(&listener));
    ask(&unbound, port, names)?;
    // It takes leave when it ends.
    unbound.signal(tapir_rig::Signal::SIGTERM)?;
    let octets = reader.join().map_err(|_| anyhow!("the recorder panicked"))??;
    let frames = count(&octets)?;
    if frames < names.len() as u64 * 9 / 10 {
        bail!("unbound told of {frames} answers only");
    }
    Ok(Stream { octets, frames, ..Stream::default() })
}

/// Every name has an answer of its own making, so that no other server is asked.
fn configuration(folder: &Path, socket: &Path, port: u16) -> String {
    format!(
        r#"
server:
    interface: 127.0.0.1@{port}
    access-control: 127.0.0.0/8 allow
    chroot: ""
    username: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    logfile: "{folder}/log"
    module-config: "iterator"
    local-zone: "." redirect
    local-data: ". 60 IN A 192.0.2.1"
    local-data: ". 60 IN AAAA 2001:db8::1"
remote-control:
    control-enable: no
dnstap:
    dnstap-enable: yes
    dnstap-socket-path: "{socket}"
    dnstap-send-identity: yes
    dnstap-send-version: yes
    dnstap-log-client-response-messages: yes
"#,
        folder = folder.display(),
        socket = socket.display(),
    )
}

fn ask(unbound: &Process, port: u16, names: &[Vec<u8>]) -> Result<()> {
    let clients = (0..CLIENTS)
        .map(|client| {
            let address = Ipv4Addr::new(127, 1, (client >> 8) as u8, client as u8);
            let socket = UdpSocket::bind((address, 0)).context("binding a client's address")?;
            socket.connect((Ipv4Addr::LOCALHOST, port)).context("connecting a client")?;
            socket.set_read_timeout(Some(Duration::from_millis(200))).context("setting up a client")?;
            Ok(socket)
        })
        .collect::<Result<Vec<_>>>()?;
    let end = Instant::now() + PATIENCE;
    let first = clients.first().context("no client")?;
    let mut answer = [0; 1500];
    // Until it answers at all.
    loop {
        unbound.still_runs()?;
        let _ = first.send(&question(b"\x07example\0", 1));
        if first.recv(&mut answer).is_ok() {
            break;
        }
        if Instant::now() > end {
            bail!("unbound does not answer");
        }
    }
    for (window, names) in names.chunks(WINDOW).enumerate() {
        let asker = |place: usize| clients.get((window * WINDOW + place) % CLIENTS).unwrap_or(first);
        for (place, name) in names.iter().enumerate() {
            asker(place).send(&question(name, if place % 3 == 0 { 28 } else { 1 })).context("asking unbound")?;
        }
        for place in 0..names.len() {
            // One that is lost is one frame less.
            let _ = asker(place).recv(&mut answer);
        }
    }
    Ok(())
}

fn question(name: &[u8], qtype: u16) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    message.extend_from_slice(name);
    message.extend_from_slice(&qtype.to_be_bytes());
    message.extend_from_slice(&[0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    message
}

/// All data frames with their lengths.
fn take(listener: &UnixListener) -> Result<Vec<u8>> {
    let (mut stream, _): (UnixStream, _) = listener.accept().context("accepting unbound")?;
    stream.set_read_timeout(Some(PATIENCE)).context("setting up a connection")?;
    expect(&mut stream, READY)?;
    stream.write_all(ACCEPT).context("greeting unbound")?;
    expect(&mut stream, START)?;
    let mut octets = Vec::new();
    let mut buffer = [0; 64 << 10];
    loop {
        let read = stream.read(&mut buffer).context("recording")?;
        octets.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if octets.ends_with(STOP) || read == 0 {
            let _ = stream.write_all(FINISH);
            octets.truncate(octets.len() - if octets.ends_with(STOP) { STOP.len() } else { 0 });
            return Ok(octets);
        }
    }
}

fn count(octets: &[u8]) -> Result<u64> {
    let (mut rest, mut frames) = (octets, 0);
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        rest = behind.get(u32::from_be_bytes(*length) as usize..).context("a frame is cut off")?;
        frames += 1;
    }
    Ok(frames)
}
