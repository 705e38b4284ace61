//! Which step the webhook's own certificate needs next.
//!
//! An API server calls the webhook only when it trusts it, so a new authority is published beside the old one before anything is signed by it,
//! and the old one stays in the bundle until nothing can be left that it signed.

use jiff::{SignedDuration, Timestamp};

use crate::renewal::Validity;

/// How long the authority is valid.
pub const CA_LIFE: SignedDuration = SignedDuration::from_hours(2 * 365 * 24);
/// How long what the webhook serves with is valid.
pub const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// A new authority is made when the old one would end before two lives of a leaf.
const CA_REST: SignedDuration = SignedDuration::from_hours(2 * 90 * 24);
/// How long a bundle may take until every API server has it (they learn by watch).
const PROPAGATION: SignedDuration = SignedDuration::from_secs(10);

/// What is found: in the Secret, and in the configuration of the webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The newest authority, when its key is there and fits.
    pub ca: Option<Validity>,
    /// Older ones are in the bundle beside it.
    pub older: bool,
    /// What the webhook serves with, when its key is there and it names the Service.
    pub leaf: Option<Leaf>,
    /// Since when the configuration has carried the bundle of the Secret, as far as was seen; none when it does not.
    pub published: Option<Timestamp>,
}

/// What the webhook serves with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub validity: Validity,
    /// The newest authority signed it.
    pub by_newest: bool,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertStep {
    /// Make an authority and put it into the Secret, before those that are in the bundle.
    CreateCa,
    /// Write the bundle of the Secret into the configuration.
    PublishBundle,
    /// Sign a new leaf and put it into the Secret.
    IssueLeaf,
    /// Take older authorities out of the Secret.
    DropOlder,
    /// Not before then.
    Wait(Timestamp),
    /// Nothing to do until then.
    Settled(Timestamp),
}

/// Says the next step.
#[must_use]
pub fn next(found: &Found, now: Timestamp) -> CertStep {
    let Some(ca) = found.ca.filter(|ca| now + CA_REST < ca.not_after && ca.not_before <= now) else { return CertStep::CreateCa };
    let Some(published) = found.published else { return CertStep::PublishBundle };
    let known = published + PROPAGATION;
    let leaf = match found.leaf {
        // Nobody trusts what is not there: there is nothing to wait for.
        None => return CertStep::IssueLeaf,
        Some(leaf) if !leaf.by_newest || now >= renewal(leaf.validity) => {
            let useless = now >= leaf.validity.not_after;
            return if useless || now >= known { CertStep::IssueLeaf } else { CertStep::Wait(known) };
        }
        Some(leaf) => leaf,
    };
    let forgettable = ca.not_before + LEAF_LIFE;
    if found.older && now >= forgettable {
        return CertStep::DropOlder;
    }
    let until = renewal(leaf.validity).min(ca.not_after - CA_REST);
    CertStep::Settled(if found.older { until.min(forgettable) } else { until })
}

/// Two thirds of its life.
fn renewal(leaf: Validity) -> Timestamp {
    leaf.not_before + leaf.lifetime() * 2 / 3
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn from(begin: Timestamp, life: SignedDuration) -> Validity {
        Validity { not_before: begin, not_after: begin + life }
    }

    fn leaf(begin: i64, by_newest: bool) -> Option<Leaf> {
        Some(Leaf { validity: from(at(begin), LEAF_LIFE), by_newest })
    }

    fn found(leaf: Option<Leaf>) -> Found {
        Found { ca: Some(from(at(0), CA_LIFE)), older: false, leaf, published: Some(at(0)) }
    }

    #[test]
    fn the_first_certificate_is_made_in_order() {
        let now = at(0);
        assert_eq!(next(&Found::default(), now), CertStep::CreateCa);
        assert_eq!(next(&Found { published: None, ..found(None) }, now), CertStep::PublishBundle);
        assert_eq!(next(&found(None), now), CertStep::IssueLeaf);
        assert_eq!(next(&found(leaf(0, true)), now), CertStep::Settled(at(60 * DAY)));
    }

    #[test]
    fn a_leaf_is_renewed_after_two_thirds_and_a_bundle_that_somebody_took_away_is_put_back() {
        assert_eq!(next(&found(leaf(0, true)), at(60 * DAY - 1)), CertStep::Settled(at(60 * DAY)));
        assert_eq!(next(&found(leaf(0, true)), at(60 * DAY)), CertStep::IssueLeaf);
        assert_eq!(next(&Found { published: None, ..found(leaf(0, true)) }, at(DAY)), CertStep::PublishBundle);
    }

    #[test]
    fn a_new_authority_is_known_before_it_signs_and_the_old_one_stays_for_a_life() {
        let old_enough = 730 * DAY - 180 * DAY;
        assert_eq!(next(&found(leaf(old_enough - DAY, true)), at(old_enough - 1)), CertStep::Settled(at(old_enough)));
        assert_eq!(next(&found(leaf(old_enough - DAY, true)), at(old_enough)), CertStep::CreateCa);
        let begun = old_enough;
        let changed = |leaf, published| Found { ca: Some(from(at(begun), CA_LIFE)), older: true, leaf, published };
        let before = leaf(old_enough - DAY, false);
        assert_eq!(next(&changed(before, None), at(begun)), CertStep::PublishBundle);
        assert_eq!(next(&changed(before, Some(at(begun + 1))), at(begun + 2)), CertStep::Wait(at(begun + 11)));
        assert_eq!(next(&changed(before, Some(at(begun + 1))), at(begun + 11)), CertStep::IssueLeaf);
        let after = leaf(begun + 11, true);
        assert_eq!(next(&changed(after, Some(at(begun + 1))), at(begun + 12)), CertStep::Settled(at(begun + 11 + 60 * DAY)));
        let renewed = leaf(begun + 60 * DAY, true);
        let forgettable = at(begun + 90 * DAY);
        assert_eq!(next(&changed(renewed, Some(at(begun))), at(begun + 61 * DAY)), CertStep::Settled(forgettable));
        assert_eq!(next(&changed(renewed, Some(at(begun))), forgettable), CertStep::DropOlder);
    }

    #[test]
    fn a_leaf_that_ended_is_not_waited_for() {
        let ended = found(leaf(-91 * DAY, true));
        assert_eq!(next(&ended, at(0)), CertStep::IssueLeaf);
        let ahead = Found { ca: Some(from(at(DAY), CA_LIFE)), ..found(None) };
        assert_eq!(next(&ahead, at(0)), CertStep::CreateCa, "made under a clock that was ahead");
    }
}
