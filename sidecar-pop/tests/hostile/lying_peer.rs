//! A peer that has the node's certificate and says whatever comes to its mind, without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::node::Authority;
use crate::probe::{Probe, forget_peak, memory, zone};
use crate::process::{Pop, free_port, wait_for};

const MOST_GROWTH_KIBIBYTES: usize = 48 * 1024;

fn line(name: &str, list: &str, added: i64, expires: &str) -> String {
    let added = Timestamp::now() - SignedDuration::from_secs(added);
    format!("{{\"name\":\"{name}\",\"list\":\"{list}\",\"tags\":1,\"added\":\"{added}\",\"expires\":\"{expires}\"}}\n")
}

/// Nothing of this is for any list.
fn lies() -> String {
    let soon = (Timestamp::now() + SignedDuration::from_hours(1)).to_string();
    let mut lies = String::new();
    for _ in 0..200 {
        lies += &line(".", "core", 10, &soon);
        lies += &line("*.example.", "core", 10, &soon);
        lies += &line(&format!("{}.example.", "l".repeat(64)), "core", 10, &soon);
        lies += &line("other.example.", "own", 10, &soon);
        lies += &line("other.example.", "no-list", 10, &soon);
        lies += &line("from-the-future.example.", "core", -90_000, "9999-01-01T00:00:00Z");
        lies += &line("over.example.", "core", 7200, &(Timestamp::now() - SignedDuration::from_secs(5)).to_string());
        lies += "{\"name\":1}\n[]\nnull\n\u{0}\n{\"name\":\"a.example.\",\"list\":\"core\",\"added\":\"yesterday\",\"expires\":\"tomorrow\"}\n";
    }
    lies
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_lies_without_end_adds_nothing_and_takes_no_memory() {
    let authority = Authority::new();
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let server: Arc<rustls::ServerConfig> = authority.server("edge.example");
    let asked = Arc::new(AtomicUsize::default());
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, count) = (TlsAcceptor::from(Arc::clone(&server)), Arc::clone(&count));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                _ = stream.read(&mut [0; 4096]).await;
                let number = count.fetch_add(1, Ordering::Relaxed);
                _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n").await;
                _ = stream.write_all(lies().as_bytes()).await;
                // Then a line that never ends, or lies that never do.
                let endless = if number % 2 == 0 { "x".repeat(1 << 16) } else { lies() };
                for _ in 0..100 {
                    if stream.write_all(endless.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });

    let pop = Pop::new(None);
    authority.write(pop.file().parent().unwrap(), "edge.example");
    pop.configure(
        "one",
        &format!(
            "sources:\n- {{name: core, list: Doubt, core: {{}}}}\n- {{name: own, list: Deny, inline: {{names: [evil.example]}}}}\n\
             doubt: [{{name: any, minTags: 1, action: DROP}}]\npeers: {{service: 127.0.0.2, port: {port}}}\n"
        ),
    );
    let running = pop.start();
    pop.in_force("one");
    let (before, serial, pid) = (zone(&pop), pop.serial(), running.0.id());
    let probe = Probe::start(pop.port);
    let rest = forget_peak(pid);
    wait_for("the peer asked again", || asked.load(Ordering::Relaxed), |asked| *asked >= 3);
    let grown = memory(pid, "VmHWM").saturating_sub(rest);
    probe.end(&format!("a peer that lies, {grown} KiB more"));
    assert!(grown < MOST_GROWTH_KIBIBYTES, "{grown} KiB");
    assert!(zone(&pop) == before && pop.serial() == serial, "a lie is in the zone: {:?}", zone(&pop));
}
