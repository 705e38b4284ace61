//! An EDM inside the test process, a resolver that speaks dnstap to it by hand, and a broker with an eye on everything.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../tapir-runtime/tests/support/mod.rs"]
pub mod broker;
pub mod core;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker::port::free_port;
use broker::{Authority, soon};
use tapir_edm::config::ConfigFile;
use tapir_edm::run::Options;
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::jwk::DataKey;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

pub const NODE: &str = "node-a.test";
const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
const ACCEPT: u32 = 1;
const START: u32 = 2;
const STOP: u32 = 3;
const READY: u32 = 4;
const FINISH: u32 = 5;

/// Waits for a condition.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// The body of a GET request; empty while nothing answers.
pub async fn get(port: u16, path: &str) -> String {
    ask(port, "GET", path).await
}

/// The body of the answer to a request; empty while nothing answers.
pub async fn ask(port: u16, method: &str, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return String::new() };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: edm\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    if stream.write_all(request.as_bytes()).await.is_err() {
        return String::new();
    }
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// A running EDM and its folders.
pub struct Edm {
    folder: TempDir,
    http: u16,
    shutdown: Shutdown,
    reloads: tokio::sync::watch::Sender<u64>,
    task: tokio::task::JoinHandle<Result<(), tapir_edm::run::Ended>>,
}

impl Edm {
    /// Starts with what `prepare` puts into the configuration folder.
    pub async fn start(prepare: impl FnOnce(&Files)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("config")).unwrap();
        Self::start_in(folder, prepare)
    }

    /// The same where another one has left its files.
    pub fn start_in(folder: TempDir, prepare: impl FnOnce(&Files)) -> Self {
        let http = free_port();
        prepare(&Files { folder: folder.path().to_owned(), http });
        let (reloads, shutdown) = Shutdown::manual();
        let options = Options {
            config_file: ConfigFile::new(folder.path().join("config/edm.toml")),
            instance: Some("x1".to_owned()),
            default_socket: folder.path().join("run/dnstap.sock"),
            default_http: ([127, 0, 0, 1], http).into(),
            default_data: folder.path().join("data"),
        };
        let task = tokio::spawn(tapir_edm::run::run(options, shutdown.clone()));
        Self { folder, http, shutdown, reloads, task }
    }

    pub fn port(&self) -> u16 {
        self.http
    }

    pub fn files(&self) -> Files {
        Files { folder: self.folder.path().to_owned(), http: self.http }
    }

    pub async fn get(&self, path: &str) -> String {
        get(self.http, path).await
    }

    pub async fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.get("/status").await).unwrap_or_default()
    }

    /// Waits until a member of the status has a value; `pointer` is a JSON pointer.
    pub async fn status_becomes(&self, pointer: &str, expected: impl Into<serde_json::Value>) {
        let expected = expected.into();
        until(&format!("{pointer} = {expected}"), async || {
            self.status().await.pointer(pointer).unwrap_or(&serde_json::Value::Null) == &expected
        })
        .await;
    }

    /// Value of a metric line, without the `tapir_edm_` in front.
    pub async fn metric(&self, line: &str) -> Option<u64> {
        let text = self.get("/metrics").await;
        let value = text.lines().find_map(|have| have.strip_prefix("tapir_edm_")?.strip_prefix(line)?.strip_prefix(' '))?;
        value.parse().ok()
    }

    pub async fn metric_becomes(&self, line: &str, expected: u64) {
        until(&format!("{line} = {expected}"), async || self.metric(line).await == Some(expected)).await;
    }

    /// Ends the minute; the configuration has to allow it.
    pub async fn rotate(&self) {
        assert_eq!(ask(self.http, "POST", "/debug/rotate-parquet").await, "rotation requested\n");
    }

    pub async fn connect(&self) -> Resolver {
        Resolver::connect(&self.files().socket()).await
    }

    pub async fn stop(self) {
        drop(self.stop_keeping().await);
    }

    /// Leaves its files for another one.
    pub async fn stop_keeping(self) -> TempDir {
        self.shutdown.trigger();
        soon("end of EDM", self.task).await.unwrap().unwrap();
        assert!(!self.folder.path().join("run/dnstap.sock").exists());
        drop(self.reloads);
        self.folder
    }
}

/// The configuration folder.
pub struct Files {
    folder: PathBuf,
    http: u16,
}

/// Behind all else, so that lines keep their numbers.
const RATES: &str = "newqname-per-second = 1000000\nnewqname-per-domain = 1000000\nnewqname-sent-per-second = 1000000\n";

impl Files {
    /// Of a program that is started with this folder and this port.
    pub fn of(folder: &Path, http: u16) -> Self {
        Self { folder: folder.to_owned(), http }
    }

    pub fn http(&self) -> u16 {
        self.http
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("run/dnstap.sock")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A whole configuration with some lines more. Events as many as come: tests are quicker than the limits.
    pub fn write_config(&self, more: &str) {
        let text = format!(
            "format = 2\ninput-unix = \"{}\"\nhttp-listen = \"127.0.0.1:{}\"\ndata-dir = \"{}\"\n{more}\n{RATES}",
            self.socket().display(),
            self.http,
            self.data().display()
        );
        self.write("edm.toml", text.as_bytes());
    }

    /// Replaces a file at once, as Kubernetes does.
    pub fn write(&self, name: &str, content: &[u8]) {
        let aside = self.folder.join("aside");
        std::fs::write(&aside, content).unwrap();
        std::fs::rename(&aside, self.config().join(name)).unwrap();
    }

    pub fn write_list(&self, words: &[&str]) {
        self.write("well-known-domains.dawg", &tapir_wire::dawg::compile(words.iter().copied()).unwrap());
    }

    /// A new certificate for the node, and its unchanging rest. All files become visible at once, through `..data`.
    pub fn write_identity(&self, authority: &Authority, broker: &str, key: &DataKey) {
        self.write_identity_for(authority, &format!(r#""mqttBroker":"{broker}""#), key);
    }

    /// The same with whatever Core told of itself.
    pub fn write_identity_for(&self, authority: &Authority, told: &str, key: &DataKey) {
        let (certificate, private) = authority.issue(NODE, &[NODE]);
        self.write("tls.crt", certificate.as_bytes());
        self.write("tls.key", private.as_bytes());
        self.write("ca.crt", authority.pem().as_bytes());
        self.write("datakey.jwk", key.to_jwk().as_bytes());
        self.write("node.json", format!(r#"{{"format":1,"name":"{NODE}",{told},"mqttTopics":{{}}}}"#).as_bytes());
    }
}

/// A resolver's end of a dnstap connection.
pub struct Resolver {
    pub stream: UnixStream,
}

impl Resolver {
    /// Connects as soon as somebody listens, and shakes hands.
    pub async fn connect(socket: &Path) -> Self {
        let mut resolver = Self::connect_only(socket).await;
        resolver.stream.write_all(&control(READY, true)).await.unwrap();
        assert_eq!(resolver.read_control().await, control(ACCEPT, true));
        resolver.stream.write_all(&control(START, true)).await.unwrap();
        resolver
    }

    /// Connects and says nothing.
    pub async fn connect_only(socket: &Path) -> Self {
        soon("dnstap connection", async {
            loop {
                match UnixStream::connect(socket).await {
                    Ok(stream) => return Self { stream },
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        })
        .await
    }

    /// Tells of an answer to a client.
    pub async fn answered(&mut self, name: &str, client: &str) {
        self.send(&client_response(&dns_message(name), client.parse().unwrap())).await;
    }

    pub async fn send(&mut self, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).await.unwrap();
    }

    pub async fn stop(mut self) {
        self.stream.write_all(&control(STOP, false)).await.unwrap();
        assert_eq!(self.read_control().await, control(FINISH, false));
        self.closed().await;
    }

    /// Waits until the other end has closed.
    pub async fn closed(&mut self) {
        let mut octet = [0; 1];
        let read = soon("close", self.stream.read(&mut octet)).await;
        assert!(matches!(read, Ok(0) | Err(_)));
    }

    async fn read_control(&mut self) -> Vec<u8> {
        let mut head = vec![0; 8];
        soon("control frame", self.stream.read_exact(&mut head)).await.unwrap();
        let length = u32::from_be_bytes(head[4..8].try_into().unwrap()) as usize;
        let mut payload = vec![0; length];
        soon("control frame", self.stream.read_exact(&mut payload)).await.unwrap();
        head.extend_from_slice(&payload);
        head
    }
}

fn control(control_type: u32, typed: bool) -> Vec<u8> {
    let mut payload = control_type.to_be_bytes().to_vec();
    if typed {
        payload.extend_from_slice(&1u32.to_be_bytes());
        payload.extend_from_slice(&u32::try_from(CONTENT_TYPE.len()).unwrap().to_be_bytes());
        payload.extend_from_slice(CONTENT_TYPE);
    }
    let mut frame = vec![0; 4];
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&payload);
    frame
}

/// A NOERROR answer without records.
pub fn dns_message(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

/// dnstap of 2026-05-28T12:13:14Z, octet by octet: the encoder must not be the one under test.
pub fn client_response(message: &[u8], client: IpAddr) -> Vec<u8> {
    let address = match client {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut inner = vec![0x08, 6, 0x22, u8::try_from(address.len()).unwrap()];
    inner.extend_from_slice(&address);
    inner.push(0x60);
    inner.extend_from_slice(&varint(1_779_970_394));
    inner.push(0x72);
    inner.extend_from_slice(&varint(message.len()));
    inner.extend_from_slice(message);
    let mut outer = vec![0x72];
    outer.extend_from_slice(&varint(inner.len()));
    outer.extend_from_slice(&inner);
    outer.extend_from_slice(&[0x78, 1]);
    outer
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    while value >= 0x80 {
        octets.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    octets.push(u8::try_from(value).unwrap());
    octets
}

/// A process that does not outlive a test that fails.
pub struct Running(pub std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
