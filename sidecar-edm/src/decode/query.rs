//! The DNS message of a response: header, questions, and a walk over all records that checks them. Nothing is allocated.
//!
//! What is accepted is what the library behind upstream accepts (`spec/edm.md` 4.3), because that decides what Core gets to see: tolerant of
//! messages that end early, strict about records that are there. So every record is looked at; skipping them would let messages through
//! that upstream drops, and would miss the upper bits of the response code.

use super::name::{self, Found, Room};
use super::{DnsError, rdata};
use crate::names::WireName;

const HEADER_LENGTH: usize = 12;
const TYPE_OPT: u16 = 41;
/// A pointer to the first question's name: how nearly every record of an answer begins.
const TO_QUESTION: [u8; 2] = [0xc0, HEADER_LENGTH as u8];

/// What EDM needs of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The message's identifier.
    pub id: u16,
    /// Second word of the header, as received.
    pub flags: u16,
    /// Response code with the upper bits of an OPT record.
    pub response_code: u16,
    /// First question.
    pub question: Option<Question<'a>>,
    others: Others<'a>,
}

/// A question. Type and class are zero where the message ends before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// Name asked for, case as received.
    pub name: WireName<'a>,
    /// Type asked for.
    pub question_type: u16,
    /// Class asked for.
    pub class: u16,
}

/// Questions after the first.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Others<'a> {
    message: &'a [u8],
    offset: usize,
    count: u16,
}

impl std::fmt::Debug for Others<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Others").field("count", &self.count).finish_non_exhaustive()
    }
}

impl<'a> Query<'a> {
    /// Reads a whole message. The room is used where the first question's name does not stand in one piece.
    ///
    /// # Errors
    /// Where upstream drops the message.
    pub fn read(message: &'a [u8], room: &'a mut Room) -> Result<Self, DnsError> {
        let header = message.first_chunk::<HEADER_LENGTH>().ok_or(DnsError::Truncated)?;
        let word = |index: usize| u16::from_be_bytes([header[2 * index], header[2 * index + 1]]);
        let (flags, questions) = (word(1), word(2));
        let others = Others { message, offset: HEADER_LENGTH, count: 0 };
        let mut query = Self { id: word(0), flags, response_code: flags & 0x000f, question: None, others };
        // Some resolvers send the header alone with REFUSED, whatever its counters say.
        if message.len() == HEADER_LENGTH {
            return Ok(query);
        }
        let mut records = Records { message, question_is_whole: false };
        let mut offset = HEADER_LENGTH;
        if questions > 0 {
            let found = name::read(message, offset, room)?;
            records.question_is_whole = found.is_whole;
            let (question, end) = complete(message, found)?;
            query.question = Some(question);
            query.others = Others { message, offset: end, count: questions - 1 };
            offset = query.others.each(|_| ())?;
        }
        for section in [word(3), word(4)] {
            offset = records.skip(offset, section, |_, _| ())?;
        }
        let mut extended = 0;
        records.skip(offset, word(5), |record_type, ttl| {
            if record_type == TYPE_OPT {
                // RFC 6891 section 6.1.3: the upper eight bits of the extended code stand where the TTL begins.
                extended = u16::from(ttl) << 4;
            }
        })?;
        query.response_code |= extended;
        Ok(query)
    }

    /// How many questions there are.
    #[must_use]
    pub const fn questions(&self) -> usize {
        self.others.count as usize + self.question.is_some() as usize
    }

    /// Names of the questions after the first: nearly never are there any.
    pub fn other_names(&self, mut on_name: impl FnMut(WireName<'_>)) {
        // They were read once already, so nothing can be wrong with them.
        let _ = self.others.each(|question| on_name(question.name));
    }
}

impl Others<'_> {
    /// Goes through them, and gives the offset after the last.
    fn each(&self, mut on_question: impl FnMut(Question<'_>)) -> Result<usize, DnsError> {
        if self.count == 0 {
            return Ok(self.offset);
        }
        let (mut room, mut offset) = (Room::default(), self.offset);
        for _ in 0..self.count {
            let (question, end) = complete(self.message, name::read(self.message, offset, &mut room)?)?;
            on_question(question);
            offset = end;
        }
        Ok(offset)
    }
}

/// What follows a question's name.
fn complete<'a>(message: &[u8], found: Found<'a>) -> Result<(Question<'a>, usize), DnsError> {
    let mut offset = found.end;
    let mut question = Question { name: found.name, question_type: 0, class: 0 };
    for field in [&mut question.question_type, &mut question.class] {
        if offset == message.len() {
            break;
        }
        let octets = message.get(offset..).and_then(|rest| rest.first_chunk::<2>()).ok_or(DnsError::Truncated)?;
        *field = u16::from_be_bytes(*octets);
        offset += 2;
    }
    Ok((question, offset))
}

struct Records<'a> {
    message: &'a [u8],
    /// The first question's name was read where it stands, and a pointer to it is a name.
    question_is_whole: bool,
}

impl Records<'_> {
    /// Goes through a section. Reading stops without an error where the message ends between two records: counters cannot be trusted.
    fn skip(&self, mut offset: usize, records: u16, mut on_record: impl FnMut(u16, u8)) -> Result<usize, DnsError> {
        let message = self.message;
        for _ in 0..records {
            if offset == message.len() {
                break;
            }
            let after_owner = self.skip_owner(offset)?;
            // Type, class, TTL, length.
            let fixed = message.get(after_owner..).and_then(|rest| rest.first_chunk::<10>()).ok_or(DnsError::Truncated)?;
            let record_type = u16::from_be_bytes([fixed[0], fixed[1]]);
            let start = after_owner + 10;
            offset = start + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
            // Nothing inside RDATA may reach beyond it, not even a compression pointer.
            let up_to_end = message.get(..offset).ok_or(DnsError::Truncated)?;
            // A, AAAA and an OPT without options: nearly all there are, and nothing in them can be wrong but the length.
            if !matches!((record_type, offset - start), (1, 4) | (28, 16) | (TYPE_OPT, 0)) {
                rdata::check(record_type, up_to_end, start)?;
            }
            on_record(record_type, fixed[4]);
        }
        Ok(offset)
    }

    #[inline]
    fn skip_owner(&self, offset: usize) -> Result<usize, DnsError> {
        let is_question = self.question_is_whole && self.message.get(offset..offset + 2) == Some(TO_QUESTION.as_slice());
        if is_question { Ok(offset + 2) } else { name::skip(self.message, offset) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::names::Presentation;
    use crate::vectors;

    #[test]
    fn recorded_messages() {
        let vector = vectors::load("dns_messages.json");
        let messages = vector["vectors"].as_array().unwrap();
        assert!(messages.len() >= 31);
        let mut text = Presentation::default();
        for entry in messages {
            let description = entry["desc"].as_str().unwrap();
            let (octets, mut room) = (vectors::octets(&entry["message_hex"]), Room::default());
            let read = Query::read(&octets, &mut room);
            assert_eq!(read.is_ok(), entry["unpack_ok"].as_bool().unwrap(), "{description}: {read:?}");
            let Ok(query) = read else { continue };
            assert_eq!(query.questions() as u64, entry["questions"].as_u64().unwrap(), "{description}");
            assert_eq!(u64::from(query.response_code), entry["rcode"].as_u64().unwrap(), "{description}");
            assert_eq!(u64::from(query.flags), entry["flags_for_event"].as_u64().unwrap(), "{description}");
            assert_eq!(query.id, u16::from_be_bytes([octets[0], octets[1]]));
            let Some(question) = query.question else { continue };
            assert_eq!(text.read(question.name), entry["qname"].as_str().unwrap(), "{description}");
            assert_eq!(u64::from(question.question_type), entry["qtype"].as_u64().unwrap(), "{description}");
            assert_eq!(u64::from(question.class), entry["qclass"].as_u64().unwrap(), "{description}");
        }
    }

    #[test]
    fn accepts_and_refuses_like_the_library_behind_upstream() {
        let lines = include_str!("../../tests/data/dns_acceptance.txt").lines().filter(|line| !line.starts_with('#'));
        let mut accepted = 0;
        for line in lines {
            let (octets, expected) = line.split_once(' ').unwrap();
            let outcome = match Query::read(&hex::decode(octets).unwrap(), &mut Room::default()) {
                Ok(query) => format!("accepted {}", query.response_code),
                Err(_) => "refused".to_owned(),
            };
            assert_eq!(outcome, expected, "{octets}");
            accepted += usize::from(outcome != "refused");
        }
        assert_eq!(accepted, 250);
    }

    fn other_names(message: &[u8]) -> Vec<Vec<u8>> {
        let (mut room, mut names) = (Room::default(), Vec::new());
        Query::read(message, &mut room).unwrap().other_names(|name| names.push(name.octets().to_vec()));
        names
    }

    #[test]
    fn questions_after_the_first() {
        let mut message = vec![0, 0, 0x81, 0x80, 0, 3, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(b"\x01a\0\0\x01\0\x01\x01b\xc0\x0c\0\x01\0\x01\0\0\x02\0\x01");
        assert_eq!(other_names(&message), [b"\x01b\x01a\0".as_slice(), b"\0"]);
        // One that is not there is an error.
        message[5] = 4;
        assert_eq!(Query::read(&message, &mut Room::default()), Err(DnsError::Truncated));
    }

    #[test]
    fn a_name_in_pieces_is_put_together() {
        let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(b"\x03www\xc0\x16\0\x01\0\x01\x07example\0");
        let mut room = Room::default();
        let question = Query::read(&message, &mut room).unwrap().question.unwrap();
        assert_eq!(question.name.octets(), b"\x03www\x07example\0");
        assert_eq!((question.name.label_count(), question.question_type), (2, 1));
    }

    /// A question that is itself a pointer too many is no name for a record that points to it.
    #[test]
    fn the_short_cut_to_the_question_is_taken_only_where_it_leads_to_a_name() {
        // 126 pointers down to the root, in an opaque record at the end; the question points to the first of them.
        let build = |pointers: usize| {
            let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 1, 0, 0];
            let chain = 12 + 6 + 12 + 11;
            message.extend_from_slice(&(0xc000 | u16::try_from(chain).unwrap()).to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 1]);
            message.extend_from_slice(&[0xc0, 12, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            message.extend_from_slice(&[0, 0xff, 0, 0, 1, 0, 0, 0, 0]);
            message.extend_from_slice(&u16::try_from(2 * pointers + 1).unwrap().to_be_bytes());
            for index in 1..=pointers {
                message.extend_from_slice(&(0xc000 | u16::try_from(chain + 2 * index).unwrap()).to_be_bytes());
            }
            message.push(0);
            Query::read(&message, &mut Room::default()).is_ok()
        };
        assert!(build(124), "the record's name has 126");
        assert!(!build(125), "the question's name has 126, the record's one more");
    }

    #[test]
    fn debug_output_shows_no_name() {
        let message =
            [&[0, 0, 0x81, 0x80, 0, 2, 0, 0, 0, 0, 0, 0], b"\x06secret\0\0\x01\0\x01\x06hidden\0\0\x01\0\x01".as_slice()]
                .concat();
        let mut room = Room::default();
        let output = format!("{:?}", Query::read(&message, &mut room).unwrap());
        assert!(!output.contains("secret") && !output.contains("115"), "{output}");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(octets in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Query::read(&octets, &mut Room::default());
        }

        #[test]
        fn garbage_records_never_panic(
            record_type in prop_oneof![0u16..300, any::<u16>()],
            rdata in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..4], 0..80),
            cut in 0usize..100,
        ) {
            let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 1, 1, b'a', 0, 0, 1, 0, 1, 0xc0, 12];
            message.extend_from_slice(&record_type.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 0]);
            message.extend_from_slice(&u16::try_from(rdata.len()).unwrap().to_be_bytes());
            message.extend_from_slice(&rdata);
            let _ = Query::read(&message, &mut Room::default());
            message.truncate(message.len().saturating_sub(cut));
            let _ = Query::read(&message, &mut Room::default());
        }

        /// Whatever is asked comes out again, with the records of an ordinary answer behind it.
        #[test]
        fn what_was_written_is_read(
            name in crate::names::wire::tests::names(),
            words in any::<[u16; 4]>(),
            addresses in prop::collection::vec(any::<[u8; 4]>(), 0..4),
            extended in any::<u8>(),
        ) {
            let [id, flags, question_type, class] = words;
            let mut message = Vec::new();
            for word in [id, flags, 1, u16::try_from(addresses.len()).unwrap(), 0, 1] {
                message.extend_from_slice(&word.to_be_bytes());
            }
            message.extend_from_slice(&name);
            message.extend_from_slice(&question_type.to_be_bytes());
            message.extend_from_slice(&class.to_be_bytes());
            for address in &addresses {
                message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                message.extend_from_slice(address);
            }
            message.extend_from_slice(&[0, 0, 41, 4, 208, extended, 0, 0, 0, 0, 0]);
            let mut room = Room::default();
            let query = Query::read(&message, &mut room).unwrap();
            let question = query.question.unwrap();
            prop_assert_eq!(question.name.octets(), name.as_slice());
            prop_assert_eq!([query.id, query.flags, question.question_type, question.class], words);
            prop_assert_eq!(query.response_code, flags & 15 | u16::from(extended) << 4);
        }
    }
}
