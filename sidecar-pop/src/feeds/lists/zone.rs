//! Zone files (RFC 1035 section 5), as far as a response policy zone needs them.
//!
//! `$ORIGIN` and `$TTL` are understood; `$INCLUDE` and `$GENERATE` are refused, since what they stand for is not in the file.

mod record;
mod words;

use std::io::{self, BufRead};

use super::Numbered;
use super::entry::BadEntry;
use super::lines::Lines;
use crate::dns::records::WireName;
use record::{kind, name, record};
use words::Words;

/// Longest line, and longest record over several lines.
const LONGEST: usize = 64 << 10;

/// Why a record of a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadLine {
    /// Not as zone files are written.
    #[error("not as a zone file is written")]
    Syntax,
    /// A quote or parenthesis that is never closed.
    #[error("a quote or parenthesis is not closed")]
    Open,
    /// Longer than it may be.
    #[error("the record is longer than 65536 octets")]
    TooLong,
    /// Something else than a name where one is due.
    #[error("a broken name")]
    Name,
    /// A directive that is not understood.
    #[error("a directive other than $ORIGIN and $TTL")]
    Directive,
    /// Of another class than IN.
    #[error("a record of another class than IN")]
    Class,
    /// A type that is not known, or not read in this form.
    #[error("a record of a type that is not read from files")]
    Type,
    /// Not what the type wants.
    #[error("data that is not what the type says")]
    Data,
    /// It is not known of which zone this is.
    #[error("a record before the SOA; say `zone` where the file has none")]
    NoZone,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and on the stack")]
pub(super) enum Line {
    /// The version.
    Soa { owner: WireName, serial: u32 },
    /// An alias.
    Alias { owner: WireName, target: WireName },
    /// Other data.
    Other { owner: WireName, kind: u16, data: Vec<u8> },
}

/// Reads a file.
#[derive(Debug)]
pub(super) struct ZoneFile<R> {
    lines: Lines<R>,
    origin: WireName,
    owner: Option<WireName>,
}

impl<R: BufRead> ZoneFile<R> {
    pub(super) const fn new(from: R, origin: WireName) -> Self {
        Self { lines: Lines::with_limit(from, LONGEST), origin, owner: None }
    }

    /// The next record with the line in which it begins.
    pub(super) fn next(&mut self) -> io::Result<Option<Numbered<Line, BadLine>>> {
        loop {
            let mut words = Words::default();
            let mut begins = None;
            let result = loop {
                let Some((number, line)) = self.lines.next()? else {
                    if begins.is_none() {
                        return Ok(None);
                    }
                    break Err(BadLine::Open);
                };
                begins.get_or_insert(number);
                match line.map_err(|_: BadEntry| BadLine::TooLong).and_then(|line| words.take(line)) {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            let number = begins.unwrap_or_default();
            match result.and_then(|()| self.line(&words)) {
                Ok(None) => {}
                Ok(Some(line)) => return Ok(Some((number, Ok(line)))),
                Err(error) => return Ok(Some((number, Err(error)))),
            }
        }
    }

    fn line(&mut self, words: &Words) -> Result<Option<Line>, BadLine> {
        let mut rest = words.list.as_slice();
        let mut next = || {
            let (first, tail) = rest.split_first()?;
            rest = tail;
            Some(first)
        };
        if !words.starts_blank {
            let Some(first) = next() else { return Ok(None) };
            if !first.quoted && first.text.starts_with('$') {
                let value = next().map(|word| word.text.as_str());
                return match first.text.to_ascii_uppercase().as_str() {
                    "$ORIGIN" => {
                        self.origin = name(value.ok_or(BadLine::Syntax)?, &self.origin)?;
                        Ok(None)
                    }
                    "$TTL" => ttl(value.unwrap_or_default()).map(|()| None).ok_or(BadLine::Syntax),
                    _ => Err(BadLine::Directive),
                };
            }
            // What follows without an owner belongs to the last one that could be read, or to none.
            self.owner = None;
            self.owner = Some(name(&first.text, &self.origin)?);
        }
        let Some(mut word) = next() else { return if words.starts_blank { Ok(None) } else { Err(BadLine::Syntax) } };
        let owner = self.owner.ok_or(BadLine::Name)?;
        // Class and lifetime in any order, either or none of them.
        loop {
            let text = word.text.as_str();
            if ["CH", "HS", "CS"].iter().any(|class| class.eq_ignore_ascii_case(text)) {
                return Err(BadLine::Class);
            }
            if !text.eq_ignore_ascii_case("IN") && !text.eq_ignore_ascii_case("CLASS1") && ttl(text).is_none() {
                break;
            }
            word = next().ok_or(BadLine::Syntax)?;
        }
        let kind = kind(&word.text).ok_or(BadLine::Type)?;
        record(owner, kind, rest, &self.origin).map(Some)
    }
}

/// Seconds, or as BIND writes them: `1h30m`. What they say does not matter.
fn ttl(text: &str) -> Option<()> {
    let good = |byte: u8| byte.is_ascii_digit() || matches!(byte.to_ascii_lowercase(), b's' | b'm' | b'h' | b'd' | b'w');
    (text.len() <= 32 && text.bytes().next().is_some_and(|byte| byte.is_ascii_digit()) && text.bytes().all(good)).then_some(())
}

#[cfg(test)]
mod tests {
    use tapir_wire::name::Name;

    use super::*;
    use crate::dns::records::kind::{A, AAAA, NS};

    const TXT: u16 = 16;
    const MX: u16 = 15;

    fn wire(text: &str) -> WireName {
        WireName::from(&Name::parse(text).unwrap())
    }

    fn read(text: &str) -> Vec<(u64, Result<Line, BadLine>)> {
        let mut file = ZoneFile::new(text.as_bytes(), wire("rpz.example"));
        std::iter::from_fn(|| file.next().unwrap()).collect()
    }

    fn alias(owner: &str, target: &str) -> Result<Line, BadLine> {
        Ok(Line::Alias { owner: wire(owner), target: wire(target) })
    }

    fn other(owner: &str, kind: u16, data: &[u8]) -> Result<Line, BadLine> {
        Ok(Line::Other { owner: wire(owner), kind, data: data.to_vec() })
    }

    #[test]
    fn records_in_all_their_forms() {
        let text = "\u{feff}$TTL 1h30m ; soon\n@ IN SOA ns.other. h (\n  7 ; serial\n 60 60\n\t60 60 )\n   NS ns.other.\n\n\
            evil.example CNAME .\n*.evil.example 300 IN CNAME .\n\tIN 300 CNAME *.\nAbs.Rpz.Example. CLASS1 CNAME rpz-drop.\n\
            $ORIGIN deep\nx CNAME @\n@ A 192.0.2.1\n AAAA 2001:db8::1\n TXT \"a;b\" c\\\"d \"\"\n MX 10 mail\n TYPE65 \\# 2 0a 0b\n TYPE5 \\# 1 00\n \
            RRSIG A 13 3 60 1 1 1 x. aa=\n";
        let found = read(text);
        let expected = [
            (1 + 1, Ok(Line::Soa { owner: wire("rpz.example"), serial: 7 })),
            (6, other("rpz.example", NS, b"\x02ns\x05other\0")),
            (8, alias("evil.example.rpz.example", ".")),
            (9, alias("*.evil.example.rpz.example", ".")),
            (10, alias("*.evil.example.rpz.example", "*.")),
            (11, alias("abs.rpz.example", "rpz-drop.")),
            (13, alias("x.deep.rpz.example", "deep.rpz.example")),
            (14, other("deep.rpz.example", A, &[192, 0, 2, 1])),
            (15, other("deep.rpz.example", AAAA, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
            (16, other("deep.rpz.example", TXT, b"\x03a;b\x03c\"d\0")),
            (17, other("deep.rpz.example", MX, b"\0\x0a\x04mail\x04deep\x03rpz\x07example\0")),
            (18, other("deep.rpz.example", 65, &[10, 11])),
            (19, alias("deep.rpz.example", ".")),
            (20, other("deep.rpz.example", 46, &[])),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn rubbish_is_refused_and_the_rest_read() {
        let text = "a CNAME\nb CNAME . x\nc A 1.2.3\nd CH A 1.2.3.4\n$INCLUDE x\n$GENERATE 1-3 a A 1.2.3.4\ne NOTYPE x\n\
            f..g CNAME .\n CNAME .\n)\nh TXT \"open\ni TYPE1 \\# 4 0a0b0c\nj CNAME .\n\\ CNAME\nk SOA a b x 1 1 1 1\nl CNAME ( .\n";
        let errors: Vec<_> = read(text).into_iter().map(|(line, result)| (line, result.err())).collect();
        let expected = [
            (1, Some(BadLine::Data)),
            (2, Some(BadLine::Data)),
            (3, Some(BadLine::Data)),
            (4, Some(BadLine::Class)),
            (5, Some(BadLine::Directive)),
            (6, Some(BadLine::Directive)),
            (7, Some(BadLine::Type)),
            (8, Some(BadLine::Name)),
            (9, Some(BadLine::Name)),
            (10, Some(BadLine::Syntax)),
            (11, Some(BadLine::Open)),
            (12, Some(BadLine::Data)),
            (13, None),
            (14, Some(BadLine::Syntax)),
            (15, Some(BadLine::Data)),
            (16, Some(BadLine::Open)),
        ];
        assert_eq!(errors, expected);
    }

    #[test]
    fn a_parenthesis_that_is_never_closed_costs_no_more_than_a_record_may_have() {
        let text = format!("a TXT (\n{}j CNAME .\n", " x\n".repeat(LONGEST));
        let found = read(&text);
        assert_eq!(found.first().unwrap(), &(1, Err(BadLine::TooLong)));
        assert_eq!(found.last().unwrap().1, alias("j.rpz.example", "."));
    }

    #[test]
    fn names() {
        let origin = wire("o");
        let of = |text: &str| name(text, &origin).map(|name| name.to_string());
        assert_eq!(of("a.b").as_deref(), Ok("a.b.o."));
        assert_eq!(of("a\\.").as_deref(), Ok("a\\..o."));
        assert_eq!(of("a\\\\.").as_deref(), Ok("a\\\\."));
        assert_eq!(of("."), Ok(".".to_owned()));
        assert_eq!(of(&format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(60))), Err(BadLine::Name));
    }
}
