//! A record of somebody's response policy zone -> which name it is for and what it means (draft-vixie-dnsop-dns-rpz sections 3 and 4).

use tapir_table::{Code, KeyBuf};
use tapir_wire::config::pop::LocalData;

use super::lists::{BadEntry, Fit};
use super::locals::Meaning;
use crate::dns::records::WireName;
use crate::dns::records::kind::{A, AAAA, CNAME, NS, SOA};

/// Types that may follow an owner as data and have a name in them, which messages compress.
const PTR: u16 = 12;
const MX: u16 = 15;
const SRV: u16 = 33;
const DNAME: u16 = 39;

/// Why a record is left out. The texts never repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Its owner is no name for the zone.
    #[error(transparent)]
    Owner(#[from] BadEntry),
    /// Its owner is of another zone.
    #[error("the owner is not below the name of the zone")]
    Elsewhere,
    /// A target that begins an action of a later version.
    #[error("an action that is not known")]
    UnknownAction,
    /// Delegations and the like.
    #[error("a record of a type that means nothing in a policy zone")]
    Type,
    /// It is not what its type says.
    #[error("data that is not what the type says")]
    Data,
    /// The source says `localData: Drop`.
    #[error("local data, which this source leaves out")]
    LocalData,
}

/// What stands behind an owner.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// CNAME.
    Alias(&'a WireName),
    /// Another type, and the octets.
    Other(u16, &'a [u8]),
}

/// Reads records of one zone.
#[derive(Clone, Copy, Debug)]
pub struct RecordReader {
    /// Names that fit.
    pub fit: Fit,
    /// Name of the feed's zone.
    pub zone: WireName,
    /// What becomes of records that answer with data.
    pub local_data: LocalData,
}

/// A name, whether what is below it is meant, and what becomes of it.
pub type Read = (KeyBuf, bool, Meaning);

impl RecordReader {
    /// `None`: a record that is part of every zone and of no policy.
    pub fn read(&self, owner: &WireName, data: Data<'_>) -> Result<Option<Read>, BadRecord> {
        let kind = match data {
            Data::Alias(_) => CNAME,
            Data::Other(kind, _) => kind,
        };
        let labels = owner.below(&self.zone).ok_or(BadRecord::Elsewhere)?;
        let apex = labels.is_empty();
        if is_of_dnssec(kind) || (apex && kind != CNAME) {
            return Ok(None);
        }
        if matches!(kind, SOA | NS | DNAME) {
            return Err(BadRecord::Type);
        }
        let (key, below) = self.fit.owner(labels)?;
        let meaning = match data {
            Data::Alias(target) => action(target, labels)?,
            Data::Other(kind, octets) => Meaning::Data(kind, checked(kind, octets)?.to_vec()),
        };
        if matches!(meaning, Meaning::Data(..)) && self.local_data == LocalData::Drop {
            return Err(BadRecord::LocalData);
        }
        Ok(Some((key, below, meaning)))
    }
}

fn action(target: &WireName, owner: &[u8]) -> Result<Meaning, BadRecord> {
    let target = target.as_bytes();
    let code = match target {
        b"\0" => Code::NXDOMAIN,
        b"\x01*\0" => Code::NODATA,
        b"\x08rpz-drop\0" => Code::DROP,
        b"\x0crpz-passthru\0" => Code::PASSTHRU,
        b"\x0crpz-tcp-only\0" => Code::TCP_ONLY,
        // As it was written before there was a name for it.
        [before @ .., 0] if before == owner => Code::PASSTHRU,
        _ if top_label(target).starts_with(b"rpz-") => return Err(BadRecord::UnknownAction),
        _ => return Ok(Meaning::Data(CNAME, target.to_vec())),
    };
    Ok(Meaning::Action(code))
}

/// The label before the root.
fn top_label(name: &[u8]) -> &[u8] {
    let (mut rest, mut last) = (name, &[][..]);
    while let Some((&length, tail)) = rest.split_first()
        && length > 0
        && let Some((label, tail)) = tail.split_at_checked(usize::from(length))
    {
        (last, rest) = (label, tail);
    }
    last
}

/// What is published again must be valid, and must not point into a message that is gone.
fn checked(kind: u16, octets: &[u8]) -> Result<&[u8], BadRecord> {
    let is_name = |octets: &[u8]| WireName::from_wire(octets).is_ok();
    let good = match kind {
        A => octets.len() == 4,
        AAAA => octets.len() == 16,
        PTR => is_name(octets),
        MX => octets.get(2..).is_some_and(is_name),
        SRV => octets.get(6..).is_some_and(is_name),
        // Signatures, transfers and questions are no data; types before 12 that were not named, and some after it, hold names.
        0 | 3..=11 | 14 | 17 | 18 | 21 | 26 | 30 | 36 | 128..=255 => return Err(BadRecord::Type),
        _ => true,
    };
    if good { Ok(octets) } else { Err(BadRecord::Data) }
}

/// RRSIG, NSEC and the like; ZONEMD; the marks that BIND leaves in the zones that it signs.
pub(super) const fn is_of_dnssec(kind: u16) -> bool {
    matches!(kind, 24 | 25 | 43 | 46 | 47 | 48 | 50 | 51 | 59..=63 | 32769 | 65534)
}

#[cfg(test)]
mod tests {
    use tapir_table::KeyError;
    use tapir_wire::name::Name;

    use super::*;

    fn name(text: &str) -> WireName {
        WireName::from(&Name::parse(text).unwrap())
    }

    fn reader() -> RecordReader {
        let fit = Fit::new(&Name::parse("dnstapir").unwrap());
        RecordReader { fit, zone: name("rpz.example"), local_data: LocalData::Keep }
    }

    fn alias(owner: &str, target: &str) -> Result<Option<(String, bool, Meaning)>, BadRecord> {
        let read = reader().read(&name(owner), Data::Alias(&name(target)))?;
        Ok(read.map(|(key, below, meaning)| (key.to_string(), below, meaning)))
    }

    #[test]
    fn actions() {
        let of = |target| alias("Evil.Example.RPZ.example", target).map(|read| read.map(|read| read.2));
        for (target, code) in [
            (".", Code::NXDOMAIN),
            ("*.", Code::NODATA),
            ("rpz-drop.", Code::DROP),
            ("RPZ-Passthru.", Code::PASSTHRU),
            ("rpz-tcp-only.", Code::TCP_ONLY),
            ("evil.example.", Code::PASSTHRU),
        ] {
            assert_eq!(of(target), Ok(Some(Meaning::Action(code))), "{target}");
        }
        assert_eq!(of("garden.example."), Ok(Some(Meaning::Data(CNAME, b"\x06garden\x07example\0".to_vec()))));
        assert_eq!(of("rpz-newest."), Err(BadRecord::UnknownAction));
        assert_eq!(alias("*.evil.example.rpz.example", "*.evil.example").unwrap().unwrap().2, Meaning::Action(Code::PASSTHRU));
    }

    #[test]
    fn owners() {
        assert_eq!(alias("*.b.rpz.example", ".").unwrap().map(|read| (read.0, read.1)), Some(("b.".to_owned(), true)));
        assert_eq!(alias("*.rpz.example", "."), Err(BadEntry::Key(KeyError::Root).into()));
        assert_eq!(alias("rpz.example", "."), Err(BadEntry::Key(KeyError::Root).into()));
        assert_eq!(alias("b.other.example", "."), Err(BadRecord::Elsewhere));
        assert_eq!(alias("b.otherrpz.example", "."), Err(BadRecord::Elsewhere), "no suffix within a label");
        assert_eq!(alias("B.RPZ.Example", ".").unwrap().map(|read| read.0), Some("b.".to_owned()));
        assert_eq!(alias("32.1.2.0.192.rpz-ip.rpz.example", "."), Err(BadEntry::OtherTrigger.into()));
        assert_eq!(alias("a.*.b.rpz.example", "."), Err(BadEntry::Wildcard.into()));
    }

    #[test]
    fn data() {
        let of = |owner: &str, kind, data: &[u8]| {
            reader().read(&name(owner), Data::Other(kind, data)).map(|read| read.map(|read| read.2))
        };
        let owner = "x.rpz.example";
        assert_eq!(of(owner, A, &[192, 0, 2, 1]), Ok(Some(Meaning::Data(A, vec![192, 0, 2, 1]))));
        assert_eq!(of(owner, A, &[192, 0, 2]), Err(BadRecord::Data));
        assert_eq!(of(owner, 16, b"\x02hi"), Ok(Some(Meaning::Data(16, b"\x02hi".to_vec()))));
        assert_eq!(of(owner, NS, b"\0"), Err(BadRecord::Type));
        assert_eq!(of(owner, 46, b"any"), Ok(None));
        assert_eq!(of("rpz.example", NS, b"\0"), Ok(None));
        assert_eq!(of("rpz.example", 16, b"\x02hi"), Ok(None));
        assert_eq!(of(owner, MX, b"\0\x0a\xc0\x0c"), Err(BadRecord::Data));
        let drop = RecordReader { local_data: LocalData::Drop, ..reader() };
        assert_eq!(drop.read(&name(owner), Data::Other(A, &[192, 0, 2, 1])), Err(BadRecord::LocalData));
        assert_eq!(drop.read(&name(owner), Data::Alias(&name("garden"))), Err(BadRecord::LocalData));
    }
}
