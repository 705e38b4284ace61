//! What a real unbound says over dnstap is understood.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::Edm;
use support::broker::port::free_port;
use support::core::{Core, whole};
use tempfile::TempDir;

struct Unbound {
    _folder: TempDir,
    child: Child,
    port: u16,
}

impl Unbound {
    /// Answers from local data, so that no other server is asked.
    fn start(socket: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let configuration = format!(
            r#"
server:
    interface: 127.0.0.1@{port}
    chroot: ""
    username: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    logfile: "{folder}/log"
    module-config: "iterator"
    local-zone: "unbound.example." redirect
    local-data: "unbound.example. 60 IN A 192.0.2.1"
    local-data: "unbound.example. 60 IN TXT \"some text\""
remote-control:
    control-enable: no
dnstap:
    dnstap-enable: yes
    dnstap-socket-path: "{socket}"
    dnstap-send-identity: yes
    dnstap-send-version: yes
    dnstap-log-client-query-messages: yes
    dnstap-log-client-response-messages: yes
"#,
            folder = folder.path().display(),
            socket = socket.display(),
        );
        let file = folder.path().join("unbound.conf");
        std::fs::write(&file, configuration).unwrap();
        let child = Command::new(executable())
            .arg("-d")
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { _folder: folder, child, port }
    }

    /// Asks once; the answer's flags.
    fn ask(&self, name: &str, question_type: u16) -> u16 {
        let mut query = support::dns_message(name);
        query[2..4].copy_from_slice(&[0x01, 0x00]);
        let end = query.len();
        query[end - 4..end - 2].copy_from_slice(&question_type.to_be_bytes());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.send_to(&query, ("127.0.0.1", self.port)).unwrap();
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap();
        assert!(length > query.len() && answer[..2] == query[..2]);
        u16::from_be_bytes([answer[2], answer[3]])
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn executable() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let found = folders.into_iter().map(|folder| folder.join("unbound")).find(|file| file.is_file());
    found.expect("unbound is not installed; run `cargo xtask test --fast`, which brings it along")
}

#[tokio::test(flavor = "multi_thread")]
async fn unbound_is_understood() {
    let mut core = Core::start().await;
    let edm = Edm::start(whole(&core)).await;
    edm.status_becomes("/core/connected", true).await;
    let unbound = Unbound::start(&edm.files().socket());
    edm.status_becomes("/edm/connections", 1).await;

    let flags = unbound.ask("First.unbound.example.", 1);
    let event = core.event().await;
    assert_eq!(event["qname"], "First.unbound.example.");
    assert_eq!((&event["qtype"], &event["qclass"], &event["flags"]), (&1.into(), &1.into(), &flags.into()));
    let age = jiff::Timestamp::now().duration_since(event["timestamp"].as_str().unwrap().parse().unwrap());
    assert!((0..120).contains(&age.as_secs()), "{age:?}");

    unbound.ask("first.unbound.example.", 16);
    unbound.ask("second.unbound.example.", 16);
    assert_eq!(core.event().await["qtype"], 16);
    core.nothing_more().await;
    edm.metric_becomes("input_frames_total", 6).await;
    edm.metric_becomes("frames_total{outcome=\"type_not_counted\"}", 3).await;
    edm.metric_becomes("event_candidates_total{outcome=\"seen\"}", 1).await;

    // unbound goes, and a new one starts a new session.
    drop(unbound);
    edm.status_becomes("/edm/connections", 0).await;
    let unbound = Unbound::start(&edm.files().socket());
    edm.status_becomes("/edm/connections", 1).await;
    unbound.ask("third.unbound.example.", 1);
    assert_eq!(core.name().await, "third.unbound.example.");
    edm.stop().await;
}
