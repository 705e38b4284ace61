//! The resolver's end of a connection, by hand.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Longest wait for anything; only failing tests use it up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub const DNSTAP: &[u8] = b"protobuf:dnstap.Dnstap";
pub const ACCEPT: u32 = 1;
pub const START: u32 = 2;
pub const STOP: u32 = 3;
pub const READY: u32 = 4;
pub const FINISH: u32 = 5;

/// Whom a sender trusts, and who it is.
#[derive(Clone, Debug)]
pub struct Trust {
    pub server: String,
    pub client: Option<(String, String)>,
}

impl Trust {
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config_for(&[&rustls::version::TLS13])
    }

    pub fn config_for(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.server.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap().with_root_certificates(roots);
        Arc::new(match &self.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        })
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

pub struct Sender(Box<dyn Stream>);

impl Sender {
    /// As soon as somebody listens.
    pub fn unix(path: &Path) -> Self {
        let mut stream = None;
        until("dnstap connection", || {
            stream = UnixStream::connect(path).ok();
            stream.is_some()
        });
        let stream = stream.unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(Box::new(stream))
    }

    pub fn tcp(address: SocketAddr) -> Self {
        Self(Box::new(tcp(address)))
    }

    /// The error is the first that either side has, the client's certificate included.
    pub fn tls(address: SocketAddr, trust: &Trust) -> io::Result<Self> {
        Self::tls_with(address, trust.config())
    }

    pub fn tls_with(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        let session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(session, tcp(address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(Box::new(stream)))
    }

    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.0.write_all(octets)?;
        self.0.flush()
    }

    pub fn shake_hands(&mut self) {
        self.write(&control(READY, &[DNSTAP])).unwrap();
        assert_eq!(self.read_control(), control(ACCEPT, &[DNSTAP]));
        self.write(&control(START, &[DNSTAP])).unwrap();
    }

    /// The same with somebody who may refuse.
    pub fn try_shake_hands(&mut self) -> bool {
        let accept = control(ACCEPT, &[DNSTAP]);
        let mut answer = vec![0; accept.len()];
        self.write(&control(READY, &[DNSTAP])).is_ok()
            && self.0.read_exact(&mut answer).is_ok()
            && answer == accept
            && self.write(&control(START, &[DNSTAP])).is_ok()
    }

    pub fn send(&mut self, payload: &[u8]) {
        self.write(&data(payload)).unwrap();
    }

    pub fn stop(mut self) {
        self.write(&control(STOP, &[])).unwrap();
        assert_eq!(self.read_control(), control(FINISH, &[]));
        self.closed();
    }

    /// Waits until the other end has closed.
    pub fn closed(&mut self) {
        let mut octet = [0; 1];
        match self.0.read(&mut octet) {
            Ok(count) => assert_eq!(count, 0, "an answer"),
            Err(error) => assert!(!matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{error}"),
        }
    }

    /// Waits until the other end has closed, whatever it says before.
    pub fn gone(&mut self) {
        let mut octets = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut octets) {
            assert!(!matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{error}");
        }
    }

    pub fn read_control(&mut self) -> Vec<u8> {
        let mut head = vec![0; 8];
        self.0.read_exact(&mut head).unwrap();
        let mut payload = vec![0; u32::from_be_bytes(head[4..8].try_into().unwrap()) as usize];
        self.0.read_exact(&mut payload).unwrap();
        head.append(&mut payload);
        head
    }
}

fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn control(number: u32, content_types: &[&[u8]]) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    for content_type in content_types {
        payload.extend_from_slice(&1u32.to_be_bytes());
        payload.extend_from_slice(&u32::try_from(content_type.len()).unwrap().to_be_bytes());
        payload.extend_from_slice(content_type);
    }
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0; 4], length.as_slice(), &payload].concat()
}

pub fn data(payload: &[u8]) -> Vec<u8> {
    [&u32::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
}

impl Sender {
    /// Writes this, and waits until the other end has closed.
    pub fn closed_after(mut self, octets: &[u8]) {
        let _ = self.write(octets);
        self.closed();
    }
}
