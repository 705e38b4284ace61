//! A dev Core that listens on loopback, an enrolled edge made with the product's own code, and a real broker.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tapir_core_dev::authority::{Authority, Lifetimes};
use tapir_core_dev::clock::Clock;
use tapir_core_dev::pki::Pki;
use tapir_core_dev::serve::{Arguments, Core, start};
use tapir_core_dev::tls;
use tapir_wire::certificate::{TlsKey, check_issued};
use tapir_wire::enrolment::{Credentials, EnrolmentAnswer, endpoint, enrolment_request};
use tapir_wire::jwk::DataKey;
use tapir_wire::node_name::NodeName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Longer than anything here may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Running {
    pub core: Core,
    pub pki: Pki,
    pub directory: tempfile::TempDir,
    pub shutdown: CancellationToken,
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

impl Running {
    pub async fn start(more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::generate(Timestamp::now()).unwrap();
        pki.write(directory.path()).unwrap();
        Self::start_with(directory, pki, more).await
    }

    pub async fn start_with(directory: tempfile::TempDir, pki: Pki, more: &[&str]) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = directory.path().join("core");
        let mut line = vec!["core-dev", "--pki", folder.to_str().unwrap()];
        if !more.contains(&"--ticker") {
            line.extend(["--ticker", "0"]);
        }
        for flag in ["--nodeman-listen", "--aggrec-listen", "--control-listen"] {
            line.extend([flag, "127.0.0.1:0"]);
        }
        if !more.contains(&"--mqtt-broker") {
            line.extend(["--mqtt-broker", "mqtts://localhost:1"]);
        }
        line.extend(more);
        let shutdown = CancellationToken::new();
        let core = start(&Line::parse_from(line).arguments, &shutdown).await.unwrap();
        Self { core, pki, directory, shutdown }
    }

    pub fn client(&self, identity: Option<(&str, &str)>) -> reqwest::Client {
        let config = tls::client(&self.pki.web_ca_certificate, identity, &Clock::system(0)).unwrap();
        reqwest::Client::builder()
            .tls_backend_preconfigured(Arc::unwrap_or_clone(config))
            .timeout(PATIENCE)
            .no_proxy()
            .build()
            .unwrap()
    }

    pub fn nodeman(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.core.nodeman.port())
    }

    pub fn aggrec(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.core.aggrec.port())
    }

    pub async fn fault(&self, name: &str) {
        let url = format!("http://{}/faults", self.core.control);
        let answer = self.client(None).post(url).body(name.to_owned()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    pub async fn observe(&self, body: Value) -> u16 {
        self.client(None)
            .post(format!("http://{}/observe", self.core.control))
            .json(&body)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    }

    /// Everything recorded so far.
    pub async fn dump(&self) -> Vec<Value> {
        let text =
            self.client(None).get(format!("http://{}/dump", self.core.control)).send().await.unwrap().text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for a recorded entry that pleases `wanted`.
    pub async fn recorded(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.dump().await.into_iter().find(|entry| wanted(entry)) {
                return found;
            }
            assert!(Instant::now() < end, "not recorded in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn create_node(&self, name: &str) -> Credentials {
        let answer = self
            .client(None)
            .post(self.nodeman("/api/v1/node"))
            .basic_auth("admin", Some("secret"))
            .json(&json!({"name": name}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201);
        Credentials::parse(&answer.text().await.unwrap()).unwrap()
    }

    /// Enrols as the product does and checks the answer as it does.
    pub async fn enrol(&self, name: &str) -> EnrolledEdge {
        let credentials = self.create_node(name).await;
        let name = NodeName::parse(name).unwrap();
        let data_key = DataKey::generate(&name).unwrap();
        let tls_key = TlsKey::generate().unwrap();
        let body = enrolment_request(&credentials, &data_key, &tls_key.csr(&name).unwrap(), Timestamp::now(), None).unwrap();
        let url = endpoint(&self.nodeman("/"), &name, "enroll").unwrap();
        let answer = self.client(None).post(url).header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let answer: EnrolmentAnswer = answer.json().await.unwrap();
        let ca = answer.certificate.x509_ca_certificate.clone().unwrap();
        check_issued(&answer.certificate.x509_certificate, &ca, &tls_key, &name, Timestamp::now()).unwrap();
        EnrolledEdge { name, data_key, tls_key, answer }
    }

    /// A certificate chain of the node CA for `name`, made at `made` and valid for an hour, and its key.
    pub fn certificate(&self, name: &str, made: Timestamp) -> (String, String) {
        let pki = &self.pki;
        let lifetimes = Lifetimes::new(3600, None, None);
        let authority =
            Authority::new(&pki.node_issuer_certificate, &pki.node_issuer_key, &pki.node_root_certificate, lifetimes, 0).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        let issued = authority.issue(&spki, name, None, made).unwrap();
        (format!("{}{}", issued.leaf, authority.issuer_certificate), key.serialize_pem())
    }

    /// A client that speaks TLS 1.2 only, with that certificate or none.
    pub fn older_tls(&self, ca: &str, identity: Option<(&str, &str)>) -> rustls::ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let builder = builder.with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().unwrap();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        }
    }

    /// One request by hand on a TLS connection; gives all that came until the server closed it.
    pub async fn raw(&self, address: SocketAddr, identity: Option<(&str, &str)>, text: &str) -> std::io::Result<String> {
        let config = tls::client(&self.pki.web_ca_certificate, identity, &Clock::system(0)).unwrap();
        let stream = TcpStream::connect(address).await?;
        let mut stream =
            tokio_rustls::TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), stream).await?;
        stream.write_all(text.as_bytes()).await?;
        let mut answer = Vec::new();
        // A server that closes without saying goodbye in TLS is none of our business here.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes the connection");
        Ok(String::from_utf8(answer).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub struct EnrolledEdge {
    pub name: NodeName,
    pub data_key: DataKey,
    pub tls_key: TlsKey,
    pub answer: EnrolmentAnswer,
}

impl EnrolledEdge {
    pub fn chain(&self) -> &str {
        &self.answer.certificate.x509_certificate
    }
}

/// A mosquitto with the configuration of the manifest; only port and paths are other ones.
pub struct Broker {
    process: Child,
    pub port: u16,
}

impl Broker {
    /// Ports that were free a moment ago may be somebody else's by now: then another one.
    pub fn start(directory: &std::path::Path) -> Self {
        let mut complaints = String::new();
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            match Self::start_at(directory, port) {
                Ok(broker) => return broker,
                Err(complaint) => complaints.push_str(&complaint),
            }
        }
        panic!("the broker does not start:\n{complaints}");
    }

    /// Gives what the broker said when it ends before it listens.
    pub fn start_at(directory: &std::path::Path, port: u16) -> Result<Self, String> {
        let manifest = include_str!("../../manifest.yaml");
        let acl = directory.join("acl");
        std::fs::write(&acl, literal(manifest, "acl")).unwrap();
        let mut configuration = literal(manifest, "mosquitto.conf")
            .replace("listener 8883", &format!("listener {port} 127.0.0.1"))
            .replace("/etc/mosquitto/pki", directory.join("broker").to_str().unwrap())
            .replace("/etc/mosquitto/config/acl", acl.to_str().unwrap());
        // Started as root it would become a user who cannot read the test's files; in the Pod it is never root.
        configuration.push_str("user root\n");
        let path = directory.join("mosquitto.conf");
        std::fs::write(&path, configuration).unwrap();
        let log = directory.join("mosquitto.log");
        let log_file = File::create(&log).unwrap();
        let process = Command::new(program()).arg("-c").arg(&path).stdout(Stdio::null()).stderr(log_file).spawn().unwrap();
        let mut broker = Self { process, port };
        let end = Instant::now() + PATIENCE;
        // Connecting is no proof: whoever took the port before would answer as well. The broker keeps running only with its own.
        loop {
            if let Some(status) = broker.process.try_wait().unwrap() {
                return Err(format!("port {port}: {status}\n{}", std::fs::read_to_string(&log).unwrap_or_default()));
            }
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            if said.contains(" running") {
                return Ok(broker);
            }
            assert!(Instant::now() < end, "the broker neither runs nor ends:\n{said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn url(&self) -> String {
        format!("mqtts://localhost:{}", self.port)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join("mosquitto"))
        .find(|file| file.is_file())
        .expect("mosquitto is not installed; run `cargo xtask test --fast`, which brings it along")
}

/// The literal block of that name in a YAML text.
fn literal(yaml: &str, name: &str) -> String {
    let mut lines = yaml.lines().skip_while(|line| line.trim() != format!("{name}: |"));
    let first = lines.next().expect("the block exists");
    let indent = first.len() - first.trim_start().len() + 2;
    let block = lines.take_while(|line| line.is_empty() || line.len() - line.trim_start().len() >= indent);
    block.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect()
}
