//! A web server with TLS, and files that may change.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::support::broker::Authority;

/// What lies at a path.
#[derive(Clone)]
enum Content {
    File(Vec<u8>),
    /// Octets without end.
    Endless,
    /// Less than what was announced.
    Cut(Vec<u8>),
    Redirect(String),
}

#[derive(Default)]
struct State {
    contents: BTreeMap<String, Content>,
    asked: usize,
    /// Whether one of them told where it came from.
    referred: bool,
}

pub struct Web {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Web {
    pub async fn start(authority: &Authority) -> Self {
        let (certificate, key) = authority.issue("localhost", &["localhost"]);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = Arc::clone(&this.state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&state)));
            }
        });
        this
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    pub fn put(&self, path: &str, octets: &[u8]) {
        self.has(path, Content::File(octets.to_vec()));
    }

    pub fn endless(&self, path: &str) {
        self.has(path, Content::Endless);
    }

    pub fn cut(&self, path: &str, octets: &[u8]) {
        self.has(path, Content::Cut(octets.to_vec()));
    }

    pub fn redirect(&self, path: &str, to: &str) {
        self.has(path, Content::Redirect(to.to_owned()));
    }

    fn has(&self, path: &str, content: Content) {
        self.state.lock().unwrap().contents.insert(path.to_owned(), content);
    }

    pub fn remove(&self, path: &str) {
        self.state.lock().unwrap().contents.remove(path);
    }

    /// Requests until now.
    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }

    /// Whether a request told which one led to it.
    pub fn referred(&self) -> bool {
        self.state.lock().unwrap().referred
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let content = {
        let mut state = state.lock().unwrap();
        state.asked += 1;
        state.referred |= head.to_ascii_lowercase().contains("\r\nreferer:");
        state.contents.get(&path).cloned()
    };
    let stream = stream.get_mut();
    let start = |status: &str, more: String| format!("HTTP/1.1 {status}\r\nConnection: close\r\n{more}\r\n");
    match content {
        None => stream.write_all(start("404 Not Found", "Content-Length: 0\r\n".to_owned()).as_bytes()).await?,
        Some(Content::File(octets)) => {
            stream.write_all(start("200 OK", format!("Content-Length: {}\r\n", octets.len())).as_bytes()).await?;
            stream.write_all(&octets).await?;
        }
        Some(Content::Cut(octets)) => {
            stream.write_all(start("200 OK", format!("Content-Length: {}\r\n", octets.len())).as_bytes()).await?;
            stream.write_all(&octets[..octets.len() / 2]).await?;
        }
        Some(Content::Endless) => {
            stream.write_all(start("200 OK", String::new()).as_bytes()).await?;
            loop {
                stream.write_all(&[b'x'; 1 << 16]).await?;
            }
        }
        Some(Content::Redirect(to)) => {
            let more = format!("Location: {to}\r\nContent-Length: 0\r\n");
            stream.write_all(start("302 Found", more).as_bytes()).await?;
        }
    }
    stream.flush().await?;
    stream.shutdown().await
}
