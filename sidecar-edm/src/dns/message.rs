//! The message: header, questions, and a walk over all records that checks them.

use super::DnsError;
use super::name::{self, QuestionName};
use crate::decode::rdata;

const HEADER_LENGTH: usize = 12;
const TYPE_OPT: u16 = 41;

/// What EDM needs of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Second word of the header, as received.
    pub flags: u16,
    /// Response code with the upper bits of an OPT record.
    pub response_code: u16,
    /// First question.
    pub question: Option<Question>,
    /// How many questions there are.
    pub questions: usize,
}

/// A question. Type and class are zero where the message ends before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Name asked for.
    pub name: QuestionName,
    /// Type asked for.
    pub question_type: u16,
    /// Class asked for.
    pub class: u16,
}

impl Message {
    /// Reads a whole message.
    pub fn parse(message: &[u8]) -> Result<Self, DnsError> {
        let header = message.first_chunk::<HEADER_LENGTH>().ok_or(DnsError::Truncated)?;
        let word = |index: usize| u16::from_be_bytes([header[2 * index], header[2 * index + 1]]);
        let flags = word(1);
        let mut parsed = Self { flags, response_code: flags & 0x000f, question: None, questions: 0 };
        // Some resolvers send the header alone with REFUSED, whatever its counters say.
        if message.len() == HEADER_LENGTH {
            return Ok(parsed);
        }
        let mut offset = HEADER_LENGTH;
        for _ in 0..word(2) {
            let (question, next) = parse_question(message, offset)?;
            offset = next;
            parsed.questions += 1;
            parsed.question.get_or_insert(question);
        }
        for section in [word(3), word(4)] {
            offset = skip_section(message, offset, section, |_| ())?;
        }
        let mut extended = 0;
        skip_section(message, offset, word(5), |record| {
            if record.record_type == TYPE_OPT {
                // RFC 6891 section 6.1.3: the upper eight bits of the extended code stand where the TTL begins.
                extended = u16::from(record.ttl.to_be_bytes()[0]) << 4;
            }
        })?;
        parsed.response_code |= extended;
        Ok(parsed)
    }
}

fn parse_question(message: &[u8], offset: usize) -> Result<(Question, usize), DnsError> {
    let (name, mut offset) = QuestionName::parse(message, offset)?;
    let mut question = Question { name, question_type: 0, class: 0 };
    for field in [&mut question.question_type, &mut question.class] {
        if offset == message.len() {
            break;
        }
        *field = u16_at(message, offset)?;
        offset += 2;
    }
    Ok((question, offset))
}

struct RecordHeader {
    record_type: u16,
    ttl: u32,
}

/// Reading stops without an error where the message ends between two records: counters cannot be trusted.
fn skip_section(
    message: &[u8],
    mut offset: usize,
    records: u16,
    mut on_record: impl FnMut(RecordHeader),
) -> Result<usize, DnsError> {
    for _ in 0..records {
        if offset == message.len() {
            break;
        }
        let (header, next) = skip_record(message, offset)?;
        offset = next;
        on_record(header);
    }
    Ok(offset)
}

fn skip_record(message: &[u8], offset: usize) -> Result<(RecordHeader, usize), DnsError> {
    let offset = name::skip(message, offset)?;
    let record_type = u16_at(message, offset)?;
    let ttl = message.get(offset + 4..).and_then(|rest| rest.first_chunk::<4>()).ok_or(DnsError::Truncated)?;
    let length = usize::from(u16_at(message, offset + 8)?);
    let start = offset + 10;
    let end = start + length;
    // Nothing inside RDATA may reach beyond it, not even a compression pointer.
    let up_to_end = message.get(..end).ok_or(DnsError::Truncated)?;
    rdata::check(record_type, up_to_end, start)?;
    Ok((RecordHeader { record_type, ttl: u32::from_be_bytes(*ttl) }, end))
}

fn u16_at(message: &[u8], offset: usize) -> Result<u16, DnsError> {
    let octets = message.get(offset..).and_then(|rest| rest.first_chunk::<2>()).ok_or(DnsError::Truncated)?;
    Ok(u16::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors;

    #[test]
    fn recorded_messages() {
        let vector = vectors::load("dns_messages.json");
        let messages = vector["vectors"].as_array().unwrap();
        assert!(messages.len() >= 31);
        for entry in messages {
            let description = entry["desc"].as_str().unwrap();
            let parsed = Message::parse(&vectors::octets(&entry["message_hex"]));
            assert_eq!(parsed.is_ok(), entry["unpack_ok"].as_bool().unwrap(), "{description}: {parsed:?}");
            let Ok(message) = parsed else { continue };
            assert_eq!(u64::try_from(message.questions).unwrap(), entry["questions"].as_u64().unwrap(), "{description}");
            assert_eq!(u64::from(message.response_code), entry["rcode"].as_u64().unwrap(), "{description}");
            assert_eq!(u64::from(message.flags), entry["flags_for_event"].as_u64().unwrap(), "{description}");
            let Some(question) = message.question else { continue };
            assert_eq!(question.name.presentation(), entry["qname"].as_str().unwrap(), "{description}");
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
            let outcome = match Message::parse(&hex::decode(octets).unwrap()) {
                Ok(message) => format!("accepted {}", message.response_code),
                Err(_) => "refused".to_owned(),
            };
            assert_eq!(outcome, expected, "{octets}");
            accepted += usize::from(outcome != "refused");
        }
        assert_eq!(accepted, 250);
    }

    #[test]
    fn a_second_question_that_is_not_there_is_an_error() {
        let mut message = vec![0, 0, 0x81, 0x80, 0, 2, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&[1, b'a', 0, 0, 1, 0, 1]);
        assert_eq!(Message::parse(&message), Err(DnsError::Truncated));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(octets in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Message::parse(&octets);
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
            let _ = Message::parse(&message);
            message.truncate(message.len().saturating_sub(cut));
            let _ = Message::parse(&message);
        }
    }
}
