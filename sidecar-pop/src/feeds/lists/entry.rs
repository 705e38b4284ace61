//! One entry of a list, as people write it -> a key of a table.

use std::net::IpAddr;

use tapir_table::{Code, Codes, KeyBuf, KeyError, MAX_KEY};
use tapir_wire::name::Name;

use crate::state::failpoint;

/// Octets that `*.` adds to a name.
const WILDCARD: usize = 2;

/// Labels that make a name a trigger of another kind (draft-vixie-dnsop-dns-rpz section 4), as they stand at the top of a key.
const OTHER_TRIGGERS: [&[u8]; 4] = [b"\x06rpz-ip", b"\x0drpz-client-ip", b"\x08rpz-nsip", b"\x0brpz-nsdname"];

/// Why an entry is refused. The texts never repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// No name of the DNS, or too long with that of the zone.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An asterisk in another place than in front.
    #[error("a label of one asterisk stands elsewhere than in front")]
    Wildcard,
    /// Stands for addresses or name servers.
    #[error("the last label makes it a trigger for addresses or name servers, which are left out")]
    OtherTrigger,
    /// Not ASCII, and no international name either.
    #[error("not a valid internationalised domain name")]
    International,
    /// Octets that are no UTF-8.
    #[error("not UTF-8")]
    Encoding,
    /// Nothing but digits and dots, or colons: listed by mistake.
    #[error("an address and not a name")]
    Address,
    /// Several words where one is due.
    #[error("more than one word on the line; lists as /etc/hosts say `format: Hosts`")]
    Words,
    /// A line of a hosts file that begins with something else.
    #[error("the line does not begin with an address; lists of plain names say `format: Domains`")]
    NoAddress,
    /// An address that nothing follows.
    #[error("no name follows the address")]
    NoName,
    /// No text of ours.
    #[error("the line is longer than 4096 octets")]
    TooLong,
}

/// Which names fit: the room that the zone leaves them. A name that cannot be in the zone is refused before it touches any state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    room: usize,
}

impl Fit {
    /// For owners in this zone.
    #[must_use]
    pub fn new(zone: &Name) -> Self {
        // Each of the two counts the root label once, the key does not have it.
        Self { room: (MAX_KEY + 1).saturating_sub(zone.wire_len()) }
    }

    /// Octets that a key may take.
    #[must_use]
    pub const fn room(self) -> usize {
        self.room
    }

    /// An entry in any form: `*.name` means what is below it. Names that are not ASCII get their ASCII form (UTS 46).
    pub fn entry(self, text: &str) -> Result<(KeyBuf, Codes), BadEntry> {
        failpoint::read(text.as_bytes());
        let (text, codes) = match text.strip_prefix("*.").filter(|rest| !rest.is_empty()) {
            Some(name) => (name, Codes::new(Code::SILENT, Code::LISTED)),
            None => (text, Codes::LISTED),
        };
        let key = if text.is_ascii() {
            if is_address(text) {
                return Err(BadEntry::Address);
            }
            KeyBuf::from_text(text, self.room)?
        } else {
            KeyBuf::from_text(&idna::domain_to_ascii(text).map_err(|_| BadEntry::International)?, self.room)?
        };
        self.check(&key, codes)?;
        Ok((key, codes))
    }

    /// Labels from the bottom up, as they stand in a message. `true` beside the key: what is below it is meant.
    pub fn owner(self, labels: &[u8]) -> Result<(KeyBuf, bool), BadEntry> {
        failpoint::read(labels);
        let (labels, below) = labels.strip_prefix(b"\x01*").map_or((labels, false), |rest| (rest, true));
        let key = KeyBuf::from_wire(labels, self.room)?;
        let codes = if below { Codes::new(Code::SILENT, Code::LISTED) } else { Codes::LISTED };
        self.check(&key, codes)?;
        Ok((key, below))
    }

    fn check(self, key: &KeyBuf, codes: Codes) -> Result<(), BadEntry> {
        let octets = key.as_bytes();
        if octets.contains(&b'*') && key.labels().any(|label| label == b"*") {
            return Err(BadEntry::Wildcard);
        }
        if OTHER_TRIGGERS.iter().any(|trigger| octets.starts_with(trigger)) {
            return Err(BadEntry::OtherTrigger);
        }
        if !codes.below.is_silent() && octets.len() + WILDCARD > self.room {
            return Err(KeyError::TooLong.into());
        }
        Ok(())
    }
}

/// Whether this is an address, with or without a zone (`fe80::1%lo0`).
pub(super) fn is_address(text: &str) -> bool {
    // Of all names few begin and end like an address.
    let outer = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b':';
    let bytes = text.as_bytes();
    let last = bytes.strip_suffix(b".").unwrap_or(bytes).last();
    let colon = || bytes.contains(&b':');
    if !bytes.first().is_some_and(outer) || !(last.is_some_and(u8::is_ascii_digit) || colon()) {
        return false;
    }
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.strip_suffix('.').unwrap_or(address).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit() -> Fit {
        Fit::new(&Name::parse("dnstapir").unwrap())
    }

    fn check(text: &str, expected: Result<&str, BadEntry>) {
        let read = fit().entry(text).map(|(key, codes)| format!("{}{key}", if codes.own.is_silent() { "*." } else { "" }));
        assert_eq!(read.as_deref().map_err(|error| *error), expected, "{text:?}");
    }

    #[test]
    fn names_get_their_one_form() {
        check("EVIL.Example", Ok("evil.example."));
        check("_dmarc.example.", Ok("_dmarc.example."));
        check("*.Evil.example", Ok("*.evil.example."));
        check("räksmörgås.se", Ok("xn--rksmrgs-5wao1o.se."));
        check("*.RÄKSMÖRGÅS.SE.", Ok("*.xn--rksmrgs-5wao1o.se."));
        check("ra\u{308}ksmo\u{308}rga\u{30a}s.se", Ok("xn--rksmrgs-5wao1o.se."));
        check("straße.example", Ok("xn--strae-oqa.example."));
        check("例え。テスト", Ok("xn--r8jz45g.xn--zckzah."));
        check("1.2.3.4.5", Ok("1.2.3.4.5."));
        check("rpz-ip.example", Ok("rpz-ip.example."));
    }

    #[test]
    fn names_that_cannot_be_in_the_zone_are_refused() {
        check(".", Err(BadEntry::Key(KeyError::Root)));
        check("*.", Err(BadEntry::Wildcard));
        check("*", Err(BadEntry::Wildcard));
        check("a..b", Err(BadEntry::Key(KeyError::EmptyLabel)));
        check("ä..b", Err(BadEntry::Key(KeyError::EmptyLabel)));
        check("a.*.example", Err(BadEntry::Wildcard));
        check("*.*.example", Err(BadEntry::Wildcard));
        check("32.1.2.0.192.rpz-ip", Err(BadEntry::OtherTrigger));
        check("\u{200d}ä.example", Err(BadEntry::International));
        check(&"a".repeat(64), Err(BadEntry::Key(KeyError::LabelTooLong)));
        for address in ["192.0.2.1", "192.0.2.1.", "2001:db8::1", "0.0.0.0", "::", "fe80::1%lo0", "abcd::"] {
            check(address, Err(BadEntry::Address));
        }
    }

    #[test]
    fn name_and_zone_have_255_octets_together() {
        let long = |last: usize| format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(last));
        check(&long(53), Err(BadEntry::Key(KeyError::TooLong)));
        assert!(fit().entry(&long(52)).is_ok());
        check(&format!("*.{}", long(51)), Err(BadEntry::Key(KeyError::TooLong)));
        assert!(fit().entry(&format!("*.{}", long(50))).is_ok());
    }
}
