//! Broker URLs, against the cases that upstream's minimiser is tested with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../src/mqtt/address.rs"]
mod address;

use address::{AddressError, BrokerAddress};
use serde_json::Value;

/// Upstream takes MQTT over WebSocket as well. No broker of Core is known to speak it, and a configuration that asks for it is told so.
const NOT_TAKEN: [&str; 2] = ["ws", "wss"];

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tapir-wire/vectors/edm/mqtt_server_url.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn urls_are_read_as_upstream_reads_them() {
    let vectors = vectors();
    let cases = vectors["vectors"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let url = case["in"].as_str().unwrap();
        let ours = BrokerAddress::parse(url);
        match case["error"].as_str() {
            Some("unsupported scheme") => assert!(matches!(ours, Err(AddressError::Scheme(_))), "{url}: {ours:?}"),
            Some("missing host") => assert_eq!(ours, Err(AddressError::NoHost), "{url}"),
            Some(other) => panic!("no such error: {other}"),
            None => {
                let ours = ours.unwrap_or_else(|error| panic!("{url}: {error}"));
                let host = if ours.host.contains(':') { format!("[{}]", ours.host) } else { ours.host };
                assert_eq!(format!("{host}:{}", ours.port), case["host"].as_str().unwrap(), "{url}");
                assert_eq!(ours.tls, case["scheme"] == "tls", "{url}");
            }
        }
    }
}

#[test]
fn schemes_are_those_of_upstream_but_for_websocket() {
    for scheme in vectors()["accepted_schemes"].as_array().unwrap() {
        let scheme = scheme.as_str().unwrap();
        let ours = BrokerAddress::parse(&format!("{scheme}://mqtt.example:1"));
        if NOT_TAKEN.contains(&scheme) {
            assert_eq!(ours, Err(AddressError::Scheme(scheme.to_owned())));
        } else {
            assert_eq!(ours.map(|address| address.tls), Ok(!["mqtt", "tcp"].contains(&scheme)), "{scheme}");
        }
    }
}

#[test]
fn a_missing_port_is_the_registered_one_where_upstream_leaves_it_out() {
    assert_eq!(BrokerAddress::parse("mqtts://mqtt.example").map(|address| address.port), Ok(8883));
    assert_eq!(BrokerAddress::parse("mqtt://mqtt.example").map(|address| address.port), Ok(1883));
}
