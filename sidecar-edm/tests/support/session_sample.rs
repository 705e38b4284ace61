//! The rows of the recorded session file, as frames.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use tapir_edm::decode::{CountedTypes, Room, counted};
use tapir_edm::histogram_file::Interval;
use tapir_edm::pseudonym::{CryptoPan, Key, Pseudonym, SentAddress};
use tapir_edm::sessions::{SessionRow, Sessions};

use super::dnstap::{Response, octets};
use super::parquet_dump::dump;

pub const RECORDED: &str = "dns_session_block-2026-05-28T12-00-00Z_2026-05-28T12-01-00Z.parquet";

/// Of the recorded file: what `key1` and `aabbccddeeffgghh` give.
pub fn key() -> Key {
    let octets = hex::decode("2be502e9809c222baec21f41799295b5ac4f1c47de7f15b9f90418346bb1c99d").unwrap();
    Key::of_octets(octets.try_into().unwrap())
}

/// The recorded minute is the first.
pub fn minute(number: i64) -> Interval {
    let start = jiff::Timestamp::from_second(1_779_969_600 + number * 60).unwrap();
    Interval { start, stop: start + jiff::SignedDuration::from_secs(60) }
}

/// Ends the last interval.
pub fn finish(sessions: &Sessions, interval: Interval) {
    sessions.close(interval);
    assert!(sessions.is_written(Duration::from_secs(60)));
}

pub fn offer(sessions: &Sessions, response: &Response) {
    let (frame, mut room) = (response.frame(), Room::default());
    let counted = counted(&frame, CountedTypes::default(), &mut room).unwrap();
    sessions.offer([SessionRow { message: counted.message, name: counted.question.name }]);
}

/// The frames from which upstream's library made the recorded file.
pub fn recorded_responses() -> Vec<Response> {
    let message = |row: usize| {
        let recorded = dump(RECORDED);
        hex::decode(recorded["row_data"][row]["response_message"]["hex"].as_str().unwrap()).unwrap()
    };
    let address = |text: &str| Some(octets(text.parse().unwrap()));
    vec![
        Response {
            family: Some(1),
            protocol: Some(1),
            client: address("198.51.100.20"),
            // The recorded pseudonym is one of another key's.
            server: Some(whose_pseudonym_is([185, 204, 164, 235])),
            client_port: Some(12345),
            server_port: Some(53),
            time: Some((1_779_969_601, 123_456_000)),
            identity: Some(b"server-1".to_vec()),
            message: message(0),
        },
        Response {
            family: Some(2),
            protocol: Some(3),
            client: address("2001:db8:1122:3344:5566:7788:99aa:bbcc"),
            server: address("2001:db8:1122:3344:5566:7788:99aa:ddee"),
            client_port: Some(65535),
            server_port: Some(853),
            time: Some((1_779_969_602, 0)),
            identity: None,
            message: message(1),
        },
    ]
}

/// The way back, bit by bit: each bit of a pseudonym depends on no later bit of the address.
fn whose_pseudonym_is(wanted: [u8; 4]) -> Vec<u8> {
    let (pan, wanted) = (CryptoPan::new(&key()), u32::from_be_bytes(wanted));
    let address = (0..32).rev().fold(0_u32, |address, bit| {
        let Some(Pseudonym::V4(octets)) = pan.of(SentAddress::V4(address.to_be_bytes())) else { panic!("an IPv4 address") };
        address | (u32::from_be_bytes(octets) ^ wanted) & 1 << bit
    });
    address.to_be_bytes().to_vec()
}
