//! A real mosquitto with mutual TLS, and node folders whose certificates it takes.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod port;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tapir_runtime::back_off::BackOff;
use tapir_runtime::mqtt::MqttSettings;
use tapir_runtime::node::NodeMaterial;
use tempfile::TempDir;

/// Longest wait for anything; only failing tests use it up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that must happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// A certificate authority of one test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key for `common_name`, valid for `names`.
    pub fn issue(&self, common_name: &str, names: &[&str]) -> (String, String) {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// Writes what an identity Secret holds.
pub fn write_node(directory: &Path, authority: &Authority, trusted: &Authority, name: &str) {
    let (certificate, key) = authority.issue(name, &[name]);
    std::fs::write(directory.join("tls.crt"), certificate).unwrap();
    std::fs::write(directory.join("tls.key"), key).unwrap();
    std::fs::write(directory.join("ca.crt"), trusted.pem()).unwrap();
    let document = format!(r#"{{"format":1,"name":"{name}","mqttBroker":"mqtts://localhost:8883","mqttTopics":{{}}}}"#);
    std::fs::write(directory.join("node.json"), document).unwrap();
}

/// Settings for `name` at `url`: a certificate of `authority`, the broker checked against `trusted`.
pub fn settings(url: &str, authority: &Authority, trusted: &Authority, name: &str) -> MqttSettings {
    let folder = tempfile::tempdir().unwrap();
    write_node(folder.path(), authority, trusted, name);
    let material = NodeMaterial::load(folder.path()).unwrap();
    let mut settings = MqttSettings::new(url, format!("{name}-test"), Some(material.tls), material.generation);
    settings.certificate_serial = Some(material.certificate.serial);
    settings.back_off = BackOff { min: Duration::from_millis(20), max: Duration::from_millis(200) };
    settings.connect_timeout = Duration::from_secs(5);
    settings
}

/// A real broker on a free port of the loopback interface.
pub struct Broker {
    folder: TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Broker {
    pub fn start(authority: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.issue("broker", &["localhost", "127.0.0.1"]);
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("server.crt"), certificate).unwrap();
        std::fs::write(path("server.key"), key).unwrap();
        std::fs::write(path("ca.crt"), authority.pem()).unwrap();
        // A node reads observations and settings, and writes below its own name; `core` does everything.
        let rights = "user core\ntopic readwrite #\n\npattern read observations/down/#\npattern read config/down/#\n\
                      pattern write events/up/%u/#\npattern write status/up/%u/#\n";
        std::fs::write(path("acl"), rights).unwrap();
        let port = port::free_port();
        let show = |name: &str| path(name).display().to_string();
        let configuration = format!(
            "listener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nacl_file {}\nrequire_certificate true\n\
             use_identity_as_username true\ntls_version tlsv1.3\nmax_packet_size 100000\npersistence false\nlog_dest stderr\nlog_type all\nuser root\n",
            show("ca.crt"),
            show("server.crt"),
            show("server.key"),
            show("acl"),
        );
        std::fs::write(path("mosquitto.conf"), configuration).unwrap();
        let mut broker = Self { folder, port, child: None };
        broker.start_again();
        broker
    }

    pub fn start_again(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_file()).unwrap();
        let child = Command::new(executable())
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let end = std::time::Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(std::time::Instant::now() < end, "mosquitto did not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn url(&self) -> String {
        format!("mqtts://localhost:{}", self.port)
    }

    pub fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap()
    }

    /// Waits until the log has a line with `part`.
    pub async fn logged(&self, part: &str) {
        soon(&format!("{part:?} in the broker's log"), async {
            while !self.log().contains(part) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn executable() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let found = folders.into_iter().map(|folder| folder.join("mosquitto")).find(|file| file.is_file());
    found.expect("mosquitto is not installed; run `cargo xtask test --fast`, which brings it along")
}
