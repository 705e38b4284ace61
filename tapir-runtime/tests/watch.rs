//! Folders as Kubernetes mounts them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use tapir_runtime::shutdown::Shutdown;
use tapir_runtime::watch::DirectoryWatch;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(60);
/// What comes sooner came by an event: the safety net looks every ten seconds.
const PROMPT: Duration = Duration::from_secs(8);
const MOMENT: Duration = Duration::from_millis(400);

/// What the kubelet does: a new folder, and `..data` renamed onto it.
fn publish(volume: &Path, version: &str, files: &[(&str, &str)]) {
    let folder = volume.join(format!("..{version}"));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, content) in files {
        std::fs::write(folder.join(name), content).unwrap();
    }
    let temporary = volume.join("..data_tmp");
    symlink(format!("..{version}"), &temporary).unwrap();
    std::fs::rename(&temporary, volume.join("..data")).unwrap();
    for (name, _) in files {
        let _ = symlink(Path::new("..data").join(name), volume.join(name));
    }
}

async fn fires(watch: &mut DirectoryWatch) -> bool {
    timeout(PATIENCE, watch.changed()).await.is_ok()
}

async fn stays_quiet(watch: &mut DirectoryWatch) -> bool {
    timeout(MOMENT, watch.changed()).await.is_err()
}

#[tokio::test]
async fn a_swap_of_data_is_one_prompt_change() {
    let volume = tempfile::tempdir().unwrap();
    publish(volume.path(), "1", &[("edm.toml", "a"), ("tls.crt", "a")]);
    let (_reload, shutdown) = Shutdown::manual();
    let mut watch = DirectoryWatch::new(volume.path(), shutdown.reloads());
    assert!(stays_quiet(&mut watch).await, "nothing changed yet");
    for version in ["2", "3", "4"] {
        publish(volume.path(), version, &[("edm.toml", version), ("tls.crt", version)]);
        let start = Instant::now();
        assert!(fires(&mut watch).await);
        assert!(start.elapsed() < PROMPT, "by the event, not by the safety net");
        assert_eq!(std::fs::read_to_string(volume.path().join("edm.toml")).unwrap(), version);
        assert!(stays_quiet(&mut watch).await, "once for each swap");
    }
}

#[tokio::test]
async fn a_swap_to_the_same_content_is_no_change() {
    let volume = tempfile::tempdir().unwrap();
    publish(volume.path(), "1", &[("edm.toml", "a")]);
    let (_reload, shutdown) = Shutdown::manual();
    let mut watch = DirectoryWatch::new(volume.path(), shutdown.reloads());
    publish(volume.path(), "2", &[("edm.toml", "a")]);
    assert!(stays_quiet(&mut watch).await);
}

#[tokio::test]
async fn a_call_that_is_cancelled_again_and_again_still_tells_promptly() {
    let volume = tempfile::tempdir().unwrap();
    publish(volume.path(), "1", &[("edm.toml", "a")]);
    let (_reload, shutdown) = Shutdown::manual();
    let mut watch = DirectoryWatch::new(volume.path(), shutdown.reloads());
    publish(volume.path(), "2", &[("edm.toml", "b")]);
    // Cancelled while it waits for the folder to become quiet: the event is gone, the change must not be.
    assert!(timeout(Duration::from_millis(20), watch.changed()).await.is_err());
    assert!(timeout(Duration::from_millis(20), watch.changed()).await.is_err());
    let start = Instant::now();
    assert!(fires(&mut watch).await);
    assert!(start.elapsed() < PROMPT, "by the event");
}

#[tokio::test]
async fn a_folder_that_comes_late_is_seen_and_then_watched() {
    let parent = tempfile::tempdir().unwrap();
    let volume = parent.path().join("edm");
    let (_reload, shutdown) = Shutdown::manual();
    let mut watch = DirectoryWatch::new(&volume, shutdown.reloads());
    assert!(stays_quiet(&mut watch).await);
    std::fs::create_dir(&volume).unwrap();
    publish(&volume, "1", &[("edm.toml", "a")]);
    assert!(fires(&mut watch).await);
    let start = Instant::now();
    publish(&volume, "2", &[("edm.toml", "b")]);
    assert!(fires(&mut watch).await);
    assert!(start.elapsed() < PROMPT, "by the event");
}

#[tokio::test]
async fn a_folder_that_was_replaced_is_watched_again() {
    let parent = tempfile::tempdir().unwrap();
    let volume = parent.path().join("edm");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("edm.toml"), "a").unwrap();
    let (_reload, shutdown) = Shutdown::manual();
    let mut watch = DirectoryWatch::with_poll(&volume, shutdown.reloads(), Duration::from_millis(200));
    std::fs::rename(&volume, parent.path().join("old")).unwrap();
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("edm.toml"), "b").unwrap();
    assert!(fires(&mut watch).await);
    std::fs::write(volume.join("edm.toml"), "c").unwrap();
    assert!(fires(&mut watch).await);
}

#[tokio::test]
async fn a_look_is_not_the_reason_of_the_next_one() {
    let volume = tempfile::tempdir().unwrap();
    publish(volume.path(), "1", &[("edm.toml", "a"), ("tls.crt", "a")]);
    let (_reload, shutdown) = Shutdown::manual();
    let mut watch = DirectoryWatch::new(volume.path(), shutdown.reloads());
    publish(volume.path(), "2", &[("edm.toml", "b"), ("tls.crt", "b")]);
    assert!(fires(&mut watch).await);
    assert!(timeout(Duration::from_millis(1500), watch.changed()).await.is_err());
    // The change, and perhaps an event of its own that came after the look; the safety net is ten seconds away.
    assert!(watch.looks() <= 3, "{} looks at an idle folder", watch.looks());
}

#[tokio::test]
async fn an_edited_file_on_a_plain_machine_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pop.yaml"), "a").unwrap();
    let (_reload, shutdown) = Shutdown::manual();
    let mut watch = DirectoryWatch::new(folder.path(), shutdown.reloads());
    std::fs::write(folder.path().join("pop.yaml"), "b").unwrap();
    assert!(fires(&mut watch).await);
    std::fs::remove_file(folder.path().join("pop.yaml")).unwrap();
    assert!(fires(&mut watch).await);
}

#[tokio::test]
async fn the_safety_net_finds_what_no_event_told() {
    // A file behind a link into another folder: no event of the watched folder tells of its content.
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("list"), "a").unwrap();
    symlink(elsewhere.path().join("list"), folder.path().join("list")).unwrap();
    let (_reload, shutdown) = Shutdown::manual();
    let mut watch = DirectoryWatch::with_poll(folder.path(), shutdown.reloads(), Duration::from_millis(100));
    std::fs::write(elsewhere.path().join("list"), "b").unwrap();
    assert!(fires(&mut watch).await);
}

#[tokio::test]
async fn sighup_fires_without_any_change() {
    let folder = tempfile::tempdir().unwrap();
    let shutdown = Shutdown::on_signals().unwrap();
    let mut watch = DirectoryWatch::new(folder.path(), shutdown.reloads());
    assert!(stays_quiet(&mut watch).await);
    for _ in 0..2 {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGHUP).unwrap();
        assert!(fires(&mut watch).await);
        assert!(stays_quiet(&mut watch).await);
    }
    // And SIGTERM is the end, in this same test because signals belong to the whole process.
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
    timeout(PATIENCE, shutdown.requested()).await.unwrap();
    assert!(shutdown.is_triggered());
}

#[tokio::test]
async fn without_anybody_to_send_reloads_the_folder_is_watched_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (reload, shutdown) = Shutdown::manual();
    let mut watch = DirectoryWatch::new(folder.path(), shutdown.reloads());
    drop(reload);
    assert!(stays_quiet(&mut watch).await);
    std::fs::write(folder.path().join("x"), "a").unwrap();
    assert!(fires(&mut watch).await);
}
