//! Servers that export what they have observed: asked in their order, believed when they are nodes of the same CA.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/node.rs"]
#[allow(dead_code, reason = "nobody claims to be somebody else here")]
mod node;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use node::Authority;
use tapir_pop::feeds::bootstrap::Bootstrapping;
use tapir_pop::feeds::{SourceNews, channel};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::config::pop::Bootstrap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

type Requests = Arc<Mutex<Vec<String>>>;

/// Answers every request with this.
async fn serving(config: Arc<rustls::ServerConfig>, status: u16, body: Vec<u8>) -> (SocketAddr, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Requests::default();
    let of_server = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = TlsAcceptor::from(Arc::clone(&config)).accept(stream).await else { continue };
            let mut request = Vec::new();
            let mut part = [0; 4096];
            while !request.ends_with(b"}") {
                let count = stream.read(&mut part).await.unwrap();
                request.extend_from_slice(&part[..count]);
            }
            of_server.lock().unwrap().push(String::from_utf8(request).unwrap());
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), body.as_slice()].concat()).await.unwrap();
            _ = stream.shutdown().await;
        }
    });
    (address, requests)
}

fn export(file: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../tapir-wire/vectors/pop/bootstrap/{file}.gob", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_server_that_can_be_believed_is_taken() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let forty = export("bootstrap-export-forty-names");
    // Of another CA, without an answer, with half of one, with an error in place of a list; then a good one, and one that is not needed.
    let (foreign, foreign_asked) = serving(stranger.server("pop.example"), 200, forty.clone()).await;
    let (refusing, _) = serving(authority.server("pop.example"), 404, Vec::new()).await;
    let (cut, _) = serving(authority.server("pop.example"), 200, forty[..forty.len() / 2].to_vec()).await;
    let (failing, _) = serving(authority.server("pop.example"), 200, b"{\"Error\":true}\n".to_vec()).await;
    let body = [forty, b"{\"Status\":\"ok\"}\n".to_vec()].concat();
    let (good, asked) = serving(authority.server("other-node.example"), 200, body.clone()).await;
    let (spare, spare_asked) = serving(authority.server("pop.example"), 200, body).await;
    let bootstrapping = Bootstrapping {
        source: "core".into(),
        list: "dns-tapir".to_owned(),
        from: Bootstrap { servers: vec![foreign, refusing, cut, failing, good, spare], ..Bootstrap::default() },
        key: Some("secret-key\n".to_owned().into()),
    };
    assert!(!format!("{bootstrapping:?}").contains("secret"));
    let (_identity, identities) = watch::channel(Some(authority.node("edge.example")));
    let (to, mut news) = channel();
    let (_, shutdown) = Shutdown::manual();
    let task = tokio::spawn(bootstrapping.run(identities, to, shutdown));
    let told = timeout(Duration::from_secs(30), news.recv()).await.expect("news").unwrap();
    assert_eq!(&*told.source, "core");
    let SourceNews::Observed(message) = told.news else { panic!("{:?}", told.news) };
    assert_eq!((message.added.len(), message.removed.len()), (40, 0));
    assert!(message.added.iter().any(|entry| entry.name.as_str() == "n00.example." && entry.ttl == 100 && entry.tag_mask == 1));
    // Once is enough.
    timeout(Duration::from_secs(10), task).await.expect("it ends").unwrap();
    assert!(foreign_asked.lock().unwrap().is_empty() && spare_asked.lock().unwrap().is_empty());
    let asked = asked.lock().unwrap().first().unwrap().clone();
    assert!(asked.starts_with("POST /api/v1/bootstrap HTTP/1.1"), "{asked}");
    assert!(asked.contains("x-api-key: secret-key\r\n"), "{asked}");
    assert!(asked.ends_with(r#"{"Command":"export-doubtlist","ListName":"dns-tapir","Encoding":"gob"}"#), "{asked}");
}
