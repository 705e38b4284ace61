//! From the payload of a data frame to what is counted. In place: everything borrows from the frame, nothing is allocated.
//!
//! ```text
//! frame --message--> Message (client, server, time, the DNS message) --query--> Query (first question, response code)
//! ```
//! Two steps, because upstream looks at the client between them (`spec/edm.md` 4.1): a client on the ignore list is ignored whatever it
//! asked. [`counted`] does both. Each reason why a frame is not counted is a [`Dropped`].
//!
//! Sources: `spec/edm.md` 3.3, 3.4, 4.1 to 4.3 and 4.5; dnstap's schema; the protobuf encoding; RFC 1035, RFC 6891.

mod frame;
mod message;
pub(crate) mod name;
mod options;
mod protobuf;
mod query;
pub(crate) mod rdata;
mod types;

pub(crate) use frame::Frame;
pub use message::{Address, Message, Time};
pub use name::Room;
pub use query::{Query, Question};
use strum::{EnumIter, IntoStaticStr};
pub use types::{CountedTypes, MessageType};

/// Why a frame is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr, thiserror::Error)]
#[strum(serialize_all = "snake_case")]
pub enum Dropped {
    /// Not protobuf, or a required field is missing.
    #[error("reading dnstap: not a complete dnstap message")]
    Undecodable,
    /// No `Message` inside.
    #[error("reading dnstap: no message inside")]
    NoMessage,
    /// A type that does not count.
    #[error("reading dnstap: message type does not count")]
    TypeNotCounted,
    /// The DNS message ends inside something, or there is none.
    #[error("reading a DNS message: it ends too early")]
    DnsTruncated,
    /// A name that is none.
    #[error("reading a DNS message: bad name")]
    DnsName,
    /// RDATA that does not fit its type.
    #[error("reading a DNS message: record data does not fit its type")]
    DnsRecordData,
    /// A DNS message without a question.
    #[error("reading a DNS message: no question")]
    NoQuestion,
}

/// Why a DNS message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The message ends inside something.
    #[error("reading a DNS message: it ends too early")]
    Truncated,
    /// Longer than 255 octets, too many pointers, or a reserved label type.
    #[error("reading a DNS message: bad name")]
    Name,
    /// RDATA that does not fit its type.
    #[error("reading a DNS message: record data does not fit its type")]
    RecordData,
}

impl From<DnsError> for Dropped {
    fn from(error: DnsError) -> Self {
        match error {
            DnsError::Truncated => Self::DnsTruncated,
            DnsError::Name => Self::DnsName,
            DnsError::RecordData => Self::DnsRecordData,
        }
    }
}

/// A response that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted<'a> {
    /// What the resolver says of it.
    pub message: Message<'a>,
    /// The DNS message.
    pub query: Query<'a>,
    /// Its first question.
    pub question: Question<'a>,
}

/// Reads the payload of a data frame; the room is used where a name does not stand in one piece.
///
/// # Errors
/// The reason why it is not counted.
#[inline]
pub fn counted<'a>(frame: &'a [u8], types: CountedTypes, room: &'a mut Room) -> Result<Counted<'a>, Dropped> {
    let message = Message::read(frame, types)?;
    let query = Query::read(message.response, room)?;
    let question = query.question.ok_or(Dropped::NoQuestion)?;
    Ok(Counted { message, query, question })
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator as _;

    use super::*;
    use crate::vectors;

    #[test]
    fn recorded_frames() {
        let vector = vectors::load("dnstap_frames.json");
        let frames = vector["vectors"].as_array().unwrap();
        assert_eq!(frames.len(), 19);
        let mut reasons = Vec::new();
        for entry in frames {
            let description = entry["desc"].as_str().unwrap();
            let expected = entry["expect"].as_str().unwrap();
            let (octets, mut room, mut other) = (vectors::octets(&entry["frame_hex"]), Room::default(), Room::default());
            let outcome = counted(&octets, CountedTypes::ALL_RESPONSES, &mut room);
            match outcome {
                Ok(counted) => {
                    assert!(["processed", "accepted", "HLL"].iter().any(|word| expected.starts_with(word)), "{description}");
                    let octets = counted.question.name.octets();
                    assert!(octets.eq_ignore_ascii_case(b"\x03www\x07example\x03com\0"), "{description}: {octets:?}");
                }
                Err(reason) => {
                    assert!(!expected.starts_with("processed") && !expected.starts_with("HLL"), "{description}: {reason}");
                    reasons.push((description, reason));
                }
            }
            let default = counted(&octets, CountedTypes::default(), &mut other);
            let is_client_response = entry["decoded_message_type"] == "6";
            assert_eq!(default.is_ok(), is_client_response && outcome.is_ok(), "{description}");
            let has_type = entry["protobuf_result"] == "" && entry["decoded_message_type"] != "";
            if has_type && !is_client_response {
                assert_eq!(default, Err(Dropped::TypeNotCounted), "{description}");
            }
        }
        for (_, reason) in &reasons {
            assert_ne!(*reason, Dropped::DnsRecordData);
        }
        let of = |reason: Dropped| {
            reasons.iter().filter(|(_, other)| *other == reason).map(|(description, _)| *description).collect::<Vec<_>>()
        };
        assert_eq!(of(Dropped::TypeNotCounted), ["CLIENT_QUERY"]);
        assert_eq!(of(Dropped::NoMessage), ["no Message submessage"]);
        let undecodable = frames.iter().filter(|entry| entry["protobuf_result"] != "").count();
        assert_eq!(of(Dropped::Undecodable).len(), undecodable, "{reasons:?}");
    }

    #[test]
    fn what_the_recorded_frames_say() {
        let vector = vectors::load("dnstap_frames.json");
        let octets = |index: usize| vectors::octets(&vector["vectors"][index]["frame_hex"]);
        let (first, second, mut room) = (octets(0), octets(1), Room::default());
        let Counted { message, query, .. } = counted(&first, CountedTypes::default(), &mut room).unwrap();
        assert_eq!(message.client.ip(), Some("198.51.100.20".parse().unwrap()));
        assert_eq!(message.server.ip(), Some("198.51.100.30".parse().unwrap()));
        assert_eq!((message.client_port, message.server_port), (Some(12345), Some(53)));
        assert_eq!((message.message_type, message.family, message.protocol), (6, Some(1), Some(1)));
        assert_eq!(message.identity, b"server-1");
        assert_eq!(message.time.and_then(Time::timestamp), Some("2026-05-28T12:13:14.000000015Z".parse().unwrap()));
        assert_eq!((query.id, query.flags, query.response_code), (0x1234, 0x8180, 0));
        let message = Message::read(&second, CountedTypes::default()).unwrap();
        assert_eq!(message.client.ip(), Some("2001:db8:1122:3344:5566:7788:99aa:bbcc".parse().unwrap()));
        assert_eq!((message.family, message.protocol), (Some(2), Some(2)));
    }

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> = Dropped::iter().map(Into::into).collect();
        assert_eq!(names.len(), Dropped::iter().count());
        assert!(names.contains("type_not_counted") && names.contains("dns_record_data"));
    }
}
