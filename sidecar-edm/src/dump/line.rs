//! A frame as a line of JSON: upstream's members (`spec/edm.md` 12.5). A member that the frame does not have is left out.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::text;
use crate::decode::{Frame, MessageType, Time};

/// The line, its end included. None where the frame cannot be read.
pub(super) fn of(frame: &[u8], addresses: bool) -> Option<String> {
    let frame = Frame::read(frame)?;
    let mut message = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            message.insert(name.to_owned(), value);
        }
    };
    put("type", Some(message_type(frame.message_type)));
    put("query_time", frame.query_time.and_then(Time::timestamp).map(|time: Timestamp| time.to_string().into()));
    put("response_time", frame.response_time.and_then(Time::timestamp).map(|time| time.to_string().into()));
    put("socket_family", frame.family.map(|number| named(number, &["INET", "INET6"])));
    put(
        "socket_protocol",
        frame.protocol.map(|number| named(number, &["UDP", "TCP", "DOT", "DOH", "DNSCryptUDP", "DNSCryptTCP", "DOQ"])),
    );
    if addresses {
        put("query_address", address(frame.query_address));
        put("response_address", address(frame.response_address));
    }
    put("query_port", frame.query_port.map(Value::from));
    put("response_port", frame.response_port.map(Value::from));
    put("query_zone", frame.query_zone.map(|zone| text::name(zone).into()));
    put("query_message", frame.query.map(|message| text::message(message, addresses).into()));
    put("response_message", frame.response.map(|message| text::message(message, addresses).into()));
    let mut line = Map::from_iter([("type".to_owned(), Value::from("MESSAGE"))]);
    for (name, octets) in [("identity", frame.identity), ("version", frame.version)] {
        if let Some(octets) = octets {
            line.insert(name.to_owned(), String::from_utf8_lossy(octets).into());
        }
    }
    line.insert("message".to_owned(), message.into());
    Some(format!("{}\n", Value::Object(line)))
}

fn message_type(number: i32) -> Value {
    u8::try_from(number).ok().and_then(MessageType::from_repr).map_or_else(|| number.into(), |known| <&str>::from(known).into())
}

fn named(number: i32, names: &[&str]) -> Value {
    let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    place.and_then(|place| names.get(place)).map_or_else(|| number.into(), |name| (*name).into())
}

fn address(octets: Option<&[u8]>) -> Option<Value> {
    let octets = octets?;
    let ip = <[u8; 4]>::try_from(octets).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from));
    Some(ip.map_or_else(|_| hex::encode(octets), |ip| ip.to_string()).into())
}
