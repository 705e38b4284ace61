//! DNS messages that came from outside, record by record, without a copy of the message.
//!
//! For what is too large or too raw for `hickory-proto`: transfers that feeds send ([`Incoming`]), and the signature at the end
//! of a request. Nothing here panics or loops whatever the octets are: every read is checked, pointers lead backward only and at
//! most [`name::MAX_HOPS`] times for a name.

mod incoming;
mod name;
mod soa;

pub use self::incoming::{Event, Incoming, Limits, Outcome, Progress, TransferError, Wanted};
pub use self::name::WireName;
pub use self::soa::Soa;

/// Octets of a header (RFC 1035 section 4.1.1).
pub const HEADER: usize = 12;
/// Octets of a record between its owner and its data.
const FIXED: usize = 10;

/// Types that mean something here.
pub mod kind {
    /// Address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Alias.
    pub const CNAME: u16 = 5;
    /// Start of authority.
    pub const SOA: u16 = 6;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// Signature of a transaction.
    pub const TSIG: u16 = 250;
    /// Incremental transfer.
    pub const IXFR: u16 = 251;
    /// Whole transfer.
    pub const AXFR: u16 = 252;
}

/// The Internet.
pub const CLASS_IN: u16 = 1;
/// Any class: that of signatures.
pub const CLASS_ANY: u16 = 255;

/// Octets that are no DNS message. Variant names serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Malformed {
    /// The message ends inside of something.
    #[error("the message is cut off")]
    Short,
    /// A name that is too long, or whose pointers lead nowhere or in a circle.
    #[error("the message has a broken name")]
    Name,
    /// Not one question, where there has to be one at most.
    #[error("the message has more than one question")]
    Questions,
    /// The data of a record is not what its type says.
    #[error("the message has a record with broken data")]
    Data,
    /// Octets behind the last record.
    #[error("the message has octets behind its last record")]
    Trailing,
    /// A signature that is not the last record, or is not as RFC 8945 section 4.2 says.
    #[error("the message has a broken signature record")]
    Signature,
}

/// First octets of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Id.
    pub id: u16,
    /// Flags, opcode and code of the answer.
    pub flags: u16,
    /// Records of each section, questions first.
    pub counts: [u16; 4],
}

impl Header {
    /// Of this message.
    pub fn of(message: &[u8]) -> Result<Self, Malformed> {
        let field = |index: usize| short(message, index * 2);
        Ok(Self { id: field(0)?, flags: field(1)?, counts: [field(2)?, field(3)?, field(4)?, field(5)?] })
    }

    /// It is an answer.
    #[must_use]
    pub const fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// What is asked for.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        (self.flags >> 11) as u8 & 15
    }

    /// How it went, without what EDNS adds.
    #[must_use]
    pub const fn code(&self) -> u8 {
        self.flags as u8 & 15
    }

    /// It was cut.
    #[must_use]
    pub const fn is_truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Name.
    pub name: WireName,
    /// Type.
    pub kind: u16,
    /// Class.
    pub class: u16,
}

/// Where in a message a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Answers.
    Answer,
    /// Authority.
    Authority,
    /// Additional.
    Additional,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'m> {
    message: &'m [u8],
    /// Where it begins in the message.
    pub at: usize,
    data: (usize, usize),
    /// Owner, in lower case.
    pub owner: WireName,
    /// Type.
    pub kind: u16,
    /// Class.
    pub class: u16,
    /// Lifetime in seconds.
    pub ttl: u32,
    /// Where it stands.
    pub section: Section,
}

impl<'m> Record<'m> {
    /// Its data as it stands there: names in it may be compressed.
    #[must_use]
    pub fn data(&self) -> &'m [u8] {
        self.message.get(self.data.0..self.data.1).unwrap_or_default()
    }

    /// The name that its data is (CNAME, NS, PTR, DNAME).
    pub fn target(&self) -> Result<WireName, Malformed> {
        let (name, end) = WireName::read(self.message, self.data.0)?;
        if end == self.data.1 { Ok(name) } else { Err(Malformed::Data) }
    }

    /// The SOA that its data is.
    pub fn soa(&self) -> Result<Soa, Malformed> {
        Soa::read(self.message, self.data)
    }
}

/// Goes through one message.
#[derive(Clone, Debug)]
pub struct Reader<'m> {
    message: &'m [u8],
    header: Header,
    question: Option<Question>,
    at: usize,
    left: [u16; 3],
}

impl<'m> Reader<'m> {
    /// Reads header and question.
    pub fn new(message: &'m [u8]) -> Result<Self, Malformed> {
        let header = Header::of(message)?;
        let [questions, left @ ..] = header.counts;
        let (question, at) = match questions {
            0 => (None, HEADER),
            1 => {
                let (name, end) = WireName::read(message, HEADER)?;
                (Some(Question { name, kind: short(message, end)?, class: short(message, end + 2)? }), end + 4)
            }
            _ => return Err(Malformed::Questions),
        };
        Ok(Self { message, header, question, at, left })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The question, if there is one.
    #[must_use]
    pub const fn question(&self) -> Option<&Question> {
        self.question.as_ref()
    }

    /// Where the next record begins.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Goes on to the next record; `None` at the end, where nothing may follow.
    #[expect(clippy::should_implement_trait, reason = "an error ends it, which an iterator would not say")]
    pub fn next(&mut self) -> Result<Option<Record<'m>>, Malformed> {
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        let next = self.left.iter_mut().zip(sections).find(|(left, _)| **left > 0);
        let Some((left, section)) = next else {
            return if self.at == self.message.len() { Ok(None) } else { Err(Malformed::Trailing) };
        };
        *left -= 1;
        let (owner, end) = WireName::read(self.message, self.at)?;
        let fixed: &[u8; FIXED] = self.message.get(end..).and_then(|rest| rest.first_chunk()).ok_or(Malformed::Short)?;
        let [k0, k1, c0, c1, t0, t1, t2, t3, l0, l1] = *fixed;
        let start = end + FIXED;
        let data = (start, start + usize::from(u16::from_be_bytes([l0, l1])));
        if data.1 > self.message.len() {
            return Err(Malformed::Short);
        }
        let record = Record {
            message: self.message,
            at: self.at,
            data,
            owner,
            kind: u16::from_be_bytes([k0, k1]),
            class: u16::from_be_bytes([c0, c1]),
            ttl: u32::from_be_bytes([t0, t1, t2, t3]),
            section,
        };
        self.at = data.1;
        Ok(Some(record))
    }
}

pub(super) fn short(message: &[u8], at: usize) -> Result<u16, Malformed> {
    message.get(at..).and_then(|rest| rest.first_chunk()).map(|octets| u16::from_be_bytes(*octets)).ok_or(Malformed::Short)
}
