//! Lists on a web server: what is fetched, what is refused, what stays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/feed.rs"]
#[allow(dead_code, reason = "versions are of zones")]
mod feed;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use feed::{Listener, NoDisk, kept};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use tapir_pop::feeds::channel;
use tapir_pop::feeds::https::{HttpsFeed, Proof, PublicKey};
use tapir_pop::feeds::lists::Fit;
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::config::pop::HttpsSource;
use tapir_wire::name::Name;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

#[derive(Debug, Default)]
struct Site {
    files: BTreeMap<String, Vec<u8>>,
    etag: Option<String>,
    status: Option<u16>,
    /// Ends the connection in the middle of the body.
    cut: bool,
    /// No length in front.
    endless: bool,
    /// Answers nobody while this is so.
    silent: bool,
    /// Requests, with what they were conditional on.
    asked: Vec<(String, Option<String>)>,
}

struct Server {
    port: u16,
    anchors: String,
    site: Arc<Mutex<Site>>,
}

impl Server {
    async fn start() -> Self {
        tapir_runtime::crypto::install();
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let anchors = ca.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let site = Arc::new(Mutex::new(Site::default()));
        let of_server = Arc::clone(&site);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, site) = (acceptor.clone(), Arc::clone(&of_server));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let Ok(octet) = stream.read_u8().await else { return };
                        request.push(octet);
                    }
                    while site.lock().unwrap().silent {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    let answer = answer(&String::from_utf8(request).unwrap(), &mut site.lock().unwrap());
                    _ = stream.write_all(&answer).await;
                    _ = stream.shutdown().await;
                });
            }
        });
        Self { port, anchors, site }
    }

    fn site(&self) -> MutexGuard<'_, Site> {
        self.site.lock().unwrap()
    }

    fn put(&self, path: &str, content: &[u8]) {
        self.site().files.insert(path.to_owned(), content.to_vec());
    }

    fn source(&self) -> HttpsSource {
        let url = format!("https://localhost:{}/list", self.port);
        HttpsSource { url, refresh_seconds: 1, keep_seconds: 3600, ..HttpsSource::default() }
    }

    fn begin(&self, source: &HttpsSource, proof: Proof, data: &Path) -> (Listener, Shutdown, tokio::task::JoinHandle<()>) {
        let fit = Fit::new(&Name::parse("dnstapir").unwrap());
        let feed = HttpsFeed::new("h", source, proof, Some(&self.anchors), fit, data, 10_000).unwrap();
        let (to, news) = channel();
        let (_, shutdown) = Shutdown::manual();
        (Listener::new(news), shutdown.clone(), tokio::spawn(feed.run(to, shutdown)))
    }
}

fn answer(request: &str, site: &mut Site) -> Vec<u8> {
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let condition = request.lines().find_map(|line| line.strip_prefix("if-none-match: ")).map(str::to_owned);
    site.asked.push((path.clone(), condition.clone()));
    let status = site.status.unwrap_or_else(|| match (site.files.get(&path), &site.etag) {
        (None, _) => 404,
        (Some(_), Some(etag)) if condition.as_ref() == Some(etag) => 304,
        (Some(_), _) => 200,
    });
    let body = if status == 200 { site.files.get(&path).cloned().unwrap_or_default() } else { Vec::new() };
    let etag = site.etag.as_ref().map(|etag| format!("etag: {etag}\r\n")).unwrap_or_default();
    let length = if site.endless { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let mut answer = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{etag}{length}\r\n").into_bytes();
    let end = if site.cut { body.len() / 2 } else { body.len() };
    answer.extend(&body[..end]);
    answer
}

fn names(listener: &Listener) -> Vec<String> {
    listener.content().into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_fetched_when_it_changed_and_kept_when_it_cannot_be() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.put("/list", b"a.example\nb..example\n");
    server.site().etag = Some("\"1\"".to_owned());
    let source = server.source();
    let (mut listener, shutdown, task) = server.begin(&source, Proof::None, data.path());
    listener.until("whole").await;
    assert_eq!((names(&listener), listener.meta.rejected.count), (vec!["a.example.".to_owned()], 1));
    listener.until("good").await;
    // Asked with the mark of what is held.
    let first = listener.health.as_ref().unwrap().expires_at;
    while listener.health.as_ref().unwrap().expires_at == first {
        listener.until("good").await;
    }
    assert_eq!(server.site().asked.last().unwrap().1.as_deref(), Some("\"1\""));
    {
        let mut site = server.site();
        site.files.insert("/list".to_owned(), b"c.example\n".to_vec());
        site.etag = Some("\"2\"".to_owned());
    }
    listener.until("whole").await;
    assert_eq!(names(&listener), ["c.example."]);

    type Spoil = fn(&mut Site);
    let spoils: [(&str, Spoil); 5] = [
        ("503", |site| site.status = Some(503)),
        ("404", |site| site.files.clear()),
        ("larger than 10000", |site| drop(site.files.insert("/list".to_owned(), vec![b'x'; 10_001]))),
        ("not reached", |site| site.cut = true),
        ("larger than 10000", |site| {
            site.files.insert("/list".to_owned(), vec![b'x'; 20_001]);
            site.endless = true;
        }),
    ];
    for (error, spoil) in spoils {
        {
            let mut site = server.site();
            *site = Site { files: BTreeMap::from([("/list".to_owned(), b"d.example\n".to_vec())]), ..Site::default() };
            spoil(&mut site);
        }
        loop {
            listener.until("bad").await;
            if listener.error().contains(error) {
                break;
            }
        }
        assert!(!listener.error().contains("localhost"), "URLs may hold passwords: {}", listener.error());
        assert_eq!(names(&listener), ["c.example."]);
    }
    shutdown.trigger();
    timeout(Duration::from_secs(20), task).await.unwrap().unwrap();

    // A restart without the server.
    let (mut listener, shutdown, _) = server.begin(&source, Proof::None, data.path());
    assert_eq!(listener.next().await, "whole");
    assert_eq!(names(&listener), ["c.example."]);
    shutdown.trigger();
    // And one with another idea of how the list is written.
    let source = HttpsSource { format: tapir_wire::config::pop::Format::Hosts, ..source };
    let (mut listener, shutdown, _) = server.begin(&source, Proof::None, data.path());
    assert_eq!(listener.next().await, "bad");
    shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_does_not_take_is_in_force_and_written_down_when_it_does() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.put("/list", b"a.example\n");
    server.site().etag = Some("\"1\"".to_owned());
    let source = server.source();
    let (mut listener, shutdown, task) = server.begin(&source, Proof::None, data.path());
    listener.until("good").await;
    let disk = NoDisk::of(data.path(), "h");
    for (version, name) in [("\"2\"", "b.example."), ("\"3\"", "c.example.")] {
        {
            let mut site = server.site();
            site.files.insert("/list".to_owned(), name.into());
            site.etag = Some(version.to_owned());
        }
        listener.until("whole").await;
        assert_eq!(names(&listener), [name]);
    }
    // It is asked for by the mark of what is in force, and nothing of that is trouble of the source.
    listener.until("good").await;
    let asked = server.site().asked.len();
    while server.site().asked.len() < asked + 2 {
        listener.until("good").await;
    }
    assert_eq!(server.site().asked.last().unwrap().1.as_deref(), Some("\"3\""));
    assert!(!listener.heard.contains(&"bad"), "{:?} {}", listener.heard, listener.error());
    drop(disk);
    kept(data.path(), "h", "\\\"3\\\"").await;
    shutdown.trigger();
    timeout(Duration::from_secs(5), task).await.unwrap().unwrap();

    server.site().status = Some(500);
    let (mut listener, shutdown, _) = server.begin(&source, Proof::None, data.path());
    assert_eq!(listener.next().await, "whole");
    assert_eq!(names(&listener), ["c.example."]);
    // What was begun meanwhile is gone: the table and what names it. A try to fetch has a file for a moment.
    let files = std::fs::read_dir(data.path().join("sources/h")).unwrap();
    let files: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files.iter().filter(|file| !file.starts_with("staged-")).count(), 2, "{files:?}");
    shutdown.trigger();
}

/// A volume that comes after the start, long before the list is to be asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_made_at_the_start_is_made_when_it_can() {
    let data = tempfile::tempdir().unwrap();
    let sources = data.path().join("sources");
    std::fs::write(&sources, "in the way").unwrap();
    let server = Server::start().await;
    server.put("/list", b"a.example\n");
    let source = HttpsSource { refresh_seconds: 36_000, ..server.source() };
    let (mut listener, shutdown, _) = server.begin(&source, Proof::None, data.path());
    listener.until("good").await;
    std::fs::remove_file(&sources).unwrap();
    kept(data.path(), "h", "checkedAt").await;
    shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_away_for_too_long_counts_no_more() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.put("/list", b"a.example\n");
    let source = HttpsSource { keep_seconds: 2, ..server.source() };
    let (mut listener, shutdown, _) = server.begin(&source, Proof::None, data.path());
    listener.until("whole").await;
    server.site().status = Some(500);
    listener.until("expired").await;
    assert!(listener.content().is_empty());
    // The same content again is in force again.
    server.site().status = None;
    listener.until("whole").await;
    assert_eq!(names(&listener), ["a.example."]);
    shutdown.trigger();
}

/// A server that is silent is waited for longer than the list counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_ends_on_time_while_its_server_is_waited_for() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.put("/list", b"a.example\n");
    let source = HttpsSource { keep_seconds: 3, ..server.source() };
    let (mut listener, shutdown, _) = server.begin(&source, Proof::None, data.path());
    listener.until("whole").await;
    server.site().silent = true;
    while listener.next().await == "good" {}
    assert_eq!(listener.heard.last(), Some(&"expired"), "{:?}", listener.heard);
    assert!(listener.content().is_empty());
    server.site().silent = false;
    listener.until("whole").await;
    assert_eq!(names(&listener), ["a.example."]);
    shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_must_be_the_one_that_is_meant() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let good = b"a.example\n";
    server.put("/list", b"evil.example\n");
    let sha256: String = Sha256::digest(good).iter().map(|octet| format!("{octet:02x}")).collect();
    let (mut listener, shutdown, _) = server.begin(&server.source(), Proof::Sha256(sha256), data.path());
    assert_eq!(listener.next().await, "bad");
    assert!(listener.error().contains("SHA-256"), "{}", listener.error());
    server.put("/list", good);
    listener.until("whole").await;
    assert_eq!(names(&listener), ["a.example."]);
    shutdown.trigger();

    let key = Ed25519KeyPair::generate().unwrap();
    let public = PublicKey::parse(&hex::encode(key.public_key())).unwrap();
    let url = format!("https://localhost:{}/list.sig", server.port).parse().unwrap();
    let (mut listener, shutdown, _) = server.begin(&server.source(), Proof::Signature(public, url), data.path());
    assert_eq!(listener.next().await, "bad");
    server.put("/list.sig", key.sign(b"something else").as_ref());
    loop {
        listener.until("bad").await;
        if listener.error().contains("signature") {
            break;
        }
    }
    server.put("/list.sig", hex::encode(key.sign(good)).as_bytes());
    listener.until("whole").await;
    assert_eq!(names(&listener), ["a.example."]);
    // Changed without a signature of it.
    server.put("/list", b"evil.example\n");
    listener.until("bad").await;
    assert_eq!(names(&listener), ["a.example."]);
    shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_certificate_is_not_believed() {
    let data = tempfile::tempdir().unwrap();
    let (server, other) = (Server::start().await, Server::start().await);
    server.put("/list", b"a.example\n");
    let impostor = Server { port: server.port, anchors: other.anchors.clone(), site: Arc::clone(&server.site) };
    let (mut listener, shutdown, _) = impostor.begin(&server.source(), Proof::None, data.path());
    assert_eq!(listener.next().await, "bad");
    assert!(server.site().asked.is_empty());
    shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_disk_a_list_is_fetched_all_the_same() {
    let server = Server::start().await;
    server.put("/list", b"a.example\n");
    let (mut listener, shutdown, _) = server.begin(&server.source(), Proof::None, Path::new("/dev/null"));
    listener.until("whole").await;
    assert_eq!(names(&listener), ["a.example."]);
    shutdown.trigger();
}
