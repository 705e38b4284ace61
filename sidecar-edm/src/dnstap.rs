//! dnstap: the protobuf payload of a data frame. Only the fields that EDM looks at; all others are skipped as unknown.

use std::net::IpAddr;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;

/// `dnstap.Dnstap`. Required fields are optional here, so that a missing one is seen and not taken for zero.
#[derive(Clone, PartialEq, prost::Message)]
struct WireDnstap {
    #[prost(message, optional, tag = "14")]
    message: Option<WireMessage>,
    #[prost(int32, optional, tag = "15")]
    r#type: Option<i32>,
}

/// `dnstap.Message`. Enumerations are open: numbers of later schema versions pass.
#[derive(Clone, PartialEq, prost::Message)]
struct WireMessage {
    #[prost(int32, optional, tag = "1")]
    r#type: Option<i32>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    query_address: Option<Bytes>,
    #[prost(uint64, optional, tag = "12")]
    response_time_sec: Option<u64>,
    #[prost(fixed32, optional, tag = "13")]
    response_time_nsec: Option<u32>,
    #[prost(bytes = "bytes", optional, tag = "14")]
    response_message: Option<Bytes>,
}

const CLIENT_RESPONSE: i32 = 6;

/// Which messages count.
///
/// Upstream counts every type that is not a query, so that what a resolver asks for itself is taken for a client's question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CountedTypes {
    /// CLIENT_RESPONSE only.
    #[default]
    ClientResponses,
    /// Everything but the queries of the schema, as upstream.
    AllResponses,
}

impl CountedTypes {
    const fn counts(self, message_type: i32) -> bool {
        match self {
            Self::ClientResponses => message_type == CLIENT_RESPONSE,
            // Queries have the odd numbers 1 to 13.
            Self::AllResponses => !(message_type >= 1 && message_type <= 13 && message_type % 2 == 1),
        }
    }
}

/// Why a frame is not processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnstapError {
    /// Not protobuf, or a required field is missing.
    #[error("reading dnstap: not a complete dnstap message")]
    Undecodable,
    /// No `Message` inside.
    #[error("reading dnstap: no message inside")]
    NoMessage,
    /// A type that does not count.
    #[error("reading dnstap: message type does not count")]
    TypeNotCounted,
}

/// What EDM uses of a response.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// Address of the asking client, if the octets are one. Must never leave the process.
    pub client: Option<IpAddr>,
    /// When the answer was sent. `None`: the sender said nothing usable.
    pub time: Option<Timestamp>,
    /// The DNS message; empty if there is none.
    pub message: Bytes,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Response").field("message_length", &self.message.len()).finish_non_exhaustive()
    }
}

impl Response {
    /// Reads the payload of a data frame.
    pub fn parse(frame: Bytes, counted: CountedTypes) -> Result<Self, DnstapError> {
        let dnstap = WireDnstap::decode(frame).map_err(|_| DnstapError::Undecodable)?;
        if dnstap.r#type.is_none() {
            return Err(DnstapError::Undecodable);
        }
        let message = dnstap.message.ok_or(DnstapError::NoMessage)?;
        let message_type = message.r#type.ok_or(DnstapError::Undecodable)?;
        if !counted.counts(message_type) {
            return Err(DnstapError::TypeNotCounted);
        }
        Ok(Self {
            client: message.query_address.as_deref().and_then(address),
            time: message.response_time_sec.and_then(|seconds| timestamp(seconds, message.response_time_nsec.unwrap_or(0))),
            message: message.response_message.unwrap_or_default(),
        })
    }
}

/// Only lengths 4 and 16 are addresses; the socket family is not asked.
fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

fn timestamp(seconds: u64, nanoseconds: u32) -> Option<Timestamp> {
    let since_epoch =
        SignedDuration::new(i64::try_from(seconds).ok()?, 0).checked_add(SignedDuration::from_nanos(i64::from(nanoseconds)))?;
    Timestamp::from_duration(since_epoch).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors;

    /// A frame as a resolver sends it after it answered a client.
    pub(crate) fn client_response(client: Option<IpAddr>, message: &[u8]) -> Bytes {
        let address = client.map(|client| match client {
            IpAddr::V4(address) => Bytes::copy_from_slice(&address.octets()),
            IpAddr::V6(address) => Bytes::copy_from_slice(&address.octets()),
        });
        let message = WireMessage {
            r#type: Some(CLIENT_RESPONSE),
            query_address: address,
            response_time_sec: Some(1_779_970_394),
            response_time_nsec: Some(15),
            response_message: Some(Bytes::copy_from_slice(message)),
        };
        WireDnstap { message: Some(message), r#type: Some(1) }.encode_to_vec().into()
    }

    #[test]
    fn recorded_frames() {
        let vector = vectors::load("dnstap_frames.json");
        let frames = vector["vectors"].as_array().unwrap();
        assert_eq!(frames.len(), 19);
        for entry in frames {
            let description = entry["desc"].as_str().unwrap();
            let expected = entry["expect"].as_str().unwrap();
            let parse = |counted| Response::parse(Bytes::from(vectors::octets(&entry["frame_hex"])), counted);
            let all = parse(CountedTypes::AllResponses);
            if expected.contains("then skipped") {
                assert_eq!(all, Err(DnstapError::TypeNotCounted), "{description}");
            } else if entry["protobuf_result"] != "" {
                assert_eq!(all, Err(DnstapError::Undecodable), "{description}");
            } else if description == "no Message submessage" {
                assert_eq!(all, Err(DnstapError::NoMessage), "{description}");
            } else {
                let response = all.unwrap();
                assert_eq!(response.message.is_empty(), description.contains("without response_message"), "{description}");
                assert_eq!(
                    response.client.is_none(),
                    description.starts_with("no addresses") || description.starts_with("query address of 3"),
                    "{description}"
                );
                assert_eq!(response.time.is_none(), description.starts_with("no addresses"), "{description}");
            }
            let is_client_response = entry["decoded_message_type"] == "6";
            assert_eq!(parse(CountedTypes::ClientResponses).is_ok(), is_client_response, "{description}");
        }
        let first = Response::parse(Bytes::from(vectors::octets(&frames[0]["frame_hex"])), CountedTypes::default()).unwrap();
        assert_eq!(first.client, Some("198.51.100.20".parse().unwrap()));
        assert_eq!(first.time, Some("2026-05-28T12:13:14.000000015Z".parse().unwrap()));
    }

    #[test]
    fn times_beyond_the_calendar_are_no_times() {
        assert_eq!(timestamp(u64::MAX, 0), None);
        assert_eq!(timestamp(i64::MAX.unsigned_abs(), u32::MAX), None);
        assert_eq!(timestamp(59, 1_000_000_000), Some(Timestamp::from_second(60).unwrap()));
    }

    #[test]
    fn debug_output_shows_no_client() {
        let response = Response { client: Some("198.51.100.20".parse().unwrap()), time: None, message: Bytes::new() };
        assert!(!format!("{response:?}").contains("198.51"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(octets in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Response::parse(Bytes::from(octets), CountedTypes::AllResponses);
        }
    }
}
