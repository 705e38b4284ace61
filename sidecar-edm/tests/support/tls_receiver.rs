//! Core's receiver of aggregates, as far as the network goes: TLS with client certificates, and 201 for everything.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::support::broker::Authority;
use super::support::until;

/// What came in one request.
#[derive(Clone)]
pub struct Upload {
    pub head: String,
    pub body: Vec<u8>,
    /// The certificate that the sender showed, DER.
    pub certificate: Vec<u8>,
}

impl Upload {
    /// Value of a header; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value).next().unwrap_or_default()
    }
}

type Requests = Arc<Mutex<Vec<Upload>>>;

pub struct TlsReceiver {
    port: u16,
    requests: Requests,
}

impl TlsReceiver {
    pub async fn start(authority: &Authority) -> Self {
        let (certificate, key) = authority.issue("localhost", &["localhost"]);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build().unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { port: listener.local_addr().unwrap().port(), requests: Requests::default() };
        let requests = Arc::clone(&this.requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&requests)));
            }
        });
        this
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Waits for so many.
    pub async fn received(&self, count: usize) -> Vec<Upload> {
        until("requests", async || self.requests.lock().unwrap().len() >= count).await;
        self.requests.lock().unwrap().clone()
    }
}

/// Until the other end has enough.
async fn serve(acceptor: TlsAcceptor, stream: TcpStream, requests: Requests) -> std::io::Result<()> {
    let stream = acceptor.accept(stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        requests.lock().unwrap().push(Upload { head, body, certificate: certificate.clone() });
        stream.get_mut().write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await?;
        stream.get_mut().flush().await?;
    }
}
