//! One entry of a list, as people write it -> a name of the DNS.

use std::net::IpAddr;

use tapir_wire::name::{Name, NameError};

use crate::names::{UnfitName, ZoneName};
use crate::state::failpoint;

/// Why an entry is refused. The texts never repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// No name of the DNS.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A name that cannot stand in the zone.
    #[error(transparent)]
    Unfit(#[from] UnfitName),
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
}

/// Reads an entry; names that are not ASCII get their ASCII form (UTS 46).
pub fn read(text: &str, zone: &ZoneName) -> Result<Name, BadEntry> {
    failpoint::read(text.as_bytes());
    let text = text.trim();
    let name = if text.is_ascii() {
        Name::parse(text)?
    } else {
        Name::parse(&idna::domain_to_ascii(text).map_err(|_| BadEntry::International)?)?
    };
    if is_address(text) {
        return Err(BadEntry::Address);
    }
    zone.check(&name)?;
    Ok(name)
}

/// Whether this is an address, with or without a zone (`fe80::1%lo0`).
pub fn is_address(text: &str) -> bool {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.strip_suffix('.').unwrap_or(address).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, BadEntry>) {
        let zone = ZoneName::new(Name::parse("dnstapir").unwrap()).unwrap();
        let read = read(text, &zone);
        assert_eq!(read.as_ref().map(Name::as_str).map_err(|error| *error), expected, "{text:?}");
    }

    #[test]
    fn names_get_their_one_form() {
        check("EVIL.Example", Ok("evil.example."));
        check(" evil.example.\t", Ok("evil.example."));
        check("_dmarc.example", Ok("_dmarc.example."));
        check("räksmörgås.se", Ok("xn--rksmrgs-5wao1o.se."));
        check("RÄKSMÖRGÅS.SE.", Ok("xn--rksmrgs-5wao1o.se."));
        // Composed and decomposed are one name, and so is what was written in its ASCII form.
        check("ra\u{308}ksmo\u{308}rga\u{30a}s.se", Ok("xn--rksmrgs-5wao1o.se."));
        check("xn--rksmrgs-5wao1o.SE", Ok("xn--rksmrgs-5wao1o.se."));
        check("straße.example", Ok("xn--strae-oqa.example."));
        check("例え。テスト", Ok("xn--r8jz45g.xn--zckzah."));
    }

    #[test]
    fn refusals() {
        check("", Err(BadEntry::Name(NameError::Empty)));
        check(".", Err(BadEntry::Unfit(UnfitName::Root)));
        check("a..b", Err(BadEntry::Name(NameError::EmptyLabel)));
        check("ä..b", Err(BadEntry::Name(NameError::EmptyLabel)));
        check("*.example", Err(BadEntry::Unfit(UnfitName::Wildcard)));
        check("\u{200d}ä.example", Err(BadEntry::International));
        check("ä\u{0}.example", Err(BadEntry::Name(NameError::BadCharacter)));
        for address in ["192.0.2.1", "192.0.2.1.", "2001:db8::1", "0.0.0.0", "::"] {
            check(address, Err(BadEntry::Address));
        }
    }
}
