//! Addresses change while POP serves: the new one is bound before the old one is given up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use common::request;
use hickory_proto::rr::RecordType;
use process::{free_port, get, wait_for};
use tapir_pop::dns;
use tapir_pop::status::Telemetry;
use tapir_runtime::http;
use tapir_runtime::shutdown::Shutdown;
use tokio::sync::watch;

struct Serving {
    telemetry: Arc<Telemetry>,
    listen: watch::Sender<Vec<SocketAddr>>,
    shutdown: Shutdown,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

fn at(host: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::from((host, port))
}

fn zone(address: SocketAddr) -> Serving {
    let (telemetry, shutdown) = (Telemetry::new(None, None), Shutdown::manual().1);
    let (listen, addresses) = watch::channel(vec![address]);
    tokio::spawn(dns::server::serve(
        addresses,
        watch::channel(None::<Arc<tapir_pop::zone::Snapshot>>).1,
        Arc::clone(&telemetry),
        shutdown.clone(),
    ));
    Serving { telemetry, listen, shutdown }
}

fn errors(telemetry: &Telemetry) -> Vec<String> {
    telemetry.document().pop.unwrap().errors
}

/// Any answer: there is no zone. From any address: that of a wildcard's answer is the system's choice.
fn answers(address: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let asked = socket.send_to(&request("dnstapir.", RecordType::SOA).to_vec().unwrap(), address);
    asked.is_ok() && socket.recv(&mut [0; 512]).is_ok()
}

fn wait_for_answers(address: SocketAddr, wanted: bool) {
    wait_for(&format!("answers from {address}"), || answers(address), |answers| *answers == wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_address_of_the_zone_is_served_until_the_new_one_can_be() {
    let (old, new) = (at([127, 0, 0, 1], free_port()), at([127, 0, 0, 1], free_port()));
    let zone = zone(old);
    wait_for_answers(old, true);
    let taken = std::net::TcpListener::bind(new).unwrap();
    zone.listen.send_replace(vec![new]);
    let error = wait_for("an error in the status", || errors(&zone.telemetry), |errors| !errors.is_empty());
    assert!(error[0].contains(&new.to_string()), "{error:?}");
    wait_for_answers(old, true);
    assert_eq!(zone.telemetry.metrics.listening.get(), 1);
    drop(taken);
    wait_for_answers(new, true);
    wait_for_answers(old, false);
    wait_for("no error any more", || errors(&zone.telemetry), Vec::is_empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_address_can_follow_the_one_that_it_contains() {
    let port = free_port();
    let zone = zone(at([127, 0, 0, 1], port));
    wait_for_answers(at([127, 0, 0, 1], port), true);
    let taken = UdpSocket::bind(at([127, 0, 0, 2], port)).unwrap();
    zone.listen.send_replace(vec![at([0, 0, 0, 0], port)]);
    wait_for("an error in the status", || errors(&zone.telemetry), |errors| !errors.is_empty());
    wait_for_answers(at([127, 0, 0, 1], port), true);
    drop(taken);
    wait_for_answers(at([127, 0, 0, 2], port), true);
    zone.listen.send_replace(vec![at([127, 0, 0, 1], port)]);
    wait_for_answers(at([127, 0, 0, 2], port), false);
    wait_for_answers(at([127, 0, 0, 1], port), true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_address_of_the_status_is_served_until_the_new_one_can_be() {
    let (old, new) = (at([127, 0, 0, 1], free_port()), at([127, 0, 0, 1], free_port()));
    let (telemetry, shutdown) = (Telemetry::new(None, None), Shutdown::manual().1);
    let (listen, addresses) = watch::channel(old);
    let state = telemetry.http_state();
    tokio::spawn(http::serve(addresses, telemetry, state, shutdown.clone()));
    let status = |address| get(address, "/status");
    let served = |status: &Option<String>| status.is_some();
    wait_for("the status", || status(old), served);
    let taken = std::net::TcpListener::bind(new).unwrap();
    listen.send_replace(new);
    let not_bound =
        |status: &Option<String>| status.as_ref().is_some_and(|status| status.contains("cannot bind the address of probes"));
    wait_for("an error in the status", || status(old), not_bound);
    drop(taken);
    let good = |status: &Option<String>| status.as_ref().is_some_and(|status| !status.contains("errors"));
    wait_for("the status at the new address", || status(new), good);
    wait_for("the end of the old address", || status(old), Option::is_none);
    // An address that contains the one that is bound.
    let everywhere = at([0, 0, 0, 0], new.port());
    listen.send_replace(everywhere);
    wait_for("the status at another address", || status(at([127, 0, 0, 2], new.port())), served);
    shutdown.trigger();
}
