//! A DNS message as text, as `dig` writes it. RDATA of a type that is not known here is in hexadecimal (RFC 3597 section 5).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::decode::Room;
use crate::decode::name::{self, Found};
use crate::names::{Presentation, WireName};

/// Octets of a text at most: names of few octets can have long texts.
const LONGEST: usize = 64 << 10;
const HEADER: usize = 12;
const OPT: u16 = 41;

const OPCODES: [(u16, &str); 6] = [(0, "QUERY"), (1, "IQUERY"), (2, "STATUS"), (4, "NOTIFY"), (5, "UPDATE"), (6, "DSO")];
const STATUSES: [(u16, &str); 6] =
    [(0, "NOERROR"), (1, "FORMERR"), (2, "SERVFAIL"), (3, "NXDOMAIN"), (4, "NOTIMP"), (5, "REFUSED")];
const FLAGS: [(u16, &str); 7] =
    [(0x8000, " qr"), (0x0400, " aa"), (0x0200, " tc"), (0x0100, " rd"), (0x0080, " ra"), (0x0020, " ad"), (0x0010, " cd")];
const TYPES: [(u16, &str); 20] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (15, "MX"),
    (16, "TXT"),
    (28, "AAAA"),
    (33, "SRV"),
    (35, "NAPTR"),
    (39, "DNAME"),
    (OPT, "OPT"),
    (43, "DS"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (50, "NSEC3"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (255, "ANY"),
];

/// A name as it stands on the wire.
pub(super) fn name(octets: &[u8]) -> String {
    let mut room = Room::default();
    name::read(octets, 0, &mut room).map_or_else(|_| hex::encode(octets), |found| presented(found.name))
}

/// The whole message, as far as it can be read; with all EDNS options if `client` says so: some tell who asked.
pub(super) fn message(message: &[u8], client: bool) -> String {
    let mut text = Text { message, client, text: String::new() };
    if text.all().is_none() {
        text.text.push_str(";; what follows cannot be read\n");
    }
    text.text
}

struct Text<'a> {
    message: &'a [u8],
    client: bool,
    text: String,
}

impl Text<'_> {
    fn word(&self, at: usize) -> Option<u16> {
        self.message.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
    }

    fn name(&self, at: usize) -> Option<(String, usize)> {
        let mut room = Room::default();
        let Found { name, end, .. } = name::read(self.message, at, &mut room).ok()?;
        Some((presented(name), end))
    }

    fn all(&mut self) -> Option<()> {
        let (id, flags) = (self.word(0)?, self.word(2)?);
        let counts = [self.word(4)?, self.word(6)?, self.word(8)?, self.word(10)?];
        let set: String = FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
        let (opcode, status) = (of(&OPCODES, flags >> 11 & 0xf, "OPCODE"), of(&STATUSES, flags & 0xf, "RCODE"));
        let [questions, answers, authorities, additionals] = counts;
        _ = writeln!(self.text, ";; opcode: {opcode}, status: {status}, id: {id}");
        _ = writeln!(
            self.text,
            ";; flags:{set}; QUERY: {questions}, ANSWER: {answers}, AUTHORITY: {authorities}, ADDITIONAL: {additionals}"
        );
        let mut at = HEADER;
        if questions > 0 {
            self.text.push_str("\n;; QUESTION SECTION:\n");
        }
        for _ in 0..questions {
            let (asked, end) = self.name(at)?;
            let (record_type, class) = (of(&TYPES, self.word(end)?, "TYPE"), class(self.word(end + 2)?));
            _ = writeln!(self.text, ";{asked}\t{class}\t{record_type}");
            at = end + 4;
            self.has_room()?;
        }
        for (count, section) in [(answers, "ANSWER"), (authorities, "AUTHORITY"), (additionals, "ADDITIONAL")] {
            if count > 0 {
                _ = writeln!(self.text, "\n;; {section} SECTION:");
            }
            for _ in 0..count {
                at = self.record(at)?;
                self.has_room()?;
            }
        }
        Some(())
    }

    fn has_room(&self) -> Option<()> {
        (self.text.len() < LONGEST).then_some(())
    }

    fn record(&mut self, at: usize) -> Option<usize> {
        let (owner, after) = self.name(at)?;
        let (record_type, class_word) = (self.word(after)?, self.word(after + 2)?);
        let ttl = u32::from(self.word(after + 4)?) << 16 | u32::from(self.word(after + 6)?);
        let data = after + 10;
        let end = data + usize::from(self.word(after + 8)?);
        let octets = self.message.get(data..end)?;
        if record_type == OPT {
            let options = if self.client { format!("; options: {}", hex::encode(octets)) } else { String::new() };
            let secure = if ttl & 0x8000 == 0 { "" } else { " do" };
            _ = writeln!(self.text, "; EDNS: version: {}, flags:{secure}; udp: {class_word}{options}", ttl >> 16 & 0xff);
            return Some(end);
        }
        // What does not fit its type is shown as it is.
        let shown =
            self.data(record_type, data, octets).unwrap_or_else(|| format!("\\# {} {}", octets.len(), hex::encode(octets)));
        _ = writeln!(self.text, "{owner}\t{ttl}\t{}\t{}\t{shown}", class(class_word), of(&TYPES, record_type, "TYPE"));
        Some(end)
    }

    fn data(&self, record_type: u16, at: usize, octets: &[u8]) -> Option<String> {
        match record_type {
            1 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).to_string()),
            28 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_string()),
            2 | 5 | 12 | 39 => Some(self.name(at)?.0),
            15 => Some(format!("{} {}", self.word(at)?, self.name(at + 2)?.0)),
            6 => {
                let (server, after) = self.name(at)?;
                let (mailbox, after) = self.name(after)?;
                let numbers = self.message.get(after..after + 20)?.chunks_exact(4);
                let numbers = numbers.filter_map(|octets| octets.first_chunk().copied().map(u32::from_be_bytes));
                Some(numbers.fold(format!("{server} {mailbox}"), |text, number| format!("{text} {number}")))
            }
            16 => texts(octets),
            _ => None,
        }
    }
}

/// Character strings (RFC 1035 section 3.3).
fn texts(mut octets: &[u8]) -> Option<String> {
    let mut all = Vec::new();
    while let Some((length, rest)) = octets.split_first() {
        let (text, rest) = rest.split_at_checked(usize::from(*length))?;
        all.push(format!("\"{}\"", text.escape_ascii()));
        octets = rest;
    }
    Some(all.join(" "))
}

fn of(known: &[(u16, &str)], number: u16, otherwise: &str) -> String {
    known.iter().find(|(one, _)| *one == number).map_or_else(|| format!("{otherwise}{number}"), |(_, name)| (*name).to_owned())
}

fn class(number: u16) -> String {
    of(&[(1, "IN"), (3, "CH"), (4, "HS"), (254, "NONE"), (255, "ANY")], number, "CLASS")
}

fn presented(name: WireName<'_>) -> String {
    Presentation::default().read(name).to_owned()
}
