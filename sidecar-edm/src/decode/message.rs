//! dnstap: the protobuf payload of a data frame.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::protobuf::{Fields, Malformed, fixed32, octets, varint};
use super::{CountedTypes, Dropped};

/// Of `Dnstap`.
const IDENTITY: u64 = octets(1);
const MESSAGE: u64 = octets(14);
const TYPE: u64 = varint(15);
/// Of `Message`. A field of any other tag is unknown, also one of these numbers with another wire type.
const MESSAGE_TYPE: u64 = varint(1);
const SOCKET_FAMILY: u64 = varint(2);
const SOCKET_PROTOCOL: u64 = varint(3);
const QUERY_ADDRESS: u64 = octets(4);
const RESPONSE_ADDRESS: u64 = octets(5);
const QUERY_PORT: u64 = varint(6);
const RESPONSE_PORT: u64 = varint(7);
const RESPONSE_SECONDS: u64 = varint(12);
const RESPONSE_NANOSECONDS: u64 = fixed32(13);
const RESPONSE_MESSAGE: u64 = octets(14);

/// What a resolver says of a response. Enumerations are open: numbers of later schema versions pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// Which kind of message.
    pub message_type: i32,
    /// Socket family: 1 is IPv4, 2 is IPv6.
    pub family: Option<i32>,
    /// Socket protocol: 1 is UDP, 2 is TCP.
    pub protocol: Option<i32>,
    /// Who asked.
    pub client: Address<'a>,
    /// Who answered.
    pub server: Address<'a>,
    /// The client's port, as sent.
    pub client_port: Option<u32>,
    /// The server's port, as sent.
    pub server_port: Option<u32>,
    /// When the answer was sent. `None`: the sender says nothing usable.
    pub time: Option<Time>,
    /// The DNS message; empty if there is none.
    pub response: &'a [u8],
    /// What the resolver calls itself; empty if it does not.
    pub identity: &'a [u8],
}

/// Octets in place of an address. They must never leave the process.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Address<'a>(&'a [u8]);

impl<'a> Address<'a> {
    /// As sent; none if it was not.
    #[must_use]
    pub const fn octets(self) -> &'a [u8] {
        self.0
    }

    /// Only lengths 4 and 16 are addresses; the socket family is not asked.
    #[must_use]
    pub fn ip(self) -> Option<IpAddr> {
        if let Ok(v4) = <[u8; 4]>::try_from(self.0) {
            return Some(v4.into());
        }
        <[u8; 16]>::try_from(self.0).ok().map(IpAddr::from)
    }
}

impl std::fmt::Debug for Address<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Address").field("octets", &self.0.len()).finish()
    }
}

/// Time since the epoch, as sent: the nanoseconds may be more than a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Whole seconds; never negative.
    pub seconds: i64,
    /// And these; zero if not sent.
    pub nanoseconds: u32,
}

impl Time {
    /// None beyond the calendar.
    #[must_use]
    pub fn timestamp(self) -> Option<Timestamp> {
        let since_epoch =
            SignedDuration::new(self.seconds, 0).checked_add(SignedDuration::from_nanos(self.nanoseconds.into()))?;
        Timestamp::from_duration(since_epoch).ok()
    }
}

/// What has been read of the `Message` inside. It may come in several parts, of which the last word counts.
#[derive(Default)]
struct Parts<'a> {
    message: Message<'a>,
    has_type: bool,
    seconds: Option<u64>,
    nanoseconds: u32,
}

impl<'a> Message<'a> {
    /// Reads the payload of a data frame. Where the type does not count, the rest is not looked at.
    ///
    /// # Errors
    /// The reason why it is not counted.
    #[inline]
    pub fn read(frame: &'a [u8], types: CountedTypes) -> Result<Self, Dropped> {
        let mut fields = Fields::new(frame);
        let (mut parts, mut identity, mut has_message, mut has_type) = (Parts::default(), &[][..], false, false);
        while let Some(tag) = fields.tag()? {
            match tag {
                IDENTITY => identity = fields.octets()?,
                MESSAGE => {
                    has_message = true;
                    parts.read(fields.octets()?, types)?;
                }
                TYPE => {
                    fields.varint()?;
                    has_type = true;
                }
                _ => fields.skip(tag)?,
            }
        }
        if !has_type {
            return Err(Dropped::Undecodable);
        }
        if !has_message {
            return Err(Dropped::NoMessage);
        }
        if !parts.has_type {
            return Err(Dropped::Undecodable);
        }
        let seconds = parts.seconds.and_then(|seconds| i64::try_from(seconds).ok());
        let time = seconds.map(|seconds| Time { seconds, nanoseconds: parts.nanoseconds });
        Ok(Self { identity, time, ..parts.message })
    }
}

impl<'a> Parts<'a> {
    #[inline]
    fn read(&mut self, octets: &'a [u8], types: CountedTypes) -> Result<(), Dropped> {
        let mut fields = Fields::new(octets);
        let message = &mut self.message;
        while let Some(tag) = fields.tag()? {
            // Numbers that do not fit are cut, as the protobuf encoding wants it.
            match tag {
                MESSAGE_TYPE => {
                    message.message_type = fields.varint()? as i32;
                    self.has_type = true;
                    if !types.counts(message.message_type) {
                        return Err(Dropped::TypeNotCounted);
                    }
                }
                SOCKET_FAMILY => message.family = Some(fields.varint()? as i32),
                SOCKET_PROTOCOL => message.protocol = Some(fields.varint()? as i32),
                QUERY_ADDRESS => message.client = Address(fields.octets()?),
                RESPONSE_ADDRESS => message.server = Address(fields.octets()?),
                QUERY_PORT => message.client_port = Some(fields.varint()? as u32),
                RESPONSE_PORT => message.server_port = Some(fields.varint()? as u32),
                RESPONSE_SECONDS => self.seconds = Some(fields.varint()?),
                RESPONSE_NANOSECONDS => self.nanoseconds = fields.fixed32()?,
                RESPONSE_MESSAGE => message.response = fields.octets()?,
                _ => fields.skip(tag)?,
            }
        }
        Ok(())
    }
}

impl From<Malformed> for Dropped {
    fn from(Malformed: Malformed) -> Self {
        Self::Undecodable
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use jiff::Timestamp;

    use super::{Address, CountedTypes, Dropped, Message, Time};

    fn varint(number: u32, mut value: u64) -> Vec<u8> {
        let mut octets = vec![u8::try_from(number << 3).unwrap()];
        while value >= 0x80 {
            octets.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        octets.push(value as u8);
        octets
    }

    fn octets(number: u32, value: &[u8]) -> Vec<u8> {
        let mut field = varint(number, value.len() as u64);
        field[0] |= 2;
        field.extend_from_slice(value);
        field
    }

    fn frame(inner: &[Vec<u8>]) -> Vec<u8> {
        [octets(14, &inner.concat()), varint(15, 1)].concat()
    }

    fn read(frame: &[u8]) -> Result<Message<'_>, Dropped> {
        Message::read(frame, CountedTypes::default())
    }

    #[test]
    fn the_last_word_counts_and_parts_are_put_together() {
        let frame = [
            octets(14, &[varint(1, 6), varint(6, 1), varint(12, 5)].concat()),
            octets(14, &[varint(6, 2), octets(4, &[192, 0, 2, 1])].concat()),
            varint(15, 1),
        ]
        .concat();
        let message = read(&frame).unwrap();
        assert_eq!((message.client_port, message.client.ip()), (Some(2), Some([192, 0, 2, 1].into())));
        assert_eq!(message.time, Some(Time { seconds: 5, nanoseconds: 0 }));
    }

    #[test]
    fn a_field_of_another_wire_type_is_an_unknown_field() {
        let unfit = [varint(1, 6), varint(4, 7), octets(6, b"port"), octets(1, b"type"), vec![0x69, 1, 2, 3, 4, 5, 6, 7, 8]];
        let unfit = frame(&unfit);
        let message = read(&unfit).unwrap();
        assert_eq!((message.client.octets(), message.client_port), (&[][..], None));
        assert_eq!(read(&frame(&[octets(1, b"6")])), Err(Dropped::Undecodable), "a type that is text is no type");
        assert_eq!(read(&[varint(14, 1), varint(15, 1)].concat()), Err(Dropped::NoMessage));
    }

    /// As a line of the file, after the frame.
    fn told(message: &Message<'_>) -> String {
        let number = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
        format!(
            "{} {} {} {}/{} {} {} {} {} {}/{}",
            message.message_type,
            number(message.family.map(Into::into)),
            number(message.protocol.map(Into::into)),
            hex::encode(message.client.octets()),
            hex::encode(message.server.octets()),
            number(message.client_port.map(Into::into)),
            number(message.server_port.map(Into::into)),
            number(message.time.map(|time| time.seconds)),
            message.time.map_or(0, |time| time.nanoseconds),
            hex::encode(message.response),
            hex::encode(message.identity),
        )
    }

    #[test]
    fn accepts_and_refuses_like_the_library_behind_upstream() {
        let lines = include_str!("../../tests/data/dnstap_acceptance.txt").lines().filter(|line| !line.starts_with('#'));
        let mut compared = 0;
        for line in lines {
            let (octets, expected) = line.split_once(' ').unwrap();
            let octets = hex::decode(octets).unwrap();
            let ours = match Message::read(&octets, CountedTypes::ALL_RESPONSES) {
                // The rest was not looked at.
                Err(Dropped::TypeNotCounted) => continue,
                Err(reason) => <&str>::from(reason).to_owned(),
                Ok(message) => told(&message),
            };
            let mut expected: Vec<_> = expected.split(' ').collect();
            // Without seconds that can be used, nanoseconds say nothing.
            if let [.., seconds, nanoseconds, _] = expected.as_mut_slice()
                && seconds.parse::<i64>().is_err()
            {
                (*seconds, *nanoseconds) = ("-", "0");
            }
            assert_eq!(ours, expected.join(" "), "{line}");
            compared += 1;
        }
        assert!(compared > 420, "{compared}");
    }

    #[test]
    fn what_is_required() {
        assert_eq!(read(&[]), Err(Dropped::Undecodable));
        assert_eq!(read(&varint(15, 1)), Err(Dropped::NoMessage));
        assert_eq!(read(&octets(14, &varint(1, 6))), Err(Dropped::Undecodable));
        assert_eq!(read(&frame(&[varint(2, 1)])), Err(Dropped::Undecodable));
        // Any type will do outside: upstream does not look at it.
        assert!(read(&[octets(14, &varint(1, 6)), varint(15, 77)].concat()).is_ok());
    }

    #[test]
    fn nothing_is_read_behind_a_type_that_does_not_count() {
        let broken = [octets(14, &[varint(1, 5), vec![7; 3]].concat()), vec![7; 3]].concat();
        assert_eq!(read(&broken), Err(Dropped::TypeNotCounted));
        let broken = frame(&[varint(1, 6), vec![7; 3]]);
        assert_eq!(read(&broken), Err(Dropped::Undecodable));
    }

    #[test]
    fn times() {
        let time = |seconds: u64| read(&frame(&[varint(1, 6), varint(12, seconds)])).unwrap().time;
        assert_eq!(time(i64::MAX as u64).and_then(Time::timestamp), None);
        assert_eq!(time(i64::MAX as u64 + 1), None);
        assert_eq!(read(&frame(&[varint(1, 6), vec![0x6d, 1, 0, 0, 0]])).unwrap().time, None, "nanoseconds alone");
        let carried = Time { seconds: 59, nanoseconds: 1_000_000_000 };
        assert_eq!(carried.timestamp(), Some(Timestamp::from_second(60).unwrap()));
        assert_eq!(Time { seconds: i64::MAX, nanoseconds: u32::MAX }.timestamp(), None);
    }

    #[test]
    fn debug_output_shows_no_client() {
        let frame = frame(&[varint(1, 6), octets(4, &[198, 51, 100, 20])]);
        assert!(!format!("{:?}", read(&frame).unwrap()).contains("198"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(octets in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Message::read(&octets, CountedTypes::ALL_RESPONSES);
        }

        #[test]
        fn what_was_written_is_read(
            numbers in any::<[u32; 4]>(),
            addresses in any::<(Vec<u8>, Vec<u8>)>(),
            time in any::<(u64, u32)>(),
            response in prop::collection::vec(any::<u8>(), 0..300),
            identity in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let [family, protocol, client_port, server_port] = numbers;
            let nanoseconds = [&[0x6d][..], &time.1.to_le_bytes()].concat();
            let written = frame(&[
                varint(1, 6), varint(2, family.into()), varint(3, protocol.into()), octets(4, &addresses.0), octets(5, &addresses.1),
                varint(6, client_port.into()), varint(7, server_port.into()), octets(10, b"query"), varint(12, time.0), nanoseconds,
                octets(14, &response), octets(15, b"policy"),
            ]);
            let written = [octets(1, &identity), octets(2, b"version"), written].concat();
            let expected = Message {
                message_type: 6,
                family: Some(family as i32),
                protocol: Some(protocol as i32),
                client: Address(&addresses.0),
                server: Address(&addresses.1),
                client_port: Some(client_port),
                server_port: Some(server_port),
                time: i64::try_from(time.0).ok().map(|seconds| Time { seconds, nanoseconds: time.1 }),
                response: &response,
                identity: &identity,
            };
            prop_assert_eq!(read(&written), Ok(expected));
            for cut in [1, 2, 3, 10, 50, 100] {
                let _ = read(&written[..written.len().saturating_sub(cut)]);
            }
        }
    }
}
