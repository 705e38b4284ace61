//! The dnstap input over unix sockets, TCP and TLS: what resolvers do to it, what they must never be able to do, and what our own side must
//! never do to them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "dnstap_input/scene.rs"]
mod scene;
#[path = "dnstap_input/sender.rs"]
mod sender;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use scene::{ALL, Authority, Scene, Transport};
use sender::{DNSTAP, PATIENCE, READY, START, STOP, Sender, Trust, control, data, until};
use tapir_edm::input::{End, Endpoint, Limits};

#[test]
fn a_session_from_ready_to_finish_again_and_again_over_everything() {
    for transport in ALL {
        let scene = Scene::start(transport);
        for round in 0..3u8 {
            let mut sender = scene.connect(transport);
            sender.send(&[round, 1]);
            sender.write(&[data(&[round, 2]), data(&[9; 98_304])].concat()).unwrap();
            sender.stop();
            scene.ended(End::Finished, u64::from(round) + 1);
            scene.seen(&[round, 2]);
        }
        assert_eq!((scene.count(), scene.counts.frames.get(), scene.counts.frames_dropped.get()), (9, 9, 0), "{transport:?}");
        assert_eq!(scene.counts.connections.get(), 0);
        assert!(scene.counts.octets.get() > 3 * 98_304 && scene.counts.full_reads.get() > 0);
    }
}

#[test]
fn a_sender_that_takes_leave_without_waiting_has_finished() {
    for transport in [Transport::Unix, Transport::Tcp] {
        let scene = Scene::start(transport);
        for round in 1..=20 {
            let mut sender = scene.connect(transport);
            sender.write(&[data(b"last"), control(STOP, &[])].concat()).unwrap();
            drop(sender);
            scene.ended(End::Finished, round);
        }
        assert_eq!(scene.count(), 20, "{transport:?}");
    }
}

/// However the octets are cut into writes.
#[test]
fn cut_anywhere_the_frames_are_the_same() {
    let stream = [data(b"one"), control(READY, &[]), data(b"two"), data(b"three"), control(STOP, &[])].concat();
    let scene = Scene::start(Transport::Unix);
    for cut in 0..stream.len() {
        let mut sender = scene.connect(Transport::Unix);
        sender.write(&stream[..cut]).unwrap();
        sender.write(&stream[cut..]).unwrap();
        assert_eq!(sender.read_control(), control(sender::FINISH, &[]));
    }
    scene.ended(End::Finished, stream.len() as u64);
    let frames = scene.seen.frames.lock().unwrap();
    for frame in [b"one".as_slice(), b"two", b"three"] {
        assert_eq!(frames.iter().filter(|seen| *seen == frame).count(), stream.len());
    }
}

#[test]
fn bad_peers_do_not_harm_a_good_one() {
    for transport in ALL {
        let scene = Scene::start(transport);
        let mut good = scene.connect(transport);
        // Not Frame Streams; START without READY; data without handshake; a control frame that is too long; another content type.
        let openings = [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            control(START, &[DNSTAP]),
            data(&[9]),
            vec![0, 0, 0, 0, 0, 0, 2, 1],
            control(READY, &[b"other"]),
            vec![0xff; 100_000],
        ];
        for opening in &openings {
            let mut bad = scene.connect_only(transport);
            let _ = bad.write(opening);
            bad.closed();
        }
        scene.ended(End::Protocol, 6);

        let mut cut = scene.connect(transport);
        cut.write(&[&data(b"whole"), [0, 0, 0, 9, 1, 2].as_slice()].concat()).unwrap();
        drop(cut);
        scene.ended(End::Cut, 1);
        scene.seen(b"whole");
        drop(scene.connect(transport));
        scene.ended(End::Closed, 1);

        let mut oversized = scene.connect(transport);
        oversized.send(b"before");
        oversized.write(&98_305u32.to_be_bytes()).unwrap();
        oversized.write(&vec![1; 98_305]).unwrap();
        oversized.closed();
        scene.ended(End::Protocol, 7);
        scene.seen(b"before");

        good.send(b"still here");
        scene.seen(b"still here");
        assert_eq!(scene.counts.connections.get(), 1, "{transport:?}");
    }
}

#[test]
fn silent_and_dripping_peers_are_sent_away_in_time_and_talkers_are_not() {
    let limits = Limits { handshake: Duration::from_secs(2), ..Limits::default() };
    for transport in ALL {
        let scene = Scene::with(transport, limits);
        let mut good = scene.connect(transport);
        let mut silent = scene.connect_only(transport);
        let mut half = scene.connect_only(transport);
        half.write(&control(READY, &[DNSTAP])).unwrap();
        half.read_control();
        let mut dripping = scene.connect_only(transport);
        // An octet now and then is no progress: the time is for the whole frame, here the longest.
        let drip = thread::spawn(move || {
            let begun = Instant::now();
            dripping.write(&[0, 0, 0, 0, 0, 0, 2, 0]).unwrap();
            while dripping.write(&[0]).is_ok() {
                assert!(begun.elapsed() < PATIENCE, "still there");
                thread::sleep(limits.handshake / 6);
            }
        });
        silent.closed();
        half.closed();
        drip.join().unwrap();
        scene.ended(End::HandshakeTimeout, 3);
        good.send(b"data");
        scene.seen(b"data");
    }
}

/// Who says nothing, or something that is no TLS, or drips TLS, is sent away; and so is who has no business here.
#[test]
fn tls_that_comes_to_nothing() {
    let limits = Limits { handshake: Duration::from_secs(1), ..Limits::default() };
    let scene = Scene::with(Transport::Mutual, limits);
    let mut good = scene.connect(Transport::Mutual);
    let mut silent = Sender::tcp(scene.address());
    silent.gone();
    scene.ended(End::HandshakeTimeout, 1);
    let mut dripping = Sender::tcp(scene.address());
    let begun = Instant::now();
    // The beginning of a record that would be longer than the time.
    dripping.write(&[0x16, 3, 1, 2, 0]).unwrap();
    while dripping.write(&[1]).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "still there");
        thread::sleep(limits.handshake / 6);
    }
    until("end of the dripping one", || scene.counts.connections.get() == 1);

    let mut plain = Sender::tcp(scene.address());
    plain.write(&control(READY, &[DNSTAP])).unwrap();

    let others = Authority::new();
    let strangers =
        [Trust { client: None, ..scene.trust.clone() }, Trust { client: Some(others.issue()), ..scene.trust.clone() }];
    for stranger in strangers {
        // The client of TLS 1.3 learns of it with its first read.
        if let Ok(mut sender) = Sender::tls(scene.address(), &stranger) {
            let _ = sender.write(&control(READY, &[DNSTAP]));
            sender.closed();
        }
    }
    assert!(Sender::tls_with(scene.address(), scene.trust.config_for(&[&rustls::version::TLS12])).is_err());
    until("all others refused", || scene.counts.connections.get() == 1 && closed_by_tls(&scene) == 4);
    good.send(b"still here");
    scene.seen(b"still here");
}

fn closed_by_tls(scene: &Scene) -> u64 {
    scene.counts.closed.get_or_create(&tapir_edm::metrics::ClosedLabels { end: End::Tls }).get()
}

/// The work on one frame does not come back; the resolver writes on as if nothing was, and others are served.
#[test]
fn a_resolver_never_waits_for_a_stuck_sink() {
    for transport in ALL {
        let limits = Limits { stuck: Duration::from_millis(100), ..Limits::default() };
        let mut scene = Scene::with(transport, limits);
        let mut sender = scene.connect(transport);
        sender.send(b"stuck");
        // Far more than all buffers hold.
        let many = data(&[7; 1000]).repeat(200);
        for _ in 0..100 {
            sender.write(&many).unwrap();
        }
        let mut other = scene.connect(transport);
        other.send(b"of another");
        scene.seen(b"of another");
        assert!(!scene.seen.frames.lock().unwrap().contains(&b"stuck".to_vec()));
        // The frames that are dropped are counted, and a frame that was begun meanwhile is found whole afterwards.
        let half = data(b"whole");
        sender.write(&half[..6]).unwrap();
        until("all but the last frame read", || scene.counts.frames.get() == 20_002);
        scene.seen.open();
        scene.seen(b"stuck");
        sender.write(&half[6..]).unwrap();
        scene.seen(b"whole");
        until("all accounted for", || scene.count() + scene.counts.frames_dropped.get() == 20_003);
        assert!(scene.counts.frames_dropped.get() > 10_000, "{transport:?}");
        assert!(scene.counts.lag.behind(Instant::now()).pause >= limits.stuck);
        sender.stop();
        drop(other);
        scene.stop();
    }
}

/// Also the end of a session comes in time.
#[test]
fn a_stuck_sink_does_not_hold_up_the_farewell() {
    let scene = Scene::with(Transport::Unix, Limits { stuck: Duration::from_millis(50), ..Limits::default() });
    let mut sender = scene.connect(Transport::Unix);
    sender.send(b"stuck");
    until("frame read", || scene.counts.frames.get() == 1);
    sender.stop();
    assert_eq!(scene.counts.connections.get(), 1, "its thread is still at it");
    scene.seen.open();
    scene.ended(End::Finished, 1);
}

#[test]
fn a_panic_costs_one_connection_and_not_the_process() {
    // Whoever begins the log is told of panics.
    let _last_lines = tapir_runtime::logging::init("test");
    for transport in ALL {
        let scene = Scene::start(transport);
        let mut other = scene.connect(transport);
        let mut sender = scene.connect(transport);
        sender.send(b"panic");
        sender.closed();
        scene.ended(End::Failed, 1);
        other.send(b"of another");
        scene.seen(b"of another");
        scene.connect(transport).stop();
    }
    assert!(std::pin::pin!(tapir_runtime::panics::happened()).now_or_never().is_none(), "the process would end");
}

#[test]
fn one_connection_too_many_is_refused_and_counted() {
    for transport in [Transport::Unix, Transport::Tcp] {
        let scene = Scene::with(transport, Limits { connections: 2, ..Limits::default() });
        let first = scene.connect(transport);
        let _second = scene.connect(transport);
        for refused in 1..=3 {
            scene.connect_only(transport).closed();
            scene.ended(End::Limit, refused);
        }
        first.stop();
        scene.ended(End::Finished, 1);
        scene.connect(transport).stop();
    }
}

#[test]
fn the_idle_go_and_the_busy_stay() {
    for transport in ALL {
        let scene = Scene::with(transport, Limits { idle: Some(Duration::from_secs(2)), ..Limits::default() });
        let mut idle = scene.connect(transport);
        let mut busy = scene.connect(transport);
        let done = Arc::new(AtomicBool::new(false));
        let working = Arc::clone(&done);
        let work = thread::spawn(move || {
            while !working.load(Ordering::Relaxed) {
                busy.send(b"busy");
                thread::sleep(Duration::from_millis(50));
            }
            busy
        });
        idle.closed();
        scene.ended(End::Idle, 1);
        done.store(true, Ordering::Relaxed);
        work.join().unwrap().stop();
    }
}

/// What was received before is handed over; and the end does not wait for what does not come back.
#[test]
fn shutdown_drains_what_was_received_within_its_time() {
    for transport in [Transport::Unix, Transport::Tcp] {
        let limits = Limits { stuck: PATIENCE, grace: PATIENCE, ..Limits::default() };
        let mut scene = Scene::with(transport, limits);
        let mut sender = scene.connect(transport);
        sender.send(b"stuck");
        until("frame read", || scene.counts.frames.get() == 1);
        // Less than a socket holds.
        sender.write(&data(b"late").repeat(500)).unwrap();
        scene.shutdown.trigger();
        until("socket closed", || transport == Transport::Tcp || !scene.socket().exists());
        assert_eq!(scene.count(), 0);
        scene.seen.open();
        scene.stop();
        assert_eq!(scene.count(), 501, "{transport:?}");
        scene.ended(End::Shutdown, 1);
    }
    let limits = Limits { grace: Duration::from_millis(100), ..Limits::default() };
    let mut scene = Scene::with(Transport::Unix, limits);
    let mut sender = scene.connect(Transport::Unix);
    sender.send(b"stuck");
    until("frame read", || scene.counts.frames.get() == 1);
    scene.stop();
    assert_eq!(scene.counts.connections.get(), 1, "given up, not waited for");
    scene.seen.open();
}

/// Somebody who sends without end does not keep the process from ending.
#[test]
fn shutdown_ends_under_load() {
    let mut scene = Scene::with(Transport::Tcp, Limits { grace: Duration::from_millis(200), ..Limits::default() });
    let mut sender = scene.connect(Transport::Tcp);
    let load = thread::spawn(move || while sender.write(&data(&[7; 200]).repeat(50)).is_ok() {});
    until("load", || scene.count() > 1000);
    scene.stop();
    scene.ended(End::Shutdown, 1);
    load.join().unwrap();
}

#[test]
fn a_stale_socket_is_replaced_and_its_mode_is_as_wanted() {
    let scene = Scene::prepared(Transport::Unix, Limits::default(), |socket| {
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        drop(UnixListener::bind(socket).unwrap());
    });
    scene.connect(Transport::Unix).stop();
    let mode = || std::fs::metadata(scene.socket()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o666);
    scene.endpoint.send_replace(Endpoint::Unix { path: scene.socket(), mode: 0o660 });
    until("other mode", || mode() == 0o660);
    // The file that vanished comes back with it.
    std::fs::remove_file(scene.socket()).unwrap();
    scene.connect(Transport::Unix).stop();
    assert_eq!(mode(), 0o660);
}

#[test]
fn a_file_that_is_no_socket_stays_and_is_reported() {
    let scene = Scene::prepared(Transport::Unix, Limits::default(), |socket| {
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        std::fs::write(socket, "precious").unwrap();
    });
    let state = scene.state_becomes(|state| state.error.is_some());
    assert!(state.listening.is_none() && state.error.unwrap().contains("not a socket"));
    assert_eq!(std::fs::read_to_string(scene.socket()).unwrap(), "precious");
    std::fs::remove_file(scene.socket()).unwrap();
    scene.connect(Transport::Unix).stop();
}

/// From a socket to TCP and on to TLS with one certificate and another; who is connected stays.
#[test]
fn follows_its_endpoint() {
    let mut scene = Scene::start(Transport::Unix);
    let mut connected = scene.connect(Transport::Unix);
    scene.endpoint.send_replace(Endpoint::Tcp("no such host and port".to_owned()));
    let error = scene.state_becomes(|state| state.error.is_some()).error.unwrap();
    assert!(error.ends_with("dnstap.sock stays in service"), "{error}");
    scene.connect(Transport::Unix).stop();

    scene.endpoint.send_replace(Endpoint::Tcp("127.0.0.1:0".to_owned()));
    until("TCP", || scene.state.borrow().listening.as_ref().is_some_and(|place| place.starts_with("127.")));
    assert!(!scene.socket().exists());
    let address = scene.address();
    Sender::tcp(address).closed_after(&control(START, &[]));
    for _ in 0..2 {
        let authority = Authority::new();
        scene.endpoint.send_replace(Endpoint::Tls("127.0.0.1:0".to_owned(), authority.server(None)));
        let trust = Trust { server: authority.pem(), client: None };
        let mut sender = None;
        until("the new certificate", || {
            sender = Sender::tls(address, &trust).ok();
            sender.is_some()
        });
        let mut sender = sender.unwrap();
        sender.shake_hands();
        sender.stop();
        assert_eq!(scene.address(), address);
    }
    connected.send(b"still here");
    scene.seen(b"still here");
    scene.stop();
    connected.closed();
}

/// A resolver whose machine vanished says nothing any more, and without a limit for silence only the kernel can find out.
#[test]
fn the_kernel_asks_a_silent_peer_of_the_network_whether_it_is_still_there() {
    for transport in [Transport::Tcp, Transport::Tls, Transport::Mutual] {
        let scene = Scene::start(transport);
        let _silent = scene.connect(transport);
        until("one connection", || scene.counts.connections.get() == 1);
        let mut seen = None;
        until(&format!("{transport:?}: a timer that will ask within half a minute"), || {
            seen = timer(scene.address().port());
            seen.is_some_and(|(kind, ticks)| kind == KEEP_ALIVE && ticks <= 30 * TICKS)
        });
        assert!(seen.unwrap().1 > 0);
    }
}

/// Kind of a timer of `/proc/net/tcp`, and its ticks a second.
const KEEP_ALIVE: u64 = 2;
const TICKS: u64 = 100;

/// Kind of the timer of the connection that was accepted at a port, and the time until it goes off.
fn timer(port: u16) -> Option<(u64, u64)> {
    const ESTABLISHED: &str = "01";
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut fields = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = fields.find(|fields| fields[1].ends_with(&format!(":{port:04X}")) && fields[3] == ESTABLISHED)?;
    let number = |hex| u64::from_str_radix(hex, 16).unwrap();
    let (kind, ticks) = ours[5].split_once(':').unwrap();
    Some((number(kind), number(ticks)))
}
