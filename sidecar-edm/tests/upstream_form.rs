//! Upstream's configuration file as it lies on a VM, with a file for each key: the real program, from its start to event and aggregate, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/receiver.rs"]
mod receiver;
mod support;

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use receiver::Receiver;
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use support::broker::port::free_port;
use support::broker::soon;
use support::core::Core;
use support::{Files, NODE, Resolver, ask, get, until};
use tempfile::TempDir;

/// Does not outlive a test that fails.
struct Running(Option<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Running {
    /// In `folder`, from which relative files are named.
    fn start(folder: &Path, http: u16) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_tapir-edm"))
            .args(["--config-file", "etc/dnstapir-edm.toml", "run"])
            .current_dir(folder)
            .env_clear()
            .env("DNSTAPIR_EDM_HTTP_LISTEN", format!("127.0.0.1:{http}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(Some(child))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.as_ref().unwrap().id()).unwrap()), signal).unwrap();
    }

    async fn ended(mut self) -> Output {
        let child = self.0.take().unwrap();
        soon("end", tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())).await.unwrap()
    }
}

fn write(folder: &Path, name: &str, content: &[u8]) {
    let aside = folder.join("aside");
    std::fs::write(&aside, content).unwrap();
    std::fs::rename(&aside, folder.join(name)).unwrap();
}

fn certificate(folder: &Path, core: &Core, service: &str) {
    let (certificate, key) = core.authority.issue(NODE, &[NODE]);
    write(folder, &format!("edm-{service}-client.pem"), certificate.as_bytes());
    write(folder, &format!("edm-{service}-client-key.pem"), key.as_bytes());
}

fn list(folder: &Path, words: &[&str]) {
    write(folder, "well-known-domains.dawg", &tapir_wire::dawg::compile(words.iter().copied()).unwrap());
}

/// Everything that has a name of its own by default lies there under it.
fn scene(core: &Core, receiver: &Receiver, more: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    list(folder.path(), &["example.com."]);
    write(folder.path(), "ca.pem", core.authority.pem().as_bytes());
    for service in ["mqtt", "http"] {
        certificate(folder.path(), core, service);
        write(folder.path(), &format!("edm-{service}-signer-key.pem"), core.key.to_jwk().as_bytes());
    }
    let text = format!(
        "cryptopan-key = 'hush'\nmqtt-server = '{}'\nmqtt-ca-file = 'ca.pem'\nhttp-url = '{}'\nhttp-ca-file = 'ca.pem'\n\
         data-dir = 'data'\nenable-manual-parquet-rotation = true\n{more}",
        core.broker.url(),
        receiver.url(),
    );
    write(folder.path(), "etc/dnstapir-edm.toml", text.as_bytes());
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_file_serves_as_it_is_and_what_it_names_is_followed() {
    let (mut core, receiver, http) = (Core::start().await, Receiver::start(&[]).await, free_port());
    let folder = scene(&core, &receiver, "input-unix = 'dnstap.sock'\n");
    let running = Running::start(folder.path(), http);
    let mut resolver = Resolver::connect(&folder.path().join("dnstap.sock")).await;
    resolver.answered("new.example.", "198.51.100.7").await;
    assert_eq!(core.name().await, "new.example.");
    resolver.answered("example.com.", "198.51.100.7").await;
    until("both looked at", async || get(http, "/metrics").await.contains("\nedm_processed_dnstap_total 2\n")).await;
    assert_eq!(ask(http, "POST", "/debug/rotate-parquet").await, "rotation requested\n");
    let request = receiver.received(1).await.remove(0);
    assert_eq!(request.line, "POST /base/api/v1/aggregate/histogram HTTP/1.1");
    assert!(request.headers["signature-input"].contains(NODE), "{:?}", request.headers);

    // What it names, beside the working directory's watch.
    let status = async || serde_json::from_str::<Value>(&get(http, "/status").await).unwrap_or_default();
    let serial = async || status().await["core"]["certificateSerial"].clone();
    let before = serial().await;
    certificate(folder.path(), &core, "mqtt");
    list(folder.path(), &["example.com.", "example.net."]);
    running.signal(Signal::SIGHUP);
    until("new certificate and list", async || {
        let status = status().await;
        status["core"]["connected"] == true
            && status["core"]["certificateSerial"] != before
            && status["edm"]["wellKnownDomains"] == 2
    })
    .await;
    resolver.answered("other.example.", "198.51.100.7").await;
    assert_eq!(core.name().await, "other.example.");
    resolver.stop().await;

    running.signal(Signal::SIGTERM);
    let output = running.ended().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let log = String::from_utf8(output.stdout).unwrap();
    assert!(log.contains("mqtt-qos is not set: events are sent with QoS 1 (upstream: QoS 0)") && !log.contains("hush"), "{log}");
    let sent = std::fs::read_dir(folder.path().join("data/parquet/histograms/sent")).unwrap();
    assert!(sent.count() >= 1);
}

/// Each service has a certificate of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_ends_of_all_certificates_are_told() {
    let (core, receiver, http) = (Core::start().await, Receiver::start(&[]).await, free_port());
    let more = "input-tls = '127.0.0.1:0'\ninput-tls-cert-file = 'input.pem'\ninput-tls-key-file = 'input-key.pem'\n";
    let folder = scene(&core, &receiver, more);
    let file = folder.path().join("etc/dnstapir-edm.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("http://", "https://");
    std::fs::write(&file, text).unwrap();
    let ending = |year: i32, certificate: &str, key: &str| {
        let mut params = rcgen::CertificateParams::new(vec![NODE.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let pair = rcgen::KeyPair::generate().unwrap();
        write(folder.path(), certificate, params.self_signed(&pair).unwrap().pem().as_bytes());
        write(folder.path(), key, pair.serialize_pem().as_bytes());
    };
    ending(2041, "edm-mqtt-client.pem", "edm-mqtt-client-key.pem");
    ending(2042, "edm-http-client.pem", "edm-http-client-key.pem");
    ending(2043, "input.pem", "input-key.pem");
    let running = Running::start(folder.path(), http);
    let expected =
        [("events", "2041-01-01T00:00:00Z"), ("aggregates", "2042-01-01T00:00:00Z"), ("input", "2043-01-01T00:00:00Z")];
    until("the three ends", async || {
        let status = serde_json::from_str::<Value>(&get(http, "/status").await).unwrap_or_default();
        expected.iter().all(|(service, end)| status["edm"]["certificates"][service] == *end)
    })
    .await;
    let metrics = get(http, "/metrics").await;
    for (service, end) in expected {
        let second = end.parse::<jiff::Timestamp>().unwrap().as_second();
        let line = format!("tapir_edm_certificate_not_after_timestamp_seconds{{service=\"{service}\"}} {second}\n");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ended().await.status.code(), Some(0));
}

/// Ends by itself with 1 and says why.
async fn refuses(core: &Core, receiver: &Receiver, more: &str, prepare: impl FnOnce(&Path) -> Option<std::fs::File>, why: &str) {
    let folder = scene(core, receiver, more);
    let _held = prepare(folder.path());
    let output = Running::start(folder.path(), free_port()).ended().await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let log = String::from_utf8(output.stdout).unwrap();
    assert!(log.lines().last().unwrap().contains(why), "{log}");
}

fn locked(folder: &Path) -> std::fs::File {
    std::fs::create_dir_all(folder.join("data")).unwrap();
    let file = std::fs::File::create(folder.join("data/lock")).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_cannot_listen_or_another_one_has_its_folder_it_ends_with_one() {
    let (core, receiver) = (Core::start().await, Receiver::start(&[]).await);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = format!("input-tcp = '{}'\n", taken.local_addr().unwrap());
    refuses(&core, &receiver, &tcp, |_| None, "not listening on tcp 127.0.0.1:").await;
    let unix = "input-unix = 'dnstap.sock'\n";
    refuses(&core, &receiver, unix, |folder| Some(locked(folder)), "data-dir data: another process uses it").await;
}

/// In a Pod the resolver must find its neighbour.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_own_form_it_goes_on_without_its_folder_and_listens_as_soon_as_it_can() {
    let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
    std::fs::create_dir_all(folder.path().join("config")).unwrap();
    let _held = locked(folder.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap();
    let text = format!(
        "format = 2\ninput-tcp = \"{place}\"\nhttp-listen = \"127.0.0.1:{http}\"\ndata-dir = \"{}\"\n",
        Files::of(folder.path(), http).data().display()
    );
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    write(folder.path(), "etc/dnstapir-edm.toml", text.as_bytes());
    let running = Running::start(folder.path(), http);
    until("word of the port", async || get(http, "/readyz").await.contains(&format!("not listening on tcp {place}"))).await;
    drop(taken);
    until("listening", async || get(http, "/readyz").await.trim() == "ok").await;
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ended().await.status.code(), Some(0));
}

/// Its configuration is a pipe, so that it has to wait before it has handlers for signals.
#[tokio::test(flavor = "multi_thread")]
async fn signals_that_come_too_early_wait() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    let pipe = folder.path().join("etc/dnstapir-edm.toml");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let running = Running::start(folder.path(), free_port());
    let opened = tokio::task::spawn_blocking(move || std::fs::File::options().write(true).open(pipe).unwrap());
    let mut pipe = soon("reader of the pipe", opened).await.unwrap();
    running.signal(Signal::SIGHUP);
    running.signal(Signal::SIGTERM);
    pipe.write_all(b"format = 2\n").unwrap();
    drop(pipe);
    let output = running.ended().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
