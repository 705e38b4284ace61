//! The dnstap socket: what resolvers do to it, and what they must never be able to do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::broker::soon;
use support::{Resolver, until};
use tapir_edm::input::{End, Frames, HANDSHAKE_LIMIT, Listener, SocketState, frame_queue};
use tapir_edm::metrics::{ClosedLabels, Metrics};
use tapir_runtime::shutdown::Shutdown;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

struct Scene {
    folder: TempDir,
    frames: Frames,
    metrics: Arc<Metrics>,
    state: watch::Receiver<SocketState>,
    path: watch::Sender<PathBuf>,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

impl Scene {
    fn start(max_connections: usize, prepare: impl FnOnce(&Path)) -> Self {
        Self::with_limit(max_connections, HANDSHAKE_LIMIT, prepare)
    }

    fn with_limit(max_connections: usize, handshake_limit: Duration, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("run/dnstap.sock");
        prepare(&socket);
        let (queue, frames) = frame_queue();
        let metrics = Arc::new(Metrics::default());
        let (state_sender, state) = watch::channel(SocketState::default());
        let (path, path_receiver) = watch::channel(socket);
        let (_, shutdown) = Shutdown::manual();
        let listener =
            Listener { frames: queue, metrics: Arc::clone(&metrics), state: state_sender, max_connections, handshake_limit };
        let task = tokio::spawn(listener.run(path_receiver, shutdown.clone()));
        Self { folder, frames, metrics, state, path, shutdown, task }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/dnstap.sock")
    }

    async fn state_becomes(&mut self, holds: impl FnMut(&SocketState) -> bool) -> SocketState {
        soon("state", self.state.wait_for(holds)).await.unwrap().clone()
    }

    async fn connect(&self) -> Resolver {
        Resolver::connect(&self.socket()).await
    }

    async fn next_frame(&mut self) -> Vec<u8> {
        soon("frame", self.frames.recv()).await.unwrap().payload.to_vec()
    }

    async fn ended(&self, end: End, count: u64) {
        until(&format!("{end:?}"), async || self.metrics.connections_closed.get_or_create(&ClosedLabels { end }).get() == count)
            .await;
    }
}

#[tokio::test]
async fn a_session_from_ready_to_finish_again_and_again() {
    let mut scene = Scene::start(10, |_| ());
    for round in 0..3u8 {
        let mut resolver = scene.connect().await;
        resolver.send(&[round, 1]).await;
        resolver.send(&[round, 2]).await;
        assert_eq!(scene.next_frame().await, [round, 1]);
        assert_eq!(scene.next_frame().await, [round, 2]);
        resolver.stop().await;
        scene.ended(End::Finished, u64::from(round) + 1).await;
    }
    assert_eq!(scene.metrics.frames.get(), 6);
    assert_eq!(scene.metrics.connections.get(), 0);
}

#[tokio::test]
async fn bad_peers_do_not_harm_a_good_one() {
    let mut scene = Scene::start(50, |_| ());
    let mut good = scene.connect().await;
    // Not Frame Streams at all; START without READY; a data frame without handshake; a control frame that is too long.
    let openings: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2], &[0, 0, 0, 1, 9], &[0, 0, 0, 0, 0, 0, 2, 1]];
    for opening in openings {
        let mut bad = Resolver::connect_only(&scene.socket()).await;
        bad.stream.write_all(opening).await.unwrap();
        // "GET " announces a frame of a gigabyte: it is thrown away until the sender goes.
        if opening.starts_with(b"GET") {
            drop(bad);
            scene.ended(End::Cut, 1).await;
        } else {
            bad.closed().await;
        }
    }
    scene.ended(End::Protocol, 3).await;

    let mut cut = scene.connect().await;
    cut.stream.write_all(&[0, 0, 0, 9, 1, 2]).await.unwrap();
    drop(cut);
    scene.ended(End::Cut, 2).await;

    let mut oversized = scene.connect().await;
    oversized.stream.write_all(&(98_305u32).to_be_bytes()).await.unwrap();
    oversized.stream.write_all(&vec![1; 98_305]).await.unwrap();
    oversized.closed().await;
    scene.ended(End::Protocol, 4).await;

    good.send(b"still here").await;
    assert_eq!(scene.next_frame().await, b"still here");
    assert_eq!(scene.metrics.connections.get(), 1);
}

#[tokio::test]
async fn half_open_peers_are_sent_away_in_time_and_talkers_are_not() {
    const LIMIT: Duration = Duration::from_secs(1);
    assert_eq!(HANDSHAKE_LIMIT, LIMIT * 5);
    let mut scene = Scene::with_limit(50, LIMIT, |_| ());
    let mut good = scene.connect().await;
    let started = Instant::now();
    let mut silent = Resolver::connect_only(&scene.socket()).await;
    let mut dripping = Resolver::connect_only(&scene.socket()).await;
    // An octet now and then is no progress: the time is for the whole frame.
    let drip = tokio::spawn(async move {
        while dripping.stream.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(LIMIT / 6).await;
        }
    });
    silent.closed().await;
    soon("end of the dripping peer", drip).await.unwrap();
    scene.ended(End::HandshakeTimeout, 2).await;
    assert!((LIMIT..LIMIT * 4).contains(&started.elapsed()), "{:?}", started.elapsed());

    // Silent for longer than the handshake may take, but in the data phase.
    good.send(b"data").await;
    assert_eq!(scene.next_frame().await, b"data");
}

#[tokio::test]
async fn the_socket_is_drained_while_nobody_takes_the_frames() {
    let mut scene = Scene::start(10, |_| ());
    let mut resolver = scene.connect().await;
    let frame = vec![7; 1000];
    soon("writing 20 000 frames", async {
        for _ in 0..20_000 {
            resolver.send(&frame).await;
        }
    })
    .await;
    resolver.stop().await;
    assert_eq!(scene.metrics.frames.get(), 20_000);
    let mut kept = 0;
    while scene.frames.try_recv().is_ok() {
        kept += 1;
    }
    assert!(kept > 0);
    assert_eq!(scene.metrics.frames_dropped.get() + kept, 20_000);
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let scene = Scene::start(2, |_| ());
    let first = scene.connect().await;
    let _second = scene.connect().await;
    let mut third = Resolver::connect_only(&scene.socket()).await;
    third.closed().await;
    scene.ended(End::Limit, 1).await;
    first.stop().await;
    scene.ended(End::Finished, 1).await;
    scene.connect().await.stop().await;
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_anybody_may_connect() {
    let scene = Scene::start(2, |socket| {
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
    });
    scene.connect().await.stop().await;
    let mode = std::fs::metadata(scene.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
}

#[tokio::test]
async fn a_file_that_is_no_socket_stays_and_is_reported() {
    let mut scene = Scene::start(2, |socket| {
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        std::fs::write(socket, "precious").unwrap();
    });
    let state = scene.state_becomes(|state| state.error.is_some()).await;
    assert!(!state.listening && state.error.unwrap().contains("not a socket"));
    assert_eq!(std::fs::read_to_string(scene.socket()).unwrap(), "precious");
    std::fs::remove_file(scene.socket()).unwrap();
    scene.connect().await.stop().await;
}

#[tokio::test]
async fn a_socket_file_that_vanished_comes_back_and_nobody_is_thrown_out() {
    let mut scene = Scene::start(5, |_| ());
    let mut connected = scene.connect().await;
    std::fs::remove_file(scene.socket()).unwrap();
    scene.connect().await.stop().await;
    connected.send(b"still here").await;
    assert_eq!(scene.next_frame().await, b"still here");
}

#[tokio::test]
async fn follows_its_path_and_cleans_up() {
    let mut scene = Scene::start(5, |_| ());
    let mut connected = scene.connect().await;
    let second = scene.folder.path().join("other/dnstap.sock");
    scene.path.send_replace(second.clone());
    Resolver::connect(&second).await.stop().await;
    assert!(!scene.socket().exists());
    connected.send(b"still here").await;
    assert_eq!(scene.next_frame().await, b"still here");
    scene.shutdown.trigger();
    soon("end", &mut scene.task).await.unwrap();
    connected.closed().await;
    assert!(!second.exists());
}

#[tokio::test]
async fn a_new_path_that_cannot_be_bound_leaves_the_old_one_in_service() {
    let mut scene = Scene::start(5, |_| ());
    scene.connect().await.stop().await;
    let second = scene.folder.path().join("other.sock");
    std::fs::write(&second, "precious").unwrap();
    scene.path.send_replace(second.clone());
    let state = scene.state_becomes(|state| state.error.is_some()).await;
    let error = state.error.unwrap();
    assert!(error.contains("other.sock: there is a file") && error.ends_with("dnstap.sock stays in service"), "{error}");
    assert!(state.listening);
    scene.connect().await.stop().await;
    // Also when its file is lost meanwhile.
    std::fs::remove_file(scene.socket()).unwrap();
    scene.connect().await.stop().await;

    // The new one comes as soon as it can, and only then goes the old one.
    std::fs::remove_file(&second).unwrap();
    Resolver::connect(&second).await.stop().await;
    scene.state_becomes(|state| *state == SocketState { listening: true, error: None }).await;
    assert!(!scene.socket().exists());

    // Back to what is there: nothing is wrong any more.
    std::fs::write(scene.socket(), "precious").unwrap();
    scene.path.send_replace(scene.socket());
    scene.state_becomes(|state| state.error.is_some()).await;
    scene.path.send_replace(second.clone());
    scene.state_becomes(|state| *state == SocketState { listening: true, error: None }).await;
    Resolver::connect(&second).await.stop().await;
}
