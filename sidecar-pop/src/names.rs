//! Which names can stand in the zone.

use tapir_wire::name::{MAX_NAME, Name};

/// Labels that make an owner a trigger of another kind (addresses, name servers) in a response policy zone, see
/// draft-vixie-dnsop-dns-rpz section 4. A name that ends in one would not mean itself there.
const OTHER_TRIGGERS: [&str; 4] = ["rpz-ip", "rpz-client-ip", "rpz-nsip", "rpz-nsdname"];

/// Octets that `*.` adds to a name.
const WILDCARD_OCTETS: usize = 2;

/// Name of the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneName(Name);

/// Why a name is refused before it touches any state. Variant names serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum UnfitName {
    /// It would be everything.
    #[error("the root cannot be listed")]
    Root,
    /// An asterisk label would match other names than the one that was meant.
    #[error("a label of one asterisk would be a wildcard; lists of subtrees say `match: Subtree`")]
    Wildcard,
    /// Ends in one of the labels that stand for addresses or name servers.
    #[error("the last label makes it another kind of trigger")]
    OtherTrigger,
    /// Longer than 255 octets together with the zone's name.
    #[error("too long together with the name of the zone")]
    TooLong,
}

impl ZoneName {
    /// A zone; not the root.
    #[must_use]
    pub fn new(name: Name) -> Option<Self> {
        (!name.is_root()).then_some(Self(name))
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.0
    }

    /// Whether `name` can be an owner in this zone and mean itself.
    pub fn check(&self, name: &Name) -> Result<(), UnfitName> {
        if name.is_root() {
            return Err(UnfitName::Root);
        }
        if name.labels().any(|label| label == "*") {
            return Err(UnfitName::Wildcard);
        }
        if name.labels().last().is_some_and(|last| OTHER_TRIGGERS.contains(&last)) {
            return Err(UnfitName::OtherTrigger);
        }
        // Each of the two counts the root label once.
        if name.wire_len() + self.0.wire_len() - 1 > MAX_NAME {
            return Err(UnfitName::TooLong);
        }
        Ok(())
    }

    /// Octets that the key of a name may take beside the name of the zone. Each of the two counts the root label once.
    #[must_use]
    pub fn room(&self) -> usize {
        MAX_NAME.saturating_sub(self.0.wire_len())
    }

    /// `*.name`, if that fits. Where it does not, no name below `name` fits either.
    #[must_use]
    pub fn wildcard(&self, name: &Name) -> Option<Name> {
        if name.wire_len() + WILDCARD_OCTETS + self.0.wire_len() - 1 > MAX_NAME {
            return None;
        }
        Name::parse(&format!("*.{name}")).ok()
    }
}

/// The name and everything above it, without the root.
pub fn self_and_ancestors(name: &Name) -> impl Iterator<Item = Name> {
    std::iter::successors(Some(name.clone()), Name::parent).filter(|name| !name.is_root())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> ZoneName {
        ZoneName::new(Name::parse("dnstapir.").unwrap()).unwrap()
    }

    fn check(text: &str, expected: Result<(), UnfitName>) {
        assert_eq!(zone().check(&Name::parse(text).unwrap()), expected, "{text}");
    }

    #[test]
    fn names_that_would_not_mean_themselves() {
        check("evil.example.", Ok(()));
        check(".", Err(UnfitName::Root));
        check("*.example.", Err(UnfitName::Wildcard));
        check("a.*.example.", Err(UnfitName::Wildcard));
        check("32.1.2.0.192.rpz-ip.", Err(UnfitName::OtherTrigger));
        check("rpz-ip.example.", Ok(()));
    }

    #[test]
    fn name_and_zone_have_255_octets_together() {
        // 64 + 64 + 64 + 54 octets, and 9 + 1 of the zone: 256.
        let long = |last: usize| format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(last));
        check(&long(53), Err(UnfitName::TooLong));
        check(&long(52), Ok(()));
        assert_eq!(zone().wildcard(&Name::parse(&long(52)).unwrap()), None);
        assert!(zone().wildcard(&Name::parse(&long(50)).unwrap()).is_some());
    }
}
