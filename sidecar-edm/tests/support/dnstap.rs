//! dnstap and DNS messages, octet by octet: no encoder of the product's has a part in it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::IpAddr;

/// A CLIENT_RESPONSE. What is `None` is not sent.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub family: Option<u64>,
    pub protocol: Option<u64>,
    pub client: Option<Vec<u8>>,
    pub server: Option<Vec<u8>>,
    pub client_port: Option<u64>,
    pub server_port: Option<u64>,
    /// Seconds and nanoseconds.
    pub time: Option<(u64, u32)>,
    pub identity: Option<Vec<u8>>,
    pub message: Vec<u8>,
}

impl Response {
    /// To a client, over UDP, at 2026-05-28T12:13:14Z.
    pub fn to(client: IpAddr, message: Vec<u8>) -> Self {
        Self {
            family: Some(if client.is_ipv4() { 1 } else { 2 }),
            protocol: Some(1),
            client: Some(octets(client)),
            client_port: Some(12345),
            server_port: Some(53),
            time: Some((1_779_970_394, 0)),
            message,
            ..Self::default()
        }
    }

    pub fn frame(&self) -> Vec<u8> {
        let mut inner = vec![0x08, 6];
        let number = |out: &mut Vec<u8>, field: u8, value: Option<u64>| {
            if let Some(value) = value {
                out.push(field << 3);
                varint(out, value);
            }
        };
        let bytes = |out: &mut Vec<u8>, field: u8, value: Option<&[u8]>| {
            if let Some(value) = value {
                out.push(field << 3 | 2);
                varint(out, value.len() as u64);
                out.extend_from_slice(value);
            }
        };
        number(&mut inner, 2, self.family);
        number(&mut inner, 3, self.protocol);
        bytes(&mut inner, 4, self.client.as_deref());
        bytes(&mut inner, 5, self.server.as_deref());
        number(&mut inner, 6, self.client_port);
        number(&mut inner, 7, self.server_port);
        if let Some((seconds, nanoseconds)) = self.time {
            number(&mut inner, 12, Some(seconds));
            inner.push(13 << 3 | 5);
            inner.extend_from_slice(&nanoseconds.to_le_bytes());
        }
        bytes(&mut inner, 14, Some(&self.message));
        let mut outer = Vec::new();
        bytes(&mut outer, 1, self.identity.as_deref());
        bytes(&mut outer, 14, Some(&inner));
        number(&mut outer, 15, Some(1));
        outer
    }
}

pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A NOERROR answer for A in class IN without records; the name may have any octets but dots in its labels.
pub fn answer(name: &[u8]) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split(|octet| *octet == b'.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label);
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

/// The same message with these EDNS options.
pub fn with_options(mut message: Vec<u8>, options: &[(u16, &[u8])]) -> Vec<u8> {
    message[11] += 1;
    let mut all = Vec::new();
    for (code, value) in options {
        all.extend_from_slice(&code.to_be_bytes());
        all.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        all.extend_from_slice(value);
    }
    message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0]);
    message.extend_from_slice(&u16::try_from(all.len()).unwrap().to_be_bytes());
    message.extend_from_slice(&all);
    message
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
